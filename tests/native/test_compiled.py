"""The compiled prior against the literal one of tests/models, on every bit, at every level that this processor has."""

from functools import cache

import numpy as np
import pytest
from reference_prior import random_codes, random_tensors, tables, tokens

from pqmim import native
from pqmim.coding.range_coder import RangeDecoder, RangeEncoder
from pqmim.models.prior.compiled import CompiledPrior, Unavailable
from pqmim.models.prior.integer import IntegerPrior

LARGER = {"dimensions": (1, 1, 2, 3, 5), "codewords": 64, "width": 64, "heads": 2, "hidden": 72, "blocks": 3}
ODD = {"dimensions": (1, 3, 1), "codewords": 37, "width": 36, "heads": 3, "hidden": 20, "blocks": 2, "rank": 3}
SHAPES = [(1, 1), (8, 8), (7, 9), (9, 7), (5, 13), (12, 17)]


def levels() -> list[str]:
    """Levels of instructions that can be tested here: none without a library."""
    library = native.library()
    return library.levels if library else []


def known_context(prior, codes, known, quality):
    """A context that knows the codes (h, w, M) of which `known`, revealed in two halves."""
    height, width, size = codes.shape
    context = prior.context(height, width, quality)
    for half in (0, 1):
        for m in range(size):
            positions = np.flatnonzero(known[..., m].ravel())[half::2]
            context.reveal(m, positions, codes[..., m].ravel()[positions])
        if not half:
            list(context.frequencies(range(1), np.arange(1), 0))  # what is known so far joins the embedding
    return context


pytestmark = pytest.mark.skipif(not levels(), reason="there is no library")


def every(tensors, codes, known, quality):
    """Cumulative frequencies of all sub-quantizers at all positions, by the literal form."""
    hidden = tokens(tensors, codes, known, quality)
    return tables(tensors, hidden.reshape(-1, hidden.shape[-1]), range(codes.shape[2]))


SIZES = {"small": {}, "larger": LARGER, "odd": ODD, "extreme": {"extreme": True}, "both": LARGER | {"extreme": True}}


@cache
def case(name, seed):
    """Tensors, codes, what is known of them, and all tables, of a shape."""
    tensors = random_tensors(seed, **SIZES[name])
    codes, known = random_codes(seed, tensors, *SHAPES[seed])
    return tensors, codes, known, every(tensors, codes, known, 15 * seed)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("name", SIZES)
def test_agrees_with_the_literal_form_on_every_table(name, level, threads):
    for seed, shape in enumerate(SHAPES):
        tensors, codes, known, expected = case(name, seed)
        context = known_context(CompiledPrior(tensors, threads, level), codes, known, 15 * seed)
        found = list(context.frequencies(range(codes.shape[2]), np.arange(shape[0] * shape[1])))
        assert [m for m, _, _ in found] == list(range(codes.shape[2]))
        for (_, part, frequencies), table in zip(found, expected):
            assert part == slice(0, len(table)) and len(frequencies) == len(table)
            assert np.array_equal(frequencies.cumulative(), table)


@pytest.mark.parametrize("level", levels())
def test_intervals_sizes_and_codes_are_those_of_the_tables(level):
    tensors = random_tensors(1, **LARGER)
    codes, known = random_codes(1, tensors, 9, 11)
    context = known_context(CompiledPrior(tensors, level=level), codes, known, 50)
    rng = np.random.default_rng(0)
    for m, _, frequencies in context.frequencies(range(1, 5), np.arange(99)):
        table, mine = frequencies.cumulative(), codes[..., m].ravel()
        starts, sizes = frequencies.intervals(mine)
        assert np.array_equal(starts, np.take_along_axis(table, mine[:, None].astype(int), 1)[:, 0])
        candidates = rng.integers(0, 64, (99, 5)).astype(np.uint8)
        wanted = np.take_along_axis(np.diff(table), candidates.astype(int), 1)
        assert np.array_equal(frequencies.sizes(candidates), wanted)
        encoder = RangeEncoder()
        encoder.encode(starts, sizes)
        assert np.array_equal(frequencies.decode(RangeDecoder(encoder.finish())), mine)


