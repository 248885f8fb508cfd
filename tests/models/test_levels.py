"""Rates below 1: transforms stay at level 0, the quantizer's steps go on getting finer, alike in torch and NumPy."""

import numpy as np
import pytest
import torch

from pqmim import blocks
from pqmim.models.quantizer import ProductQuantizer, level_of_rate, prolonged
from pqmim.models.transforms import blend

TABLE = torch.tensor([[3.0, -1.0, 0.5], [1.0, -1.5, 0.75], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize("level", [-1.0, -0.25, 0.0, 0.5, 1.75, 2.0, 9.0])
def test_numpy_and_torch_prolong_alike(level):
    found = prolonged(TABLE, torch.tensor([level]))[0, :, 0, 0]
    assert np.allclose(blocks.prolonged(TABLE.numpy(), level), found.numpy(), rtol=0, atol=1e-6)


def test_from_level_0_on_nothing_is_prolonged():
    level = torch.tensor([0.0, 0.3, 1.0, 1.6, 2.0])
    assert torch.equal(prolonged(TABLE, level), blend(TABLE, level))


def test_below_level_0_it_is_a_straight_line():
    first, half, whole = prolonged(TABLE, torch.tensor([0.0, -0.5, -1.0]))[..., 0, 0]
    assert torch.allclose(half - first, (TABLE[0] - TABLE[1]) / 2)
    assert torch.allclose(whole - first, TABLE[0] - TABLE[1])
    assert torch.equal(prolonged(TABLE[:1], torch.tensor([-1.0]))[0, :, 0, 0], TABLE[0])


def test_a_finer_rate_scales_the_latent_up_and_back():
    quantizer = ProductQuantizer(torch.tensor([2, 0, 1]), [1, 2], 4, 3)
    with torch.no_grad():
        quantizer.log_gain.copy_(TABLE)
        quantizer.log_step.copy_(-TABLE)
    z = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(1))
    level = level_of_rate(torch.tensor([0.25, 0.25]))
    y = quantizer.scaled(z, level)
    assert torch.allclose(quantizer.restored(y, level, 4), z, atol=1e-5)
    assert y[..., 1].abs().sum() > quantizer.scaled(z, torch.zeros(2))[..., 1].abs().sum() * 4  # exp(0.75 x 2)
