import numpy as np
import pytest
import torch

from pqmim import looks
from pqmim.errors import BadArgument, WeightsError
from pqmim.models.discriminator import Depth, Discriminator, hinge, persuasion
from pqmim.models.looks import VividSynthesis
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
    return synthesis.eval().requires_grad_(False)


def vivid_synthesis() -> VividSynthesis:
    vivid = VividSynthesis(CONFIG)
    vivid.load_state_dict(random_synthesis(0).state_dict(), strict=False)
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in vivid.parameters():
            parameter += 0.02 * torch.randn_like(parameter)
    return vivid.eval().requires_grad_(False)


def arrays(module: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def latent(height: int = 3, width: int = 5) -> torch.Tensor:
    return 3 * torch.randn(1, CONFIG.latent, height, width, generator=torch.Generator().manual_seed(2))


LEVEL = torch.tensor([1.5])


def drawn(vivid: VividSynthesis, z: torch.Tensor, seed: int = 0, origin: tuple[int, int] = (0, 0)) -> torch.Tensor:
    return torch.cat(list(vivid.drawn(z, LEVEL, seed, origin)), 2)


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


def test_seeds_give_other_pictures_and_the_same_seed_the_same():
    vivid, z = vivid_synthesis(), latent()
    with torch.no_grad():
        first, again, other = (drawn(vivid, z, seed) for seed in (1, 1, 2))
        plain = vivid(z, LEVEL)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other) and not torch.allclose(first, plain)


def test_tiles_and_strips_draw_the_same_picture():
    vivid, z = vivid_synthesis(), latent(40, 24)
    with torch.no_grad():
        whole = vivid(z, LEVEL, torch.from_numpy(gaussian(5, 0, 0, 80, 48))[None])
        tile = drawn(vivid, z[:, :, 10:34, 4:20], 5, (10, 4))
        assert torch.allclose(drawn(vivid, z, 5), whole, atol=1e-3)
    assert torch.allclose(tile[:, :, 128:-128, 120:136], whole[:, :, 288:416, 184:200], atol=1e-3)


def test_a_look_is_a_small_difference_that_names_its_synthesis(tmp_path):
    faithful, vivid, path = random_synthesis(0), vivid_synthesis(), tmp_path / "vivid.safetensors"
    strength = np.array([1, 0.75, 0.5], np.float32)
    size = looks.save(path, looks.Look("vivid", arrays(vivid), strength), arrays(faithful), "digest")
    read = looks.load(path, arrays(faithful), "digest")
    assert size < 1.3 * sum(p.numel() for p in vivid.parameters()) + 10_000
    assert read.name == "vivid" and read.strength.tolist() == strength.tolist()
    with torch.no_grad():
        first, again = (drawn(v, latent()) for v in (vivid, VividSynthesis.of(CONFIG, read.tensors)))
        moved = (faithful(latent(), LEVEL) - first).abs().max()
    assert 0 < (first - again).abs().max() < 0.05 * moved
    with pytest.raises(WeightsError, match="belongs to other weights"):
        looks.load(path, arrays(faithful), "another digest")


def test_a_look_without_a_difference_is_the_faithful_one(tmp_path):
    path, vivid = tmp_path / "same.safetensors", VividSynthesis(CONFIG)
    vivid.load_state_dict(random_synthesis(0).state_dict(), strict=False)
    faithful = arrays(random_synthesis(0))
    looks.save(path, looks.Look("same", arrays(vivid), np.ones(3, np.float32)), faithful, "digest")
    read = looks.load(path, faithful, "digest").tensors
    assert all(np.array_equal(read[name], tensor) for name, tensor in faithful.items())


def test_a_look_may_stand_partway():
    found = {"head": np.full((2, 2), 3.0), "fine.0.noise": np.ones((4, 2)), "noise_gain": np.ones(2)}
    half = looks.partway(found, {"head": np.ones((2, 2), np.float16)}, 0.5)
    assert [half[name].flat[0] for name in found] == [2.0, 0.5, 1.0]


