"""The order in which codes that were not sent are drawn."""

import numpy as np
import pytest

from pqmim.coding.drawing import Draw, Drawing, draws
from pqmim.coding.grid import Grid
from pqmim.coding.loop import context_of, draw
from pqmim.coding.sampler import Sampler


@pytest.mark.parametrize("active", [1, 5, 27, 71])
@pytest.mark.parametrize("height, width", [(1, 1), (5, 7)])
def test_every_active_code_is_drawn_once(active, height, width):
    count = np.zeros((71, height * width), int)
    for step in draws(active, Drawing()):
        positions = step.positions(np.ones((height, width), bool))
        count[step.sub_quantizers.start : step.sub_quantizers.stop, positions] += 1
    assert (count[:active] == 1).all() and not count[active:].any()


def test_passes_are_small_and_coarse_ones_come_first():
    order = list(draws(71, Drawing(together=(4, 16), fine=(0, 4, 16))))
    chunks = list(dict.fromkeys(step.sub_quantizers for step in order))
    assert chunks[:2] == [range(4), range(4, 8)] and chunks[6:8] == [range(24, 26), range(26, 42)]
    assert max(map(len, chunks[:7])) == 4 and max(map(len, chunks[7:])) == 16
    assert len(order) == 8 * 7 + 2 * 3


def test_the_order_where_nobody_says():
    """As the shipped decoder completes a file: a change of it draws other pictures from the same seed."""
    drawing = Drawing()
    stages = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (12, 16)]
    coarse = [range(4), range(4, 8), range(8, 12), range(12, 16), range(16, 20), range(20, 24), range(24, 26)]
    fine = [range(26, 42), range(42, 58), range(58, 71)]
    found = [(step.sub_quantizers, step.low, step.high, step.temperature) for step in draws(71, drawing)]
    assert found == [
        (chunk, *stage, temperature)
        for chunks, temperature in ((coarse, 8), (fine, 16))
        for chunk in chunks
        for stage in stages
    ]


def test_coarse_and_fine_codes_have_their_temperatures():
    found = [step.temperature for step in draws(71, Drawing(temperatures=(8, 16)).heated(32))]
    assert found[0] == 16 and found[-1] == 32 and set(found) == {16, 32}
    assert Drawing(temperatures=(4, 8)).heated(1).temperatures == (1, 1)


def test_what_was_sent_stays_and_the_rest_depends_on_the_seed_alone(prior):
    drawn = []
    for seed in (1, 1, 2):
        grid = Grid(6, 5, 7, 6)
        for m in range(3):
            grid.reveal(m, np.arange(20), np.full(20, m, np.uint8))
        known, kept = grid.known.copy(), grid.codes.copy()
        context = context_of(prior, grid, 30)
        draw(grid, context, Sampler(seed), Drawing(boundary=2, together=(1, 2)))
        assert grid.complete and np.array_equal(grid.codes[known], kept[known])
        assert np.array_equal(context.known, grid.known) and np.array_equal(context.codes, grid.codes)
        drawn.append(grid.codes)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_stages_share_what_is_unknown():
    """On a chessboard half of the ranks are there, and all stages but those too small for it have some."""
    unknown = np.indices((8, 8)).sum(0) % 2 == 1
    sizes = [len(step.positions(unknown)) for step in draws(4, Drawing())]
    assert sum(sizes) == 32 and sum(size > 0 for size in sizes) == 6
    assert all(unknown.ravel()[step.positions(unknown)].all() for step in draws(4, Drawing()))


def test_ranks_that_are_there_are_spread_over_16():
    """Of three positions of ranks 0, 8 and 2, in raster order, the ranks become 0, 10 and 5."""
    unknown = np.zeros((4, 4), bool)
    unknown[0, :3] = True
    found = {rank: Draw(range(1), rank, rank + 1, 16).positions(unknown).tolist() for rank in range(16)}
    assert {rank: positions for rank, positions in found.items() if positions} == {0: [0], 5: [2], 10: [1]}
    assert not Draw(range(1), 0, 16, 16).positions(np.zeros((4, 4), bool)).size
