import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from pqmim.codec import Codec
from pqmim.errors import OutputError, PqmimError, UnsupportedFile
from pqmim.release import find, load
from pqmim.training import pipeline
from pqmim.training import recipe as recipes
from pqmim.training.pipeline import train
from pqmim.training.recipe import RecipeError
from pqmim.training.run import Run, Unfinished
from pqmim.training.start import codec_of_release

pytestmark = pytest.mark.slow


def logged(run, stage, key):
    lines = [json.loads(line) for line in (run / f"{stage}.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def test_every_stage_learns(run):
    mse = [255**2 / 10 ** (psnr / 10) for psnr in logged(run, "transforms", "held_back/psnr_0")]
    cost = [d + 430 / 3 * bpp for d, bpp in zip(mse, logged(run, "transforms", "held_back/bpp_0"))]
    assert cost[-1] < cost[0]
    assert logged(run, "transforms", "held_back/psnr_0")[-1] > 25
    assert logged(run, "quantizer", "held_back/psnr_0")[-1] > 25
    share = logged(run, "prior", "held_back/share_of_static")
    assert 0 < share[-1] < share[0] < 1.5  # the prior starts at static frequencies, the mean over all rates
    for name in ("joint-0", "joint-1"):
        assert len(logged(run, name, "distortion")) == 3 and all(np.isfinite(logged(run, name, "distortion")))
        assert all(0 < share < 1.5 for share in logged(run, name, "share_of_static"))
        assert logged(run, name, "held_back/psnr_0")[-1] > 25


def test_trained_weights_make_a_codec(run, folder):
    codec = Codec(run / "tiny.safetensors")
    photo = np.asarray(Image.open(folder / "00.png"))
    sizes, errors = [], []
    for quality in (0, 50, 100):
        data = codec.compress(photo, quality)
        decoded = np.asarray(codec.decompress(data))
        assert decoded.shape == photo.shape
        sizes.append(len(data))
        errors.append(np.square(decoded.astype(float) - photo).mean())
    assert sizes == sorted(sizes) and errors == sorted(errors, reverse=True)
    assert sizes[-1] < 0.2 * photo.size


def test_a_finished_run_is_not_trained_again(run, recipe, folder):
    before = (run / "tiny.safetensors").read_bytes()
    train(recipe, folder, Run.start(run))
    assert (run / "tiny.safetensors").read_bytes() == before


def test_a_stage_that_the_recipe_lacks_is_no_end(recipe, folder, tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("".join(line for line in recipe.read_text().splitlines(True) if not line.startswith("  joint:")))
    with pytest.raises(RecipeError, match="has no stage joint"):
        train(path, folder, Run(tmp_path), "joint")
    assert not list(tmp_path.glob("*.pt"))


def test_the_original_of_a_prior_is_written_as_a_whole(recipe, release, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    plan = recipes.load(recipe).model_copy(update={"weights": release, "start": "release"})
    model, path = codec_of_release(plan, Run(tmp_path)), tmp_path / "prior.safetensors"
    path.write_bytes(b"before")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            pipeline.keep_original(path, model.prior, model.codec)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(path.name, b"before")]
    pipeline.keep_original(path, model.prior, model.codec)
    assert "static_log2_probability" in load_file(path)


def test_out_of_time_says_how_to_go_on(recipe, folder, tmp_path):
    with pytest.raises(Unfinished, match="run it again to resume"):
        train(recipe, folder, Run.start(tmp_path, minutes=0))
    assert (tmp_path / "transforms.pt").exists()


def test_files_of_other_weights_are_refused(run, folder):
    data = Codec(run / "tiny.safetensors").compress(folder / "00.png", 20)
    with pytest.raises(UnsupportedFile, match="needs weights"):
        Codec().decompress(data)
    with pytest.raises(UnsupportedFile):
        find(load(run / "tiny.safetensors").id)


def test_weights_that_are_none_say_so(tmp_path):
    (tmp_path / "bad.safetensors").write_bytes(b"\0" * 100)
    for name in ("bad.safetensors", "missing.safetensors"):
        with pytest.raises(PqmimError, match=name):
            load(tmp_path / name)


def test_release_holds_integers_for_the_prior(run):
    from safetensors.torch import load_file

    prior = {k: t for k, t in load_file(run / "tiny.safetensors").items() if k.startswith("prior.")}
    assert prior and all(t.dtype in (torch.int8, torch.int16, torch.int32) for t in prior.values())


def test_a_dial_of_three_rates_bends_in_the_middle(recipe, release, tmp_path):
    plan = recipes.load(recipe).model_copy(update={"start": "release", "weights": release})
    pipeline.release(tmp_path / "bent.safetensors", codec_of_release(plan, Run(tmp_path)), [0.0, 0.5, 2.0])
    rates = load(tmp_path / "bent.safetensors").record.rates
    assert [rates[quality] for quality in (100, 75, 50, 25, 0)] == [0.0, 0.25, 0.5, 1.25, 2.0]
