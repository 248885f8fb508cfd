"""Choosing codes: refinement lowers what a file costs in pixels and bits, and its parts do what they say."""

import numpy as np
import pytest
import torch

from pqmim.bitstream.container import read
from pqmim.codec import Codec
from pqmim.models import assignment
from pqmim.models.assignment import SoftChoice, moved
from pqmim.models.product_quantizer import ProductQuantizer


@pytest.fixture(scope="module")
def codec():
    return Codec()


@pytest.fixture(scope="module")
def photo():
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:90, :150] / 20
    grey = 120 + 60 * np.sin(x * y) + 40 * (np.hypot(x - 4, y - 2) < 1.2) + rng.normal(0, 6, x.shape)
    return np.stack([grey, grey * 0.8 + 20, 0.6 * grey], -1).clip(0, 255).astype(np.uint8)


def cost(codec, photo, data):
    """Squared error and bits of a file, at its price."""
    quality = read(data).header.quality
    error = np.square(np.asarray(codec.decompress(data), float) - photo).sum()
    return error + codec.weights.prices[quality] * 8 * len(data)


@pytest.mark.parametrize("quality", [20, 50, 90])
def test_refinement_pays(codec, photo, quality):
    plain, refined = (codec.compress(photo, quality, effort=effort) for effort in (0, 8))
    assert cost(codec, photo, refined) < 0.985 * cost(codec, photo, plain)
    assert abs(len(refined) / len(plain) - 1) < 0.2
    assert codec.codes(refined).shape == codec.codes(plain).shape  # verified by the check of the file


def test_tiles_do_as_well_as_the_whole(codec, photo, monkeypatch):
    whole = cost(codec, photo, codec.compress(photo, 60, effort=8))
    monkeypatch.setattr(assignment, "TILE", 4)
    assert cost(codec, photo, codec.compress(photo, 60, effort=8)) == pytest.approx(whole, rel=0.02)


def test_no_effort_is_the_default(codec, photo):
    assert codec.compress(photo, 50) == codec.compress(photo, 50, effort=0)


def test_an_exact_size_is_kept(codec, photo):
    assert len(codec.compress(photo, size=300, effort=2)) == 300


@pytest.mark.parametrize("effort", [-1, 100, 1.5])
def test_absurd_efforts_are_refused(codec, photo, effort):
    with pytest.raises(ValueError, match=f"from 0 to 99, not {effort}"):
        codec.compress(photo, effort=effort)


@pytest.mark.parametrize("height, width", [(1, 1), (48, 49), (130, 20), (97, 144)])
def test_tiles_cover_every_position_once(height, width):
    seen = np.zeros((height, width), int)
    for rows, columns in assignment._tiles(height, width):
        assert rows.stop - rows.start <= assignment.TILE and columns.stop - columns.start <= assignment.TILE
        seen[rows, columns] += 1
    assert (seen == 1).all()


@pytest.fixture
def choice():
    """Of two sub-quantizers, of one channel and of two: the first costs the same either way, the second does not."""
    quantizer = ProductQuantizer(torch.arange(3), [1, 2], 4, 2)
    quantizer.codebook.data[0, :, 0] = torch.tensor([0.0, 2.0, 5.0, 9.0])
    quantizer.codebook.data[1] = torch.tensor([[0.0, 0.0], [1.0, 1.0], [4.0, 4.0], [6.0, 6.0]])
    candidates = torch.tensor([[0, 3], [1, 1]])[:, None, None]  # (2, 1, 1, 2)
    bits = torch.tensor([[1.0, 40.0], [1.0, 2.0]])[:, None, None]
    return SoftChoice(quantizer, candidates, bits, torch.tensor([2.0]), torch.tensor([[1.0, 1.0, 3.0]]))


def test_costs_are_bits_and_errors_in_bits(choice):
    aim = torch.tensor([[[1.0, 6.0, 5.0]]])
    assert choice.cost(aim)[:, 0, 0].tolist() == [[0.5 + 1, 1.5 + 40], [0.5 + 1, (25 + 3 * 16) / 2 + 2]]


def test_a_soft_choice_weighs_candidates_by_their_cost(choice):
    even, dear = torch.tensor([[[1.0, 0.0, 0.0]]]), torch.tensor([[[1.5, 1.0, 1.0]]])
    assert choice.mean(even)[0, 0].tolist() == pytest.approx([1.0, 1.0, 1.0])
    share = 1 / (1 + 2 ** -((1.5**2 - 0.5**2) / 2))  # of codeword 2, which is 0.5 away, where 0 is 1.5
    assert choice.mean(dear)[0, 0, 0].item() == pytest.approx(2 * share)
    assert choice.likeliest(dear)[0, 0].tolist() == [1, 1]


def test_an_aim_rests_where_pixels_want_it():
    mean, slope, worth = torch.rand(1, 4, 3), torch.randn(1, 4, 3), torch.rand(1, 3) + 0.5
    wanted = mean - slope / (2 * worth[:, None])
    assert torch.allclose(moved(wanted, mean, slope, worth), wanted)
    started = moved(torch.zeros_like(mean), mean, slope, worth)
    assert torch.allclose(started, assignment.STEP * wanted)
