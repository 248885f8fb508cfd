"""All forms of the prior against the plain reference, on every bit."""

import numpy as np
import pytest
from reference_prior import random_codes, random_tensors, tables, tokens

from pqmim.coding.grid import Grid
from pqmim.coding.loop import decode, encode, turns
from pqmim.coding.prior import CumulativeFrequencies
from pqmim.coding.range_coder import RangeDecoder
from pqmim.coding.schedule import Group
from pqmim.models.prior import integer, numpy

SIZES = [(1, 1), (8, 8), (5, 13), (12, 17)]


def tables_of(context, coded, positions, *options):
    """Cumulative frequencies (n, K + 1) of each sub-quantizer."""
    found = {m: [] for m in coded}
    for m, part, frequencies in context.frequencies(coded, positions, *options):
        assert len(frequencies) == len(positions[part])
        found[m].append(frequencies.cumulative())
    return [np.concatenate(found[m]) for m in coded]


def wanted(tensors, codes, known, quality, coded, positions, blocks=None, temperature=16):
    hidden = tokens(tensors, codes, known, quality, blocks).reshape(known[..., 0].size, -1)
    return tables(tensors, hidden[positions], coded, temperature)


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for own, other in zip(found, expected):
        assert own.dtype == np.int32
        assert np.array_equal(own, other)


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("height, width", SIZES)
def test_agree_with_the_reference(form, reveal, height, width, extreme):
    for seed in range(3):
        tensors = random_tensors(seed, extreme=extreme)
        codes, known = random_codes(seed, tensors, height, width)
        context = reveal(form(tensors).context(height, width, 10 * seed), codes, known)
        places = np.arange(height * width)
        assert_equal(tables_of(context, range(4), places), wanted(tensors, codes, known, 10 * seed, range(4), places))


