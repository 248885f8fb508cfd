"""Numbers that FORMAT.md fixes, written out: a change of one makes other files, and no property would notice."""

import numpy as np
import pytest

from pqmim.coding.sampler import Sampler
from pqmim.coding.schedule import STAGES, Group, passes, ranks


def test_ranks_of_a_tile():
    tile = [[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]]
    assert ranks(4, 4).reshape(4, 4).tolist() == tile
    assert ranks(6, 5).reshape(6, 5).tolist() == [[*row, row[0]] for row in (*tile, *tile[:2])]


def test_stages():
    assert STAGES == {1: (16,), 2: (6, 16), 3: (2, 8, 16), 4: (1, 4, 8, 16)}


def test_passes_in_order():
    groups = [Group(0, 3, 3, 4), Group(3, 8, 2, 4), Group(8, 20, 1)]
    found = [(step.sub_quantizers, step.low, step.high, step.blocks) for step in passes(groups, 10)]
    first, second, third = range(3), range(3, 8), range(8, 10)
    assert found == [
        (first, 0, 2, 0),  # nothing is known: no block runs
        (first, 2, 8, 4),
        (first, 8, 16, 4),
        (second, 0, 6, 4),
        (second, 6, 16, 4),
        (third, 0, 16, None),
    ]


@pytest.mark.parametrize(
    ("temperature", "heat"), [(0.001, 1), (0.03, 1), (0.1, 2), (0.25, 4), (1.0, 16), (1.05, 17), (16, 256)]
)
def test_temperatures_in_sixteenths(temperature, heat):
    assert Sampler(0, temperature).heat == heat


@pytest.mark.parametrize("codewords", [2, 5, 256])
def test_the_floor_of_frequencies_is_never_drawn_and_all_else_is(codewords):
    """Each frequency counts 1 less: with 65536 equally likely numbers, code k is drawn by all those of its own."""
    frequencies = np.ones(codewords, np.int64)
    frequencies[1] = 3
    frequencies[0] = 65536 - codewords - 1
    table = np.concatenate([[0], np.cumsum(frequencies)]).astype(np.int32)
    codes = Sampler(5).draw(np.repeat(table[None], 300_000, 0))
    drawn = np.bincount(codes, minlength=codewords)
    assert drawn[2:].sum() == 0 and drawn[0] + drawn[1] == 300_000
    assert 1 <= drawn[1] < 40  # 2 of 65534 in 300,000: 9 expected


def test_seeds_wrap_where_the_key_ends():
    table = np.array([[0, 100, 40000, 65536]], np.int32).repeat(50, 0)
    assert np.array_equal(Sampler(2**128 + 3).draw(table), Sampler(3).draw(table))
    assert not np.array_equal(Sampler(2**127 + 3).draw(table), Sampler(3).draw(table))


def test_golden_noise():
    """Of numbers near 0, whose logarithms differ by most, and of others."""
    assert Sampler(3).noise(8, 1, 4, 4).tolist() == [-16, -94, -72, -41, -44, -74, -102, -71]
    assert Sampler(3).noise(8, 5, 1, 4).tolist() == [-20, -118, -90, -52, -55, -93, -128, -89]
    many = Sampler(3).noise(200_000, 1, 4, 4)
    assert (int(many.min()), int(many.max()), int(many.sum())) == (-128, 0, -12189490)
