"""A run knows its folder, its checkpoints and its end."""

import math
import time

import pytest
import torch
from torch import nn

from pqmim import rivals
from pqmim.training.run import Run


def test_what_is_made_once_is_kept(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"x": torch.arange(3.0)}

    for split in (math.inf, 0.0005):
        run = Run(tmp_path / str(split), split=split)
        run.folder.mkdir()
        assert not run.has("codes") and run.load("codes") is None
        found = [run.once("codes", make)["x"] for _ in range(2)]
        assert torch.equal(*found) and run.has("codes")
    assert len(made) == 2


def test_the_clock_starts_with_the_run(tmp_path):
    assert not Run.start(tmp_path / "a").over
    run = Run.start(tmp_path / "b", minutes=1)
    assert not run.over and 50 < run.deadline - time.monotonic() <= 60
    assert Run.start(tmp_path / "c", minutes=0).over and (tmp_path / "c").is_dir()


def test_a_folder_inside_shares_the_rest(tmp_path):
    run = Run.start(tmp_path, minutes=3, split=16.0).computing("bfloat16")
    inner = run.inside("short")
    assert inner.folder == tmp_path / "short" and inner.folder.is_dir()
    assert (inner.deadline, inner.split, inner.precision.half) == (run.deadline, 16.0, True)


def test_modules_are_placed_as_convolutions_take_them(tmp_path):
    module = Run(tmp_path).placed(nn.Conv2d(4, 4, 3))
    assert module.weight.is_contiguous(memory_format=torch.channels_last)


def test_products_are_of_the_runs_precision(tmp_path):
    for wish, kind in (("bfloat16", torch.bfloat16), ("float32", torch.float32)):
        with Run(tmp_path).computing(wish).autocast():
            assert nn.functional.linear(torch.ones(1, 2), torch.ones(2, 2)).dtype is kind


@pytest.mark.parametrize("name", rivals.REGISTRY)
def test_a_registered_rival_has_its_parts(name):
    rival = rivals.REGISTRY[name]
    assert rival.recipe().model_fields["kind"].default == name == rival.codecs[0]
    assert all(rivals.CODECS[codec] is rival for codec in rival.codecs)
    with pytest.raises(Exception, match=name):
        rival.open_codec(name, [])
