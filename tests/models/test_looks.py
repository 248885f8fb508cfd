import numpy as np
import pytest
import torch

from pqmim.errors import WeightsError
from pqmim.models import looks
from pqmim.models.discriminator import Depth, Discriminator, hinge, persuasion
from pqmim.models.noise import CHANNELS, gaussian
from pqmim.models.transforms import Synthesis, TransformConfig

CONFIG = TransformConfig(latent=40, levels=3, synthesis_coarse=1, synthesis_fine=2, expansion=0.5)


def random_synthesis(seed: int) -> Synthesis:
    torch.manual_seed(seed)
    synthesis = Synthesis(CONFIG)
    for matrix in (synthesis.split, synthesis.head):
        torch.nn.init.normal_(matrix, std=0.1)
    for block in [*synthesis.coarse, *synthesis.fine]:
        torch.nn.init.normal_(block.reduce, std=0.1)
    synthesis.load_state_dict({k: v.half().float() for k, v in synthesis.state_dict().items()})  # as releases keep it
    return synthesis.eval().requires_grad_(False)


def look(strength: float = 1.0) -> looks.Look:
    faithful = random_synthesis(0)
    vivid = looks.VividSynthesis(CONFIG)
    vivid.load_state_dict(faithful.state_dict(), strict=False)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in vivid.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return looks.Look("vivid", vivid.eval().requires_grad_(False), faithful, torch.full((CONFIG.levels,), strength))


def latent(height: int = 3, width: int = 5) -> torch.Tensor:
    return 3 * torch.randn(1, CONFIG.latent, height, width, generator=torch.Generator().manual_seed(2))


LEVEL = torch.tensor([1.5])


def test_noise_depends_on_seed_and_absolute_position_alone():
    whole = gaussian(3, 0, 0, 24, 40)
    assert whole.shape == (CHANNELS, 24, 40) and whole.dtype == np.float32
    assert np.array_equal(gaussian(3, 5, 7, 10, 20), whole[:, 5:15, 7:27])
    assert not np.isclose(gaussian(4, 0, 0, 24, 40), whole).all(0).any()


def test_noise_is_normal_and_its_channels_and_positions_are_independent():
    found = gaussian(0, 0, 0, 96, 128).reshape(CHANNELS, -1)
    assert abs(found.mean()) < 0.01 and abs(found.std() - 1) < 0.01
    assert abs(np.mean(np.abs(found) < 1) - 0.683) < 0.01
    assert np.abs(np.corrcoef(found) - np.eye(CHANNELS)).max() < 0.05
    assert np.abs(np.corrcoef(found[:, :-1].ravel(), found[:, 1:].ravel())[0, 1]) < 0.02


def test_noise_is_fixed_for_ever():
    assert np.allclose(gaussian(7, 2, 3, 1, 2)[:3, 0], [[-0.254, -2.717], [-0.481, 0.505], [0.039, -1.189]], atol=1e-3)


def test_noise_has_no_negative_position():
    with pytest.raises(ValueError, match="negative"):
        gaussian(0, -1, 0, 2, 2)


def test_the_dial_is_a_straight_line_from_the_faithful_picture():
    vivid, z = look(), latent()
    with torch.no_grad():
        faithful = vivid.faithful(z, LEVEL)
        ends = vivid.pixels(z, LEVEL, 0.0), vivid.pixels(z, LEVEL, 1.0)
        half = vivid.pixels(z, LEVEL, 0.5)
    assert torch.equal(ends[0], faithful)
    assert (ends[1] - faithful).abs().max() > 1
    assert torch.allclose(half, (ends[0] + ends[1]) / 2, atol=1e-3)
    with pytest.raises(ValueError, match="dial"):
        vivid.pixels(z, LEVEL, 1.5)


def test_strength_says_how_far_the_dial_goes():
    z = latent()
    with torch.no_grad():
        assert torch.equal(look(0.5).pixels(z, LEVEL), look().pixels(z, LEVEL, 0.5))
        assert torch.equal(look(0.0).pixels(z, LEVEL), look().faithful(z, LEVEL))


def test_seeds_give_other_pictures_and_the_same_seed_the_same():
    vivid, z = look(), latent()
    with torch.no_grad():
        first, again, other = (vivid.pixels(z, LEVEL, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.allclose(first, other)


def test_tiles_and_strips_draw_the_same_picture():
    vivid, z = look(), latent(40, 24)
    with torch.no_grad():
        whole = vivid.drawn(z, LEVEL, seed=5)
        tile = vivid.drawn(z[:, :, 10:34, 4:20], LEVEL, seed=5, origin=(10, 4))
        noise = torch.from_numpy(gaussian(5, 0, 0, 80, 48))[None]
        plain = vivid.synthesis(z, LEVEL, noise)
    assert torch.allclose(whole, plain, atol=1e-3)
    assert torch.allclose(tile[:, :, 128:-128, 120:136], whole[:, :, 288:416, 184:200], atol=1e-3)


def test_a_look_is_a_small_difference_that_names_its_release(tmp_path):
    vivid, z = look(0.75), latent()
    size = looks.save(tmp_path / "vivid.safetensors", vivid)
    read = looks.load(tmp_path / "vivid.safetensors", vivid.faithful, CONFIG)
    assert size < 1.3 * sum(p.numel() for p in vivid.synthesis.parameters()) + 10_000
    assert read.name == "vivid" and read.strength.tolist() == [0.75] * 3
    with torch.no_grad():
        error = (read.pixels(z, LEVEL) - vivid.pixels(z, LEVEL)).abs().max()
        moved = (vivid.faithful(z, LEVEL) - vivid.pixels(z, LEVEL)).abs().max()
    assert error < 0.05 * moved
    assert looks.belongs(tmp_path / "vivid.safetensors", vivid.faithful)
    with pytest.raises(WeightsError, match="belongs to other weights"):
        looks.load(tmp_path / "vivid.safetensors", random_synthesis(9), CONFIG)


def test_what_is_no_look_is_said_to_be_none(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(WeightsError, match="cannot be read"):
        looks.load(path, random_synthesis(0), CONFIG)
    path.write_bytes(b"\x10" + 40 * b"\0")
    with pytest.raises(WeightsError, match="not a look"):
        looks.load(path, random_synthesis(0), CONFIG)
    assert not looks.belongs(path, random_synthesis(0))


def test_heads_learn_to_tell_originals_and_hear_the_latent():
    torch.manual_seed(0)
    model = Discriminator([Depth(8, 8, 2), Depth(12, 8, 1)], torch.ones(6))
    real = [torch.randn(4, 8, 16, 16), torch.randn(4, 12, 8, 8)]
    fake = [0.3 * torch.randn(4, 8, 16, 16), 0.3 * torch.randn(4, 12, 8, 8)]
    z = torch.randn(4, 6, 4, 4)
    scores = model(real, z)
    assert [s.shape for s in scores] == [(4, 1, 8, 8), (4, 1, 8, 8)]
    assert not torch.allclose(scores[0], model(real, -z)[0])
    solver = torch.optim.Adam(model.parameters(), 0.01)
    before = hinge(model(real, z), model(fake, z)).item()
    for _ in range(40):
        solver.zero_grad()
        hinge(model(real, z), model(fake, z)).backward()
        solver.step()
    assert hinge(model(real, z), model(fake, z)).item() < 0.7 * before
    assert persuasion(model(fake, z)) > persuasion(model(real, z))