@pytest.mark.parametrize("level", levels())
def test_decodes_cut_bytes_as_the_tables_do_and_goes_on(level):
    tensors = random_tensors(2, **LARGER)
    codes, known = random_codes(2, tensors, 8, 10)
    context = known_context(CompiledPrior(tensors, level=level), codes, known, 50)
    ((_, _, frequencies),) = context.frequencies(range(3, 4), np.arange(80))
    data = np.random.default_rng(3).bytes(60)
    for length in range(0, 60, 7):
        by_table, direct = RangeDecoder(data[:length]), RangeDecoder(data[:length])
        expected, found = by_table.decode(frequencies.cumulative()), frequencies.decode(direct)
        assert np.array_equal(found, expected)
        assert np.array_equal(by_table.state, direct.state)
        if direct.exhausted:
            direct.feed(data[length:])
            rest = frequencies.decode(direct, len(found))
            whole = frequencies.decode(RangeDecoder(data))
            assert np.array_equal(np.r_[found, rest], whole)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_some_positions_and_the_first_blocks(level, blocks):
    tensors = random_tensors(3, **LARGER)
    codes, known = random_codes(3, tensors, 13, 10)
    fewer = {name: array for name, array in tensors.items() if not name[0].isdigit() or int(name[0]) < blocks}
    positions = np.flatnonzero(np.random.default_rng(0).random(130) < 0.2)
    expected = every(fewer, codes, known, 30)
    context = known_context(CompiledPrior(tensors, level=level), codes, known, 30)
    for _ in range(2):  # a pass leaves nothing behind
        for m, _, frequencies in context.frequencies(range(2, 5), positions, blocks):
            assert np.array_equal(frequencies.cumulative(), expected[m][positions])


@pytest.mark.parametrize("level", levels())
def test_learns_another_code(level):
    tensors = random_tensors(4)
    codes, known = random_codes(4, tensors, 6, 6)
    context = known_context(CompiledPrior(tensors, level=level), codes, known, 30)
    list(context.frequencies(range(1), np.arange(1)))
    codes.reshape(36, -1)[1::3] ^= 5
    for m in range(codes.shape[2]):
        positions = np.flatnonzero(known[..., m].ravel())
        context.reveal(m, positions, codes[..., m].ravel()[positions])
    for (_, _, frequencies), table in zip(
        context.frequencies(range(codes.shape[2]), np.arange(36)), every(tensors, codes, known, 30)
    ):
        assert np.array_equal(frequencies.cumulative(), table)


@pytest.mark.parametrize("level", levels())
@pytest.mark.parametrize("temperature", [1, 4, 12, 24, 200])
def test_temperatures_are_those_of_the_torch_form(level, temperature):
    for extreme in (False, True):
        tensors = random_tensors(5, **LARGER, extreme=extreme)
        codes, known = random_codes(5, tensors, 7, 9)
        context = known_context(CompiledPrior(tensors, level=level), codes, known, 40)
        reference = IntegerPrior(tensors).context(7, 9, 40)
        for m in range(5):
            positions = np.flatnonzero(known[..., m].ravel())
            reference.reveal(m, positions, codes[..., m].ravel()[positions])
        pairs = zip(
            context.frequencies(range(5), np.arange(63), None, temperature),
            reference.frequencies(range(5), np.arange(63), None, temperature),
        )
        for (_, _, mine), (_, _, theirs) in pairs:
            assert np.array_equal(mine.cumulative(), theirs.cumulative())


def test_what_does_not_fit_is_refused():
    with pytest.raises(Unavailable, match="no room for heads of 33 / 3 dimensions"):
        CompiledPrior(random_tensors(0, width=33, heads=3))
    with pytest.raises(ValueError, match="free term of rank 64"):
        CompiledPrior(random_tensors(0, rank=65))
    with pytest.raises(Unavailable, match="no level nonsense"):
        CompiledPrior(random_tensors(0), level="nonsense")
    context = CompiledPrior(random_tensors(0)).context(2, 3, 50)
    with pytest.raises(ValueError, match="positions are 0 to 5"):
        context.reveal(0, np.array([6]), np.array([0], np.uint8))
    with pytest.raises(ValueError, match="codes are below 16"):
        context.reveal(0, np.array([5]), np.array([16], np.uint8))
