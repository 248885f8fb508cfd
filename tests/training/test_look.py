"""The stage that trains a look, on the release of the tiny recipe and a network of random weights."""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from pqmim import looks
from pqmim import release as releases
from pqmim.errors import PqmimError
from pqmim.models import textures
from pqmim.models.features import weight_shapes
from pqmim.training import recipe as recipes
from pqmim.training.pipeline import train
from pqmim.training.run import Run
from pqmim.training.stages.look import LookRecipe, LookStage


def test_the_shipped_recipe_is_one_of_a_look():
    found = recipes.load("recipes/vivid.yaml")
    assert isinstance(found, LookRecipe) and found.stages.adversarial is not None


def test_textures_are_apart_by_what_they_are_and_not_by_where_they_stand():
    noise = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert textures.apart([noise], [noise]) == 0
    moved = textures.apart([noise], [noise.roll((16, 16), (2, 3))])
    louder = textures.apart([noise], [3 * noise])
    assert moved < 0.3 * louder
    assert [mean.shape[2:] for mean, _ in textures.moments(noise, (3, 3))] == [(7, 7), (3, 3), (1, 1)]


def test_detail_counts_at_the_size_that_it_has():
    flat = torch.full((1, 3, 64, 64), 100.0)
    fine = flat + 20 * ((torch.arange(64) % 2) - 0.5)
    wide = flat + 20 * ((torch.arange(64) // 4 % 2) - 0.5)
    none, first, last = (textures.detail(x) for x in (flat, fine, wide))
    assert [bool((a > b + 1).any()) for a, b in zip(first, none)] == [True, True, False, False, False, False]
    assert [bool((a > b + 1).any()) for a, b in zip(last, none)] == [False, False, False, False, True, True]


@pytest.fixture
def features(tmp_path):
    """Random weights of the network whose features are compared."""
    torch.manual_seed(0)
    path = tmp_path / "random.safetensors"
    save_file({name: 0.2 * torch.randn(shape) for name, shape in weight_shapes().items()}, path)
    return path


@pytest.mark.slow
def test_a_look_stopped_at_any_step_resumes_to_the_same_look(release, folder, features, tmp_path, monkeypatch):
    schedule = {"steps": 3, "batch": 4, "crop": 128, "samples": 4, "warmup": 1, "adam": 0.001, "save_seconds": 0}
    stages = {"features": schedule | {"muon": 0.001}, "adversarial": schedule | {"alone": 0, "ramp": 1}}
    for name in ("crop", "samples"):
        del stages["adversarial"][name]
    plan = tmp_path / "look.yaml"
    values = {"name": "look", "kind": "vivid", "weights": str(release), "stages": stages}
    plan.write_text(yaml.safe_dump(values))
    whole = train(plan, folder, Run.start(tmp_path / "whole", features=features))
    step = LookStage.seen
    for stopped in (2, 4, 6):
        calls = []

        def stopping(self, *images, calls=calls, stopped=stopped):
            calls.append(1)
            if len(calls) == stopped:
                raise KeyboardInterrupt
            return step(self, *images)

        out = Run.start(tmp_path / f"stopped-{stopped}", features=features)
        monkeypatch.setattr(LookStage, "seen", stopping)
        with pytest.raises(KeyboardInterrupt):
            train(plan, folder, out)
        monkeypatch.setattr(LookStage, "seen", step)
        assert train(plan, folder, out).read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_a_look_of_a_release_is_trained_and_found(run, folder, features, tmp_path):
    schedule = {"steps": 3, "batch": 4, "crop": 128, "samples": 4, "warmup": 1, "evaluate_every": 3, "log_every": 1}
    plan = tmp_path / "look.yaml"
    second = {name: value for name, value in schedule.items() if name not in ("crop", "samples")}
    stages = {"features": schedule, "adversarial": second | {"alone": 1, "ramp": 1, "adam": 0.001}}
    values = {"name": "look", "kind": "vivid", "weights": str(run / "tiny.safetensors")}
    plan.write_text(yaml.safe_dump(values | {"stages": stages, "strength": [1, 0.5, 0.5]}))
    with pytest.raises(PqmimError, match="--features"):
        train(plan, folder, Run.start(tmp_path / "none"))
    with pytest.raises(PqmimError, match="kind vivid: only recipes of kind pqmim may end at a stage"):
        train(plan, folder, Run.start(tmp_path / "none", features=features), "prior")
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(yaml.safe_dump(values | {"stages": stages, "strength": [1, 1]}))
    with pytest.raises(PqmimError, match="strength: 2 numbers for the release's 3 levels"):
        train(wrong, folder, Run.start(tmp_path / "none", features=features))
    path = train(plan, folder, Run.start(tmp_path / "out", features=features))
    released = releases.load(run / "tiny.safetensors")
    look = looks.load(path, released.part("synthesis"), released.digest_of("synthesis"))
    assert look.strength.tolist() == [1, 0.5, 0.5]
    assert not np.allclose(look.tensors["head"], released.part("synthesis")["head"], atol=1e-6)
    schedule = schedule | {"steps": 0}
    again = tmp_path / "again.yaml"
    again.write_text(yaml.safe_dump(values | {"stages": {"features": schedule}, "look": str(path)}))
    same = train(again, folder, Run.start(tmp_path / "again", features=features))
    went_on = looks.load(same, released.part("synthesis"), released.digest_of("synthesis"))
    assert all(np.allclose(tensor, went_on.tensors[name], atol=1e-3) for name, tensor in look.tensors.items())
    lines = [json.loads(line) for line in (tmp_path / "out" / "look-adversarial.jsonl").read_text().splitlines()]
    assert all(np.isfinite(value) for line in lines for value in line.values() if isinstance(value, float))
    assert any("told" in line for line in lines) and "held_back/psnr" in lines[-1]
