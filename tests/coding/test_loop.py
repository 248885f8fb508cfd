"""One loop for coding, decoding, completing and drawing."""

import numpy as np
import pytest

from pqmim.coding.grid import Grid
from pqmim.coding.loop import (
    context_of,
    decode,
    decoding,
    encode,
    expect,
    fill,
    information,
    sample,
    surest_first,
    turns,
)
from pqmim.coding.prior import CumulativeFrequencies
from pqmim.coding.range_coder import RangeDecoder
from pqmim.coding.sampler import Sampler
from pqmim.coding.schedule import Group
from pqmim.errors import BadArgument

GROUPS = [Group(0, 2, 3, 1), Group(2, 5, 2, 2), Group(5, 6, 1, 3)]
HEIGHT, WIDTH, QUALITY = 5, 7, 30


def empty(active=5):
    return Grid(6, HEIGHT, WIDTH, active)


@pytest.fixture
def codes():
    return np.random.default_rng(0).integers(0, 8, (6, HEIGHT * WIDTH)).astype(np.uint8)


@pytest.fixture
def payload(prior, codes):
    grid = empty()
    data = encode(grid, prior.context(HEIGHT, WIDTH, QUALITY), turns(GROUPS, grid), lambda m, at, _: codes[m, at])
    assert grid.complete and np.array_equal(grid.codes[:5], codes[:5]) and not grid.known[5].any()
    return data


def decoded(prior, data):
    grid = empty()
    context = prior.context(HEIGHT, WIDTH, QUALITY)
    decode(grid, context, turns(GROUPS, grid), RangeDecoder(data))
    assert np.array_equal(context.known, grid.known)
    return grid


def test_codes_come_back(prior, codes, payload):
    assert np.array_equal(decoded(prior, payload).codes[:5], codes[:5])


def test_turns_of_a_file_say_how_many_blocks_run(prior, payload):
    ranges = [(coded.start, coded.stop, blocks) for coded, _, blocks, _ in prior.asked]
    assert ranges == [(0, 2, 0), (0, 2, 1), (0, 2, 1), (2, 5, 2), (2, 5, 2)]


def test_a_prefix_gives_a_prefix_of_the_codes(prior, codes, payload):
    share = 0.0
    for end in range(0, len(payload) + 1, 5):
        grid = decoded(prior, payload[:end])
        assert np.array_equal(grid.codes[grid.known], codes[grid.known])
        assert grid.share >= share
        share = grid.share
    assert 0 < share < 1 or grid.complete


def test_decoding_goes_on_where_it_stopped(prior, codes, payload):
    grid, decoder = empty(), RangeDecoder(b"")
    walk = decoding(grid, prior.context(HEIGHT, WIDTH, QUALITY), turns(GROUPS, grid), decoder)
    for end in range(0, len(payload), 3):
        assert next(walk, None) is not None
        assert np.array_equal(grid.known, decoded(prior, payload[:end]).known)
        decoder.feed(payload[end : end + 3])
    for _ in walk:
        raise AssertionError("the bytes determine all codes")
    assert grid.complete and np.array_equal(grid.codes[:5], codes[:5])


def test_no_pass_runs_twice_when_decoding_goes_on(prior, payload):
    prior.asked.clear()
    grid, decoder = empty(), RangeDecoder(b"")
    walk = decoding(grid, prior.context(HEIGHT, WIDTH, QUALITY), turns(GROUPS, grid), decoder)
    for byte in payload:
        next(walk)
        decoder.feed(bytes([byte]))
    assert next(walk, None) is None and len(prior.asked) == 5


def test_information_is_about_the_size_of_the_payload(prior, codes, payload):
    grid = empty()
    bits = information(grid, prior.context(HEIGHT, WIDTH, QUALITY), turns(GROUPS, grid), codes)
    assert bits.shape == (6,) and bits[5] == 0
    assert bits.sum() <= 8 * len(payload) + 0.1 <= bits.sum() + 9.2


