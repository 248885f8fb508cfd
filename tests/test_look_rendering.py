"""Looks as the hall renders them: both forms of the synthesis, the dial, seeds, and the map of what is invented."""

import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from pqmim import looks
from pqmim.errors import BadArgument, WeightsError
from pqmim.models.looks import VividSynthesis
from pqmim.models.modules import Modules
from pqmim.models.quantizer import ProductQuantizer
from pqmim.models.transforms import Analysis, Synthesis, TransformConfig
from pqmim.rendering import NumpyMixture, NumpySynthesis, TorchSynthesis

CONFIG = TransformConfig(latent=24, levels=3, synthesis_coarse=1, synthesis_fine=2, expansion=0.5)
RATE, SEED = 2.5, 3


def modules() -> tuple[Modules, VividSynthesis]:
    torch.manual_seed(0)
    vivid = VividSynthesis(CONFIG)
    for matrix in (vivid.split, vivid.head):
        torch.nn.init.normal_(matrix, std=0.2)
    for block in [*vivid.coarse, *vivid.fine]:
        torch.nn.init.normal_(block.reduce, std=0.2)
    synthesis = Synthesis(CONFIG)
    synthesis.load_state_dict(vivid.state_dict(), strict=False)
    with torch.no_grad():
        synthesis.head *= 0.9
        for block in vivid.fine:
            block.noise *= 10
    quantizer = ProductQuantizer(torch.randperm(CONFIG.latent), [1] * CONFIG.latent, 4, CONFIG.levels)
    for module in (vivid, synthesis, quantizer):
        module.eval().requires_grad_(False)
    return Modules(Analysis(CONFIG), quantizer, synthesis), vivid


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def vectors(rows: int = 6, width: int = 5, together: int = 6) -> Iterator[np.ndarray]:
    whole = np.random.default_rng(0).normal(size=(rows, width, CONFIG.latent)).astype(np.float32) * 20
    return (whole[top : top + together] for top in range(0, rows, together))


def picture(synthesis, together: int = 6) -> np.ndarray:
    return np.concatenate(list(synthesis(vectors(together=together), RATE))).astype(int)


def forms(share: float) -> tuple[np.ndarray, np.ndarray]:
    networks, vivid = modules()
    quantizer = arrays(networks.quantizer)
    drawn = NumpySynthesis(arrays(vivid), quantizer, SEED)
    numpy = drawn if share == 1 else NumpyMixture(NumpySynthesis(arrays(networks.synthesis), quantizer), drawn, share)
    return picture(numpy), picture(TorchSynthesis(networks, "cpu", (vivid, share, SEED)))


@pytest.mark.parametrize("share", [0.3, 1])
def test_both_forms_draw_the_same_picture(share):
    numpy, torch_ = forms(share)
    assert numpy.shape == (96, 80, 3) and numpy.std() > 10
    assert np.abs(numpy - torch_).max() <= 1


def test_noise_shows_and_seeds_differ():
    networks, vivid = modules()
    one, same, other, silent = (
        picture(NumpySynthesis(arrays(vivid), arrays(networks.quantizer), seed)) for seed in (1, 1, 2, None)
    )
    assert np.array_equal(one, same)
    assert (one != other).mean() > 0.2 and (one != silent).mean() > 0.2


def test_strips_of_any_height_draw_the_same_picture():
    networks, vivid = modules()
    synthesis = NumpySynthesis(arrays(vivid), arrays(networks.quantizer), SEED)
    assert np.abs(picture(synthesis, together=1) - picture(synthesis)).max() <= 1


def test_a_mixture_lies_on_a_straight_line():
    (half, _), (drawn, _) = forms(0.5), forms(1)
    networks, _ = modules()
    plain = picture(NumpySynthesis(arrays(networks.synthesis), arrays(networks.quantizer)))
    inside = (plain % 255 > 0) & (drawn % 255 > 0)  # what is cut at black or white may leave the line
    assert np.abs(half - (plain + drawn) / 2)[inside].max() <= 1
    assert (plain != drawn).mean() > 0.2


@pytest.fixture(scope="module")
def codec():
    from pqmim.codec import Codec

    return Codec()


@pytest.mark.slow
def test_the_packaged_look_draws_and_its_dial_starts_at_faithful(codec, monkeypatch):
    rng = np.random.default_rng(1)
    photo = np.clip(rng.normal(128, 40, (48, 64, 3)), 0, 255).astype(np.uint8)
    received = codec.receive(codec.compress(photo, 40))
    networks_look = looks.find(codec.release.part("synthesis"), codec.release.digest_of("synthesis"))
    if networks_look is None:
        with pytest.raises(WeightsError, match="no vivid look belongs"):
            codec.render(received, look="vivid")
        monkeypatch.setattr(looks, "find", lambda *_: _small_look(codec))
    plain = np.asarray(codec.render(received).image)
    assert np.array_equal(np.asarray(codec.render(received, look=0.0).image), plain)
    full, again, other = (codec.render(received, look="vivid", seed=seed, invented=True) for seed in (0, 0, 1))
    assert np.array_equal(np.asarray(full.image), np.asarray(again.image))
    assert not np.array_equal(np.asarray(full.image), np.asarray(other.image))
    assert not np.array_equal(np.asarray(full.image), plain)
    assert full.invented.shape == (48, 64) and 0 < full.invented.max() <= 1
    assert codec.render(received, invented=True).invented.max() == 0
    with pytest.raises(BadArgument, match="look"):
        codec.render(received, look=2)


def _small_look(codec) -> looks.Look:
    """The faithful synthesis, with noise."""
    faithful = codec.release.part("synthesis")
    config = TransformConfig(**codec.release.record.transforms)
    torch.manual_seed(0)
    vivid = VividSynthesis(config)
    vivid.load_state_dict({name: torch.tensor(t).float() for name, t in faithful.items()}, strict=False)
    return looks.Look("vivid", arrays(vivid.requires_grad_(False)), np.ones(config.levels, np.float32))


@pytest.mark.parametrize("missing", ["strength", "stem.scale"])
def test_a_file_that_lacks_a_part_of_a_look_is_refused(tmp_path, missing):
    tensors = {
        "strength": np.ones(3, np.float16),
        "stem.int8": np.ones((2, 2), np.int8),
        "stem.scale": np.ones(2, "f4"),
    }
    record = {"format": 1, "name": "vivid", "synthesis": "0"}
    del tensors[missing]
    save_file(tensors, tmp_path / "look.safetensors", metadata={looks.KEY: json.dumps(record)})
    with pytest.raises(WeightsError, match="no look of pqmim"):
        looks.load(tmp_path / "look.safetensors", {"stem": np.ones((2, 2), np.float32)}, None)
