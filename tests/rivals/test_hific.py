"""HiFiC: its losses, its discriminator, and a tiny recipe from photos to files."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from pqmim import rivals
from pqmim.errors import DamagedFile, UnsupportedFile, WeightsError
from pqmim.models.features import weight_shapes
from pqmim.rivals import weights
from pqmim.rivals.hific.model import ABOVE, BELOW, Discriminator, judged_decoded, judged_real, rate_loss
from pqmim.rivals.hific.stage import beginning
from pqmim.rivals.hyperprior.model import HyperpriorConfig, MeanScaleHyperprior
from pqmim.training.pipeline import train
from pqmim.training.recipe import RecipeError, load
from pqmim.training.run import Run, Unfinished

RECIPE = """\
name: {name}
kind: hific
lambdas: [430, 4700, 51000]
transforms: {{latent: 40, analysis_fine: 1, analysis_coarse: 1, synthesis_coarse: 1, synthesis_fine: 1, expansion: 0.5}}
hyperprior: {{hidden: 16, hyper_latent: 8}}
hific: {{level: 1, target: {target}, width: 4, frozen_encoder: {frozen}}}
stages:
  perceptual: {{steps: 2, batch: 2, crop: 64, warmup: 1, log_every: 1, evaluate_every: 2, ema: 0.5}}
  adversarial: {{steps: 2, batch: 2, crop: 64, adam: 0.001, warmup: 1, log_every: 1, evaluate_every: 2, ema: 0.5}}