@pytest.mark.parametrize("blocks", [0, 1, 2, 3, None])
@pytest.mark.parametrize("height, width", SIZES)
def test_some_positions_after_some_blocks(form, reveal, height, width, blocks):
    tensors, rng = random_tensors(7, blocks=3), np.random.default_rng(height)
    prior = form(tensors)
    codes, known = random_codes(7, tensors, height, width)
    for count in {1, height * width // 3 + 1, height * width}:
        positions = np.sort(rng.choice(height * width, count, replace=False))
        found = tables_of(reveal(prior.context(height, width, 30), codes, known), range(1, 3), positions, blocks)
        assert_equal(found, wanted(tensors, codes, known, 30, range(1, 3), positions, blocks))


@pytest.mark.parametrize("blocks", [0, 1, None])
def test_of_nothing_known(form, blocks):
    tensors = random_tensors(2)
    nothing = np.zeros((9, 10, 4), np.uint8)
    places = np.arange(0, 90, 3)
    found = tables_of(form(tensors).context(9, 10, 50), range(2), places, blocks)
    assert_equal(found, wanted(tensors, nothing, nothing.astype(bool), 50, range(2), places, blocks))


def test_what_is_kept_between_passes_is_what_one_pass_would_find(form):
    tensors, rng = random_tensors(3), np.random.default_rng(0)
    codes, _ = random_codes(3, tensors, 7, 11)
    known, context, places = np.zeros((7, 11, 4), bool), form(tensors).context(7, 11, 20), np.arange(77)
    for _ in range(4):
        for m in rng.permutation(4):
            fresh = np.flatnonzero(~known[..., m].ravel() & (rng.random(77) < 0.3))
            context.reveal(m, fresh, codes[..., m].ravel()[fresh])
            known.reshape(-1, 4)[fresh, m] = True
        assert_equal(tables_of(context, range(4), places), wanted(tensors, codes, known, 20, range(4), places))


@pytest.mark.parametrize("temperature", [1, 5, 16, 40, 256])
def test_temperatures(form, reveal, temperature):
    tensors = random_tensors(4, codewords=64)
    codes, known = random_codes(4, tensors, 6, 6)
    context, places = reveal(form(tensors).context(6, 6, 70), codes, known), np.arange(36)
    assert_equal(
        tables_of(context, range(4), places, None, temperature),
        wanted(tensors, codes, known, 70, range(4), places, None, temperature),
    )


def test_sums_are_exact_at_the_sizes_and_extremes_of_the_bounds(form, reveal):
    tensors = random_tensors(
        5, dimensions=(1, 16), codewords=64, width=256, heads=4, hidden=512, blocks=2, rank=8, extreme=True
    )
    codes, known = random_codes(5, tensors, 8, 9)
    assert np.abs(tokens(tensors, codes, known, 100)).max() == 127 and np.abs(tensors["codebook"]).max() > 4000
    context, places = reveal(form(tensors).context(8, 9, 100), codes, known), np.arange(72)
    assert_equal(tables_of(context, range(2), places), wanted(tensors, codes, known, 100, range(2), places))


def test_a_change_of_one_weight_shows(form, reveal):
    tensors = random_tensors(0)
    codes, known = random_codes(0, tensors, 8, 8)
    before = tables_of(reveal(form(tensors).context(8, 8, 0), codes, known), range(4), np.arange(64))
    tensors["1.reduce.weight"][:, 0] ^= 3
    after = tables_of(reveal(form(tensors).context(8, 8, 0), codes, known), range(4), np.arange(64))
    assert not all(np.array_equal(one, other) for one, other in zip(before, after))


def test_frequencies_in_part_are_those_of_the_table(form, reveal):
    tensors, rng = random_tensors(6, codewords=40), np.random.default_rng(6)
    codes, known = random_codes(6, tensors, 5, 7)
    context = reveal(form(tensors).context(5, 7, 40), codes, known)
    for _, _, frequencies in context.frequencies(range(4), np.arange(35)):
        table, few = frequencies.cumulative(), rng.integers(0, 40, (35, 5)).astype(np.uint8)
        few[0, :2] = 0, 39
        assert np.array_equal(frequencies.sizes(few), np.take_along_axis(np.diff(table), few.astype(int), 1))
        start, size = frequencies.intervals(few[:, 0])
        assert np.array_equal(start, table[np.arange(35), few[:, 0]])
        assert np.array_equal(size, frequencies.sizes(few[:, :1])[:, 0])


@pytest.mark.parametrize("rows", [integer.ROWS, numpy.ROWS])
def test_frequencies_come_in_slices_in_order(form, rows):
    prior, height = form(random_tensors(5)), 2 * rows // 8 + 1
    parts = [(m, part) for m, part, _ in prior.context(height, 8, 0).frequencies(range(2), np.arange(8 * height), 1)]
    assert [m for m, _ in parts] == sorted(m for m, _ in parts)
    for own in (0, 1):
        covered = np.concatenate([np.arange(8 * height)[part] for m, part in parts if m == own])
        assert np.array_equal(covered, np.arange(8 * height))


@pytest.mark.parametrize("groups", [[(0, 1, 4), (1, 3, 2), (3, 4, 1)], [(0, 1, 3, 1), (1, 3, 2, 2), (3, 4, 1, 3)]])
def test_files_are_the_same_bytes_in_every_form(form, groups):
    """Walked as a file is, encoder and decoder: what is kept and what is left out between passes changes nothing."""
    tensors, rng = random_tensors(8, blocks=3), np.random.default_rng(8)
    order = [Group(*group) for group in groups]
    codes = rng.integers(0, 16, (4, 9 * 13)).astype(np.uint8)
    payloads = []
    for prior in (form(tensors), Plain(tensors)):
        grid = Grid(4, 9, 13, 4)
        context = prior.context(9, 13, 60)
        payloads.append(encode(grid, context, turns(order, grid), lambda m, at, _: codes[m, at]))
        assert grid.complete
    assert payloads[0] == payloads[1]
    grid = Grid(4, 9, 13, 4)
    decode(grid, form(tensors).context(9, 13, 60), turns(order, grid), RangeDecoder(payloads[0]))
    assert np.array_equal(grid.codes, codes)


class Plain:
    """The reference as a prior: it keeps and leaves out nothing."""

    def __init__(self, tensors):
        self.tensors = tensors

    def context(self, height, width, quality):
        return PlainContext(self.tensors, height, width, quality)


class PlainContext:
    def __init__(self, tensors, height, width, quality):
        self.tensors, self.quality = tensors, quality
        self.codes = np.zeros((height, width, len(tensors["dimensions"])), np.uint8)
        self.known = np.zeros(self.codes.shape, bool)

    def reveal(self, m, positions, codes):
        self.codes.reshape(-1, self.codes.shape[2])[positions, m] = codes
        self.known.reshape(-1, self.codes.shape[2])[positions, m] = True

    def frequencies(self, coded, positions, blocks=None, temperature=16):
        found = wanted(self.tensors, self.codes, self.known, self.quality, coded, positions, blocks, temperature)
        for m, table in zip(coded, found):
            yield m, slice(0, len(positions)), CumulativeFrequencies(table.astype(np.int32))
