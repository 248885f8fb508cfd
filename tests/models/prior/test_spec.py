import numpy as np
import pytest
import torch
from reference_prior import random_tensors

from pqmim.models.prior import integer, spec
from pqmim.models.prior.frequencies import MassFrequencies
from pqmim.models.prior.numpy import NumpyPrior


@pytest.mark.parametrize("name", ["level", "embed.bias", "0.reduce.bias", "0.bias"])
@pytest.mark.parametrize("form", [integer.IntegerPrior, NumpyPrior])
def test_weights_that_could_overflow_are_refused(form, name):
    tensors = random_tensors(0)
    tensors[name] = np.full_like(tensors[name], 1 << 30)
    with pytest.raises(ValueError, match=r"could leave (32|24) bits"):
        form(tensors)


@pytest.mark.parametrize(
    "name, value",
    [("0.qkv.weight", -128), ("feature", -128), ("codebook", 4081), ("static", 16385), ("free.shift", -1)],
)
def test_numbers_out_of_range_are_refused(name, value):
    tensors = random_tensors(0)
    spec.check(tensors)
    tensors[name].flat[0] = value
    with pytest.raises(ValueError):
        spec.check(tensors)


def test_sub_quantizers_of_too_many_dimensions_are_refused():
    with pytest.raises(ValueError, match="16 dimensions"):
        spec.check(random_tensors(0, dimensions=(1, 17)))


MISSHAPEN = {
    "dimensions": lambda t: t[:-1],
    "codebook": lambda t: t[..., :-1],
    "feature": lambda t: t[:, :-1],
    "level": lambda t: t[:1],
    "term": lambda t: t[..., :-1],
    "static": lambda t: t[:-1],
    "embed.weight": lambda t: t[:, :-8],
    "embed.bias": lambda t: t[:1],
    "mean.weight": lambda t: t[:-1],
    "precision.shift": lambda t: t[:-1],
    "free.weight": lambda t: t[:, :-1],
    "1.bias": lambda t: t[:, :-1],
    "0.depthwise.weight": lambda t: t[:, :-1],
    "1.depthwise.shift": lambda t: t[:1],
    "0.qkv.weight": lambda t: t[:-1],
    "1.attended.bias": lambda t: t[None],
    "0.expand.weight": lambda t: t[:-2],
    "1.reduce.weight": lambda t: t[:, :-1],
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_tensors_that_do_not_fit_each_other_are_refused(name):
    tensors = random_tensors(0)
    tensors[name] = np.ascontiguousarray(MISSHAPEN[name](tensors[name]))
    with pytest.raises(ValueError, match=r"has the shape|dimensions, as the codebook has"):
        spec.check(tensors)


@pytest.mark.parametrize("dimensions", [-1, 0, 4])
def test_dimensions_that_the_codebook_has_not_are_refused(dimensions):
    tensors = random_tensors(0)  # of at most 3 dimensions
    tensors["dimensions"][1] = dimensions
    with pytest.raises(ValueError, match="1 to 3 dimensions"):
        spec.check(tensors)


def test_priors_of_other_sizes_fit():
    for sizes in (
        {"blocks": 0},
        {"dimensions": (1,), "rank": 1},
        {"width": 64, "heads": 4, "hidden": 8, "codewords": 256},
    ):
        spec.check(random_tensors(0, **sizes))


def test_exp2_is_close_and_falls():
    t = np.arange(4096, dtype=np.int32)
    exact = 2.0 ** (15 - t / 256)
    found = spec.exp2(t)
    assert (np.diff(found) <= 0).all()
    assert (np.abs(found - exact) <= 0.0051 * exact + 1).all()
    assert found[0] == 1 << 15 and found[256] == 1 << 14 and found[-1] == 0
    assert np.array_equal(integer.exp2(torch.from_numpy(t)).numpy(), found)


def test_attention_weights_are_close_and_fall():
    deficit = np.arange(spec.NOTHING + 1)
    found = spec.attention_weights()
    assert (np.diff(found) <= 0).all() and found[0] == 256 and found[2048] == 128 and found[-1] == 0
    assert (np.abs(found - 256 * 2.0 ** (-deficit / 2048)) <= 16).all()


def test_inverse_squares_are_far_from_halves():
    exact = 2.0 ** (16 + np.arange(-256, 97) / 16)
    assert np.array_equal(spec.inverse_squares(), np.round(exact))
    assert (np.abs(exact % 1 - 0.5) > 1e-4).all()


def test_pairs_are_offsets_of_query_to_key():
    pairs = spec.relative_positions()
    assert pairs[0, 0] == 7 * 15 + 7
    assert pairs[8, 0] == 8 * 15 + 7 and pairs[0, 1] == 7 * 15 + 6
    assert pairs.min() == 0 and pairs.max() == 224


@pytest.mark.parametrize("block", [0, 1])
@pytest.mark.parametrize("height, width", [(1, 1), (8, 8), (5, 13), (12, 17)])
def test_windows_hold_every_position_once(height, width, block):
    found = spec.windows(height, width, block)
    inside = found[found < height * width]
    assert np.array_equal(np.sort(inside), np.arange(height * width)) and found.max() <= height * width
    rows, columns = np.divmod(found, width)
    for window, row, column in zip(found, rows, columns):
        own = window < height * width
        shift = 4 * block
        assert len(set((row[own] + shift) // 8)) <= 1 and len(set((column[own] + shift) // 8)) <= 1


@pytest.mark.parametrize("count", [1, 7, 60])
def test_queries_find_each_position_once(count):
    windows = spec.windows(6, 11, 1)
    positions = np.sort(np.random.default_rng(count).choice(66, count, replace=False))
    asked = spec.queries(windows, positions, 66)
    held = asked.index < count
    assert np.array_equal(np.sort(asked.index[held]), np.arange(count))
    assert np.array_equal(np.take_along_axis(asked.windows, asked.places, 1)[held], positions[asked.index[held]])
    assert held.any(1).all() and held.any(0).all()


def test_frequencies_are_never_zero_and_sum_to_65536():
    rng = np.random.default_rng(0)
    masses = spec.exp2(rng.integers(0, 4096, (64, 256)).astype(np.int32))
    masses[:, 3] = 1 << 15
    masses[0] = 1 << 15
    masses[1] = 0
    masses[1, 7] = 1 << 15
    table = MassFrequencies(masses.cumsum(1, dtype=np.int32)).cumulative()
    assert (table[:, 0] == 0).all() and (table[:, -1] == 65536).all()
    assert (np.diff(table) >= 1).all()
    assert (np.diff(table[0]) == 256).all()
    assert np.diff(table[1])[7] == 65536 - 255


def test_shares_of_masses_are_rounded_down_where_they_are_whole():
    """Quotients that are whole numbers, or one part in 2^23 below: where a rounded division would go wrong."""
    totals = np.arange((1 << 23) - 300, 1 << 23)
    first = -(-totals * 1000 // 65534)  # the least mass whose share is 1000
    rows = np.stack([np.concatenate([first, first - 1]), np.tile(totals, 2)], 1).astype(np.int32)
    table = MassFrequencies(rows).cumulative()
    assert np.array_equal(table[:, 1], rows[:, 0].astype(np.int64) * 65534 // rows[:, 1] + 1)
    assert set(table[:, 1]) == {1000, 1001}
    assert np.array_equal(MassFrequencies(rows).sizes(np.zeros((600, 1), np.uint8))[:, 0], table[:, 1])