"""


@pytest.fixture(scope="module")
def squeezenet(tmp_path_factory):
    """A file of weights of a SqueezeNet that has learnt nothing."""
    generator, path = torch.Generator().manual_seed(0), tmp_path_factory.mktemp("weights") / "squeezenet.safetensors"
    shapes = weight_shapes().items()
    scales = {name: (2 / np.prod(shape[1:])) ** 0.5 if name.endswith("weight") else 0.1 for name, shape in shapes}
    save_file({name: (scales[name] * torch.randn(shape, generator=generator)).half() for name, shape in shapes}, path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two pictures of waves and grain, in a folder."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    y, x = np.mgrid[:96, :112] / 24
    for number in range(2):
        channels = [127 + 90 * np.sin((number + 1) * x + y * k) for k in (0.3, 0.7, 1.1)]
        picture = np.stack(channels, -1) + rng.normal(0, 4, (96, 112, 1))
        Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(folder / f"{number}.png")
    return folder


def write(folder, name="hific", target=0.14, frozen=False):
    path = folder / f"{name}.yaml"
    path.write_text(RECIPE.format(name=name, target=target, frozen=str(frozen).lower()))
    return path


def test_a_bit_costs_more_above_the_target():
    assert rate_loss(torch.tensor([0.1, 0.2]), 0.14).item() == pytest.approx(ABOVE * 0.15)
    assert rate_loss(torch.tensor([0.1, 0.1]), 0.14).item() == pytest.approx(BELOW * 0.1)


def test_the_losses_of_the_game_are_those_of_logistic_regression():
    logits = torch.tensor([-2.0, 0.5])
    assert judged_real(logits).item() == pytest.approx(-logits.sigmoid().log().mean().item())
    assert judged_decoded(logits).item() == pytest.approx(-(1 - logits.sigmoid()).log().mean().item())


def test_the_discriminator_sees_the_latent_and_teaches_the_picture_alone():
    torch.manual_seed(0)
    judge = Discriminator(6, width=4).eval()
    image, latent = torch.rand(2, 3, 64, 32) * 255, torch.randn(2, 6, 4, 2)
    logits = judge(image, latent)
    assert logits.shape == (2, 1, 8, 4)
    assert not torch.allclose(logits, judge(image, latent + 1), atol=1e-5)
    image.requires_grad_()
    latent.requires_grad_()
    judged_real(judge(image, latent)).backward()
    assert image.grad.any() and latent.grad is None


def test_its_losses_need_a_network(photos, tmp_path):
    with pytest.raises(WeightsError, match="--features"):
        train(write(tmp_path), photos, Run.start(tmp_path))


@pytest.mark.slow
def test_a_recipe_makes_files_and_resumes(photos, squeezenet, tmp_path):
    run = Run.start(tmp_path / "whole", features=squeezenet)
    whole = train(write(tmp_path), photos, run)
    for _ in range(2):
        with pytest.raises(Unfinished, match="hific-"):
            train(write(tmp_path), photos, Run.start(tmp_path / "parts", minutes=0, features=squeezenet))
    parts = train(write(tmp_path), photos, Run.start(tmp_path / "parts", minutes=0, features=squeezenet))
    assert whole.read_bytes() == parts.read_bytes()
    assert len((tmp_path / "parts" / "hific.jsonl").read_text().splitlines()) == 1  # where it started, once
    lines = [json.loads(line) for line in (run.folder / "hific-adversarial.jsonl").read_text().splitlines()]
    assert all(lines[0][key] > 0 for key in ("bpp", "mse", "features", "fooled", "seen"))
    assert lines[-1]["held_back/psnr"] > 15 and 0 < lines[-1]["held_back/bpp"] < 2

    other = train(write(tmp_path, "other", 0.3, frozen=True), photos, run)
    codec = rivals.CODECS["hific"].open_codec("hific", [whole, other])
    assert codec.settings == (0.14, 0.3)
    photo = np.asarray(Image.open(photos / "0.png").convert("RGB"))
    for setting in codec.settings:
        data = codec.encode(photo, setting)
        decoded = codec.decode(data)
        assert decoded.shape == photo.shape and np.square(decoded.astype(float) - photo).mean() < 2000
        with pytest.raises(DamagedFile):
            codec.decode(data[:-3])
    with pytest.raises(ValueError, match="a setting of hific"):
        codec.encode(photo, 0.2)
    alone = rivals.CODECS["hific"].open_codec("hific", [whole])
    with pytest.raises(UnsupportedFile, match=r"weights for 0\.3 bits"):
        alone.decode(codec.encode(photo, 0.3))


@pytest.mark.slow
def test_a_frozen_encoder_keeps_its_codes(photos, squeezenet, tmp_path):
    run = Run.start(tmp_path, features=squeezenet)
    path = write(tmp_path, frozen=True)
    path.write_text(path.read_text().split("  adversarial")[0])
    files = rivals.CODECS["hific"].open_codec("hific", [train(path, photos, run)]).models[140][0]
    started = torch.load(run.folder / "hific-perceptual.pt", weights_only=True)["model"]
    learned = files.model.state_dict()
    assert all(torch.allclose(learned[k].float(), v, atol=2e-3) for k, v in started.items() if "analysis" in k)


def test_it_goes_on_from_a_trained_hyperprior(tmp_path):
    torch.manual_seed(5)
    path = write(tmp_path)
    plain = load(path)
    sizes = HyperpriorConfig(hidden=16, hyper_latent=8)
    trained = MeanScaleHyperprior(plain.config(), sizes, torch.tensor(plain.lambdas))
    for parameter in trained.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    weights.save(
        tmp_path / "trained.safetensors", weights.Record("hyperprior", plain.config(), vars(sizes)), trained, {}
    )
    path.write_text(path.read_text() + f"trained: {tmp_path / 'trained.safetensors'}\n")
    begun = beginning(load(path), None, Run.start(tmp_path))
    assert begun.training and all(parameter.requires_grad for parameter in begun.parameters())
    for name, tensor in begun.state_dict().items():
        torch.testing.assert_close(tensor, trained.state_dict()[name], atol=2e-3, rtol=1e-3)  # halves in the file
    path.write_text(path.read_text().replace("hidden: 16", "hidden: 24"))
    with pytest.raises(RecipeError, match="has other sizes than the recipe"):
        beginning(load(path), None, Run.start(tmp_path))