def test_strength_says_how_far_a_look_goes_at_each_rate():
    faithful, vivid = arrays(random_synthesis(0)), arrays(vivid_synthesis())
    look = looks.Look("vivid", vivid, np.array([1, 0.5, 0], np.float32))
    assert look.at(0, faithful) is vivid
    for level, share in ((0.5, 0.75), (1, 0.5), (2, 0), (9, 0)):
        found, wanted = look.at(level, faithful), looks.partway(vivid, faithful, share)
        assert found.keys() == vivid.keys() and all(np.array_equal(found[name], wanted[name]) for name in vivid)
    assert all(np.array_equal(look.at(2, faithful)[name], faithful[name]) for name in faithful)


def test_looks_have_names_and_numbers():
    assert [looks.dial_of(look) for look in ("faithful", "vivid", 0, 0.25, 1)] == [0, 1, 0, 0.25, 1]
    for wrong in ("bright", -0.1, 1.1, float("nan")):
        with pytest.raises(BadArgument, match="look"):
            looks.dial_of(wrong)


def test_what_is_no_look_is_said_to_be_none(tmp_path):
    path = tmp_path / "none.safetensors"
    with pytest.raises(WeightsError, match="cannot be read"):
        looks.load(path, {}, "")
    path.write_bytes(b"\x10" + 40 * b"\0")
    with pytest.raises(WeightsError, match="no look"):
        looks.load(path, {}, "")


def test_a_damaged_look_is_refused_if_it_has_a_digest(tmp_path):
    path, faithful = tmp_path / "vivid.safetensors", arrays(random_synthesis(0))
    looks.save(path, looks.Look("vivid", arrays(vivid_synthesis()), np.ones(3, np.float32)), faithful, "digest")
    data = path.read_bytes()
    assert looks.load(path, faithful, "digest").name == "vivid"
    for damaged in (data[:-1] + bytes([data[-1] ^ 1]), data.replace(b"vivid", b"livid", 1)):
        path.write_bytes(damaged)
        with pytest.raises(WeightsError, match="does not match the SHA-256"):
            looks.load(path, faithful, "digest")
    path.write_bytes(damaged.replace(b"sha256", b"sha255", 1))  # as the first looks, which have none
    assert looks.load(path, faithful, "digest").name == "livid"


def test_no_packaged_look_belongs_to_unknown_weights():
    assert looks.find({}, "unknown") is None


@pytest.mark.parametrize("pixels", [0, 4])
def test_heads_learn_to_tell_originals_and_hear_the_latent(pixels):
    torch.manual_seed(0)
    model = Discriminator([Depth(8, 8, 2), Depth(12, 8, 1)], torch.ones(6), pixels)
    z = torch.randn(4, 6, 4, 4)
    real = [torch.randn(4, 8, 16, 16), torch.randn(4, 12, 8, 8)], z, 127 + 40 * torch.randn(4, 3, 64, 64)
    fake = [0.3 * f for f in real[0]], z, 127 + 0.3 * (real[2] - 127)
    scores = model(*real)
    assert [s.shape for s in scores] == [(4, 1, 8, 8)] * (3 if pixels else 2)
    others = model(real[0], -z, real[2])
    assert not any(torch.allclose(one, other) for one, other in zip(scores, others))
    solver = torch.optim.Adam(model.parameters(), 0.01)
    before = hinge(model(*real), model(*fake)).item()
    for _ in range(40):
        solver.zero_grad()
        hinge(model(*real), model(*fake)).backward()
        solver.step()
    assert hinge(model(*real), model(*fake)).item() < 0.7 * before
    assert persuasion(model(*fake)) > persuasion(model(*real))
    if pixels:
        told = [score.mean() for score in (model(*real)[-1], model(real[0], z, fake[2])[-1])]
        assert told[0] > told[1]  # by the pixels alone