def test_a_sample_keeps_what_is_known_and_depends_on_the_seed_alone(prior, codes, payload):
    drawn = []
    for seed in (1, 1, 2):
        grid = decoded(prior, payload[: len(payload) // 2])
        known, kept = grid.known.copy(), grid.codes.copy()
        sample(grid, context_of(prior, grid, QUALITY), turns(GROUPS, grid), Sampler(seed))
        assert 0 < known.sum() < grid.known.sum() and grid.complete
        assert np.array_equal(grid.codes[known], kept[known])
        drawn.append(grid.codes)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_the_surest_positions_come_first_and_all_come(prior):
    grid = empty()
    prior.asked.clear()
    surest_first(grid, prior.context(HEIGHT, WIDTH, QUALITY), GROUPS, Sampler(4), 3)
    assert grid.complete and not grid.known[5].any()
    left = [len(positions) for _, positions, _, _ in prior.asked]
    assert left == 2 * [35, 31, 19]  # after step i of n, i**2 / n**2 of the positions are known, rounded up


def test_one_step_draws_all_positions_of_a_group_at_once(prior):
    grid = empty()
    surest_first(grid, prior.context(HEIGHT, WIDTH, QUALITY), GROUPS, Sampler(4), 1)
    assert grid.complete and [len(positions) for _, positions, _, _ in prior.asked] == [35, 35]


class Quiet(Sampler):
    """Without noise, and with a record of what noise was asked for."""

    def __init__(self):
        super().__init__(4)
        self.asked = []

    def noise(self, count, symbols, left, steps):
        self.asked.append((count, symbols, left, steps))
        return np.zeros(count, np.int64)


def test_noise_over_the_order_falls_step_by_step_to_nothing(prior):
    grid, sampler = empty(), Quiet()
    surest_first(grid, prior.context(HEIGHT, WIDTH, QUALITY), GROUPS, sampler, 3)
    steps = [(35, 2), (31, 1), (19, 0)]
    assert sampler.asked == [(count, symbols, left, 3) for symbols in (2, 3) for count, left in steps]


class Graded:
    """A context whose frequencies depend on the position alone: the later, the surer."""

    def __init__(self):
        self.seen = []

    def frequencies(self, coded, positions, blocks=None, temperature=16):
        self.seen.append(positions.tolist())
        for m in coded:
            likely = np.cumsum(np.full((len(positions), 7), 1), 1) + 6000 * positions[:, None]
            table = np.concatenate([np.zeros((len(positions), 1), int), likely, np.full((len(positions), 1), 65536)], 1)
            yield m, slice(0, len(positions)), CumulativeFrequencies(table.astype(np.int32))

    def reveal(self, m, positions, codes):
        pass


def test_surer_positions_come_before_others_where_there_is_no_noise():
    context = Graded()
    grid = Grid(2, 1, 8, 2)
    sampler = Quiet()
    sampler.draw = lambda table: np.zeros(len(table), np.uint8)  # the code whose frequency grows with the position
    surest_first(grid, context, [Group(0, 2, 1)], sampler, 2)
    assert context.seen == [[0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5]]


def test_steps_end_where_nothing_is_left_to_draw(prior, monkeypatch):
    looked, find = [], np.flatnonzero
    monkeypatch.setattr(np, "flatnonzero", lambda values: looked.append(1) or find(values))
    grid = empty()
    surest_first(grid, prior.context(HEIGHT, WIDTH, QUALITY), GROUPS, Sampler(4), 5000)
    assert grid.complete and len(looked) < 1000


def test_what_is_expected_is_the_mean_of_the_distribution(prior, codes):
    grid = empty()
    grid.reveal(0, np.arange(30), codes[0, :30])
    words = [np.arange(8, dtype=np.float32)[:, None] * [1, m + 1] for m in range(6)]
    words = [word.astype(np.float32) for word in words]
    context = context_of(prior, grid, QUALITY)
    found = expect(grid, words, context)
    assert found.shape == (35, 12) and found.dtype == np.float32
    assert np.array_equal(found[:30, :2], words[0][codes[0, :30]])
    assert not found[:, 10:].any()  # what is not sent is codeword 0
    for m, part, frequencies in context.frequencies(range(5), np.arange(35)):
        mean = np.diff(frequencies.cumulative()) @ words[m].astype(float) / 65536
        own = found[part, 2 * m : 2 * m + 2]
        unknown = ~grid.known[m, part]
        assert np.allclose(own[unknown], mean[unknown], rtol=1e-5)
    without = expect(grid, words, None)
    assert np.array_equal(without[:30, :2], found[:30, :2]) and not without[30:].any()

    instead = -np.arange(1, 13, dtype=np.float32)
    prior.asked.clear()
    short = expect(grid, words, context, 2, instead)  # the prior is asked for two sub-quantizers
    assert [list(asked[0]) for asked in prior.asked] == [[0, 1]]
    assert np.array_equal(short[:, :4], found[:, :4]) and not short[:, 10:].any()
    assert np.array_equal(short[:, 4:10], np.tile(instead[4:10], (35, 1)))


def test_a_context_of_a_grid_knows_what_the_grid_knows(prior, payload):
    grid = decoded(prior, payload[: len(payload) // 3])
    context = context_of(prior, grid, QUALITY)
    assert np.array_equal(context.known, grid.known)
    assert np.array_equal(context.codes[context.known], grid.codes[grid.known])


def test_what_is_forgotten_is_filled_again(prior, codes, payload):
    grid = decoded(prior, payload)
    grid.codes[:, 3:5], grid.known[:, 3:5] = 0, False
    assert grid.share == pytest.approx(1 - 2 / 35) and not grid.codes[:, 3].any()
    known = grid.known.copy()
    sample(grid, context_of(prior, grid, QUALITY), turns(GROUPS, grid), Sampler(0))
    assert grid.complete and np.array_equal(grid.codes[:5][known[:5]], codes[:5][known[:5]])


def test_codes_of_one_turn_do_not_tell_of_each_other(prior, codes):
    """All frequencies of a turn are asked for before any of its codes is known to the prior."""
    grid = empty()
    context = prior.context(HEIGHT, WIDTH, QUALITY)
    seen = []

    def chosen(m, positions, _):
        seen.append(int(context.known.sum()))
        return codes[m, positions]

    fill(grid, context, turns(GROUPS, grid), chosen)
    per_turn = [len(coded) * len(at) for coded, at, _, _ in prior.asked]
    assert sorted(set(seen)) == np.cumsum([0, *per_turn[:-1]]).tolist()


def test_tables_answer_for_some_codes():
    table = np.array([[0, 10, 100, 65536], [0, 1, 2, 65536]], np.int32)
    frequencies = CumulativeFrequencies(table)
    start, size = frequencies.intervals(np.array([1, 2], np.uint8))
    assert start.tolist() == [10, 2] and size.tolist() == [90, 65534]
    assert frequencies.sizes(np.array([[0, 2], [1, 0]], np.uint8)).tolist() == [[10, 65436], [1, 1]]
    assert len(frequencies) == 2 and frequencies.cumulative() is table
    decoder = RangeDecoder(bytes(8))
    assert frequencies.decode(decoder).tolist() == [0, 0] and frequencies.decode(decoder, 1).tolist() == [0]


def test_no_steps_are_refused(prior):
    with pytest.raises(BadArgument, match="1 or more steps, not 0"):
        surest_first(empty(), prior.context(HEIGHT, WIDTH, QUALITY), GROUPS, Sampler(), 0)


def test_a_grid_that_sends_nothing_lacks_nothing():
    for grid in (Grid(0, 1, 1, 0), empty(0)):
        assert grid.share == 1.0 and grid.complete
