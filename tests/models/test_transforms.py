import numpy as np
import torch

from pqmim.models.transforms import (
    Analysis,
    Synthesis,
    TransformConfig,
    blend,
    in_strips,
    start_as_klt,
    start_at_random,
)


def pair(**config):
    torch.manual_seed(0)
    config = TransformConfig(levels=3, **config)
    analysis, synthesis = Analysis(config).eval(), Synthesis(config).eval()
    noise = np.random.default_rng(0).normal(size=(2000, 3, 16, 16)).cumsum(2).cumsum(3) * 4
    patches = torch.from_numpy(noise.clip(-127, 127) + 127).float()
    return analysis, synthesis, patches, start_as_klt(analysis, synthesis, patches)


def test_untrained_transforms_are_an_orthonormal_transform():
    analysis, synthesis, patches, deviation = pair(latent=768)
    level = torch.zeros(4)
    with torch.no_grad():
        z = analysis(patches[:4], level)
        restored = synthesis(z, level)
    assert z.shape == (4, 768, 1, 1)
    assert torch.allclose(restored, patches[:4], atol=0.02)
    assert torch.allclose(z.square().sum(), (patches[:4] - 127.5).square().sum(), rtol=1e-4)
    assert (deviation.diff() <= 1e-3).all()


def test_fewer_dimensions_keep_the_most_energy():
    analysis, synthesis, patches, _ = pair(latent=64)
    level = torch.zeros(len(patches))
    with torch.no_grad():
        error = (synthesis(analysis(patches, level), level) - patches).square().mean()
    assert error < 0.05 * (patches - 127.5).square().mean()


def test_random_transforms_keep_the_energy_and_know_its_deviations():
    analysis, synthesis, patches, klt = pair(latent=64)
    deviation = start_at_random(analysis, synthesis, patches)
    with torch.no_grad():
        z = analysis(patches, torch.zeros(len(patches)))
    assert torch.allclose(z.square().mean((0, 2, 3)).sqrt(), deviation, rtol=1e-3)
    assert torch.allclose(analysis.coarse[0].scale, deviation) and torch.allclose(synthesis.coarse[0].scale, deviation)
    assert deviation.std() / deviation.mean() < 0.5 < klt.std() / klt.mean()  # no channel is worth more than others


def test_branches_start_at_zero_and_hear_the_level():
    analysis, _, patches, _ = pair(latent=64)
    with torch.no_grad():
        before = analysis(patches[:1], torch.zeros(1))
        for block in [*analysis.fine, *analysis.coarse]:
            block.reduce.normal_(std=0.1)
            block.gain[2] = 2.0
        after = analysis(patches[:1], torch.zeros(1))
        louder = analysis(patches[:1], torch.full((1,), 2.0))
    assert not torch.allclose(before, after) and not torch.allclose(after, louder)


def test_blend_interpolates_and_clamps():
    table = torch.tensor([[0.0], [1.0], [4.0]])
    level = torch.tensor([-1.0, 0.0, 0.5, 1.5, 2.0, 9.0])
    assert blend(table, level).flatten().tolist() == [0, 0, 0.5, 2.5, 4, 4]


def test_budget_of_the_default():
    assert TransformConfig().multiply_adds() <= 45_000


def test_any_multiple_of_sixteen():
    analysis, synthesis, _, _ = pair(latent=32)
    with torch.no_grad():
        z = analysis(torch.zeros(1, 3, 48, 16), torch.zeros(1))
        assert z.shape == (1, 32, 3, 1)
        assert synthesis(z, torch.zeros(1)).shape == (1, 3, 48, 16)


def test_strips_give_what_the_whole_gives():
    analysis, synthesis, _, _ = pair(latent=24, expansion=0.25)
    torch.manual_seed(1)
    with torch.no_grad():
        for block in [*analysis.fine, *analysis.coarse, *synthesis.coarse, *synthesis.fine]:
            block.reduce.normal_(std=0.3)
        x, level = torch.rand(1, 3, 48 * 16, 32) * 255, torch.zeros(1)
        z = analysis(x, level)
        assert torch.allclose(in_strips(analysis, x, level, 16, 1, positions=20), z, atol=1e-2, rtol=1e-4)
        image = synthesis(z, level)
        strips = in_strips(synthesis, z, level, 1, 16, positions=20)
        assert strips.shape == image.shape and torch.allclose(strips, image, atol=1e-2, rtol=1e-4)
        wrong = torch.cat([synthesis(part, level) for part in z.split(10, 2)], 2)
        assert not torch.allclose(wrong, image, atol=1e-2, rtol=1e-4)  # without overlap the seams would show
