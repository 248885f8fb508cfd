"""The rivals' stage with sizes that take seconds."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from pqmim.evaluation.codecs import make_codec
from pqmim.evaluation.run import evaluate
from pqmim.training.data import Photos
from pqmim.training.pipeline import train
from pqmim.training.recipe import RecipeError, load
from pqmim.training.run import Run, Unfinished
from pqmim.training.stages.transforms import train_transforms

pytestmark = pytest.mark.slow

RECIPE = """\
name: {name}
kind: {kind}
lambdas: [430, 4700, 51000]
transforms: {{latent: 40, analysis_fine: 1, analysis_coarse: 1, synthesis_coarse: 1, synthesis_fine: 1, expansion: 0.5}}
{sizes}
stages:
  {kind}: {{steps: {steps}, batch: 6, crop: 64, adam: {adam}, warmup: 3, ema: 0.8, log_every: 5, evaluate_every: 5{revive}}}
"""


@pytest.fixture
def write(tmp_path):
    def write(kind, name=None, bits=6, steps=20, adam=0.001):
        path = tmp_path / f"{name or kind}.yaml"
        sizes = {
            "hyperprior": "hyperprior: {hidden: 16, hyper_latent: 8}",
            "vq": f"vq: {{bits: {bits}, dimensions: 32, level: 1}}",
        }[kind]
        revive = ", revive_every: 4" if kind == "vq" else ""
        values = {"name": name or kind, "kind": kind, "steps": steps, "adam": adam, "sizes": sizes, "revive": revive}
        path.write_text(RECIPE.format(**values))
        return path

    return write


@pytest.fixture(scope="module")
def transforms(recipe, folder, tmp_path_factory):
    """A checkpoint of our own first stage, half way."""
    out = tmp_path_factory.mktemp("ours")
    plan = load(recipe)
    with pytest.raises(Unfinished):
        train_transforms(plan, plan.stages.transforms, Photos(folder), Run.start(out, minutes=0))
    return out / "transforms.pt"


def log(out, name):
    return [json.loads(line) for line in (out / f"{name}.jsonl").read_text().splitlines()]


def held_back(out, name, key):
    return [line[f"held_back/{key}"] for line in log(out, name) if f"held_back/{key}" in line]


def test_the_hyperprior_learns_and_makes_a_codec(write, folder, tmp_path):
    out = tmp_path / "out"
    train(write("hyperprior", steps=40, adam=0.004), folder, Run.start(out))
    cost = np.zeros(8)
    for index, price in enumerate((430, 4700, 51000)):
        mse = 255**2 / 10 ** (np.array(held_back(out, "hyperprior", f"psnr_{index}")) / 10)
        one = mse + price / 3 * np.array(held_back(out, "hyperprior", f"bpp_{index}"))
        cost += one / one[0]
    assert cost[-1] < 0.97 * cost[0]
    assert log(out, "hyperprior")[0] == {"stage": "hyperprior", "step": 0, "start": "klt"}

    codec = make_codec("hyperprior", [out / "hyperprior.safetensors"], threads=1)
    photo = np.asarray(Image.open(folder / "00.png"))
    files = [codec.encode(photo, setting) for setting in codec.settings]
    errors = [np.square(codec.decode(data).astype(float) - photo).mean() for data in files]
    assert errors == sorted(errors, reverse=True)
    assert len(files[0]) < len(files[-1]) < 0.2 * photo.size


def test_vanilla_vq_learns_and_its_models_make_one_codec(write, folder, tmp_path):
    out = tmp_path / "out"
    train(write("vq", "vq6", bits=6), folder, Run.start(out))
    train(write("vq", "vq3", bits=3, steps=5), folder, Run.start(out))
    psnr = held_back(out, "vq6", "psnr")
    assert psnr[-1] > psnr[0] and psnr[-1] > held_back(out, "vq3", "psnr")[-1]
    assert all(0 < bpp <= 6 / 256 * 1.2 for bpp in held_back(out, "vq6", "bpp"))

    codec = make_codec("vq", [out / "vq6.safetensors", out / "vq3.safetensors"], threads=1)
    assert codec.settings == (3, 6)
    photo = np.asarray(Image.open(folder / "00.png"))
    files = [codec.encode(photo, setting) for setting in codec.settings]
    errors = [np.square(codec.decode(data).astype(float) - photo).mean() for data in files]
    assert errors[1] < errors[0] and len(files[0]) < len(files[1])

    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(folder / "00.png", one)
    results = evaluate(one, [f"vq={out / 'vq6.safetensors'}", f"vq={out / 'vq3.safetensors'}"])
    assert [(row["setting"], row["bytes"]) for row in results["codecs"]["vq"]["settings"]] == [
        (bits, len(data)) for bits, data in zip((3, 6), files)
    ]
    assert str(tmp_path) not in json.dumps(results)


@pytest.mark.parametrize("kind", ["hyperprior", "vq"])
def test_starts_from_our_transforms(write, folder, transforms, tmp_path, kind):
    out = tmp_path / "out"
    out.mkdir()
    shutil.copy(transforms, out)
    train(write(kind, steps=0), folder, Run.start(out))
    assert log(out, kind)[0] == {"stage": kind, "step": 0, "start": "transforms.pt"}
    average = torch.load(transforms, weights_only=True)["average"]
    codec = make_codec(kind, [out / f"{kind}.safetensors"])
    model = codec.files.model if kind == "hyperprior" else codec.files.models[6][0]
    for name in ("analysis.stem", "synthesis.coarse.0.gain"):
        assert torch.allclose(model.state_dict()[name], average[f"module.{name}"], atol=2e-4)
    if kind == "hyperprior":
        assert torch.equal(model.log_step, average["module.proxy.log_step"])


@pytest.mark.parametrize("changed", [("51000", "52000"), ("latent: 40", "latent: 48")])
def test_other_transforms_are_refused(write, folder, transforms, tmp_path, changed):
    shutil.copy(transforms, tmp_path)
    path = write("hyperprior")
    path.write_text(path.read_text().replace(*changed))
    with pytest.raises(RecipeError, match=r"transforms\.pt: has other transforms or lambdas"):
        train(path, folder, Run.start(tmp_path))


@pytest.mark.parametrize("kind", ["hyperprior", "vq"])
def test_a_stopped_run_resumes_to_the_same_weights(write, folder, tmp_path, kind):
    path = write(kind, steps=4)
    train(path, folder, Run.start(tmp_path / "whole"))
    for _ in range(3):
        with pytest.raises(Unfinished, match=f"{kind}: stopped"):
            train(path, folder, Run.start(tmp_path / "parts", minutes=0))
    train(path, folder, Run.start(tmp_path / "parts", minutes=0))
    whole, parts = ((tmp_path / run / f"{kind}.safetensors").read_bytes() for run in ("whole", "parts"))
    assert whole == parts


def test_a_rival_has_no_stages_to_name(write, folder, tmp_path):
    with pytest.raises(RecipeError, match="of kind vq: only recipes of kind pqmim"):
        train(write("vq"), folder, Run.start(tmp_path), "transforms")
