"""The order in which codes that were not sent are drawn."""

import numpy as np
import pytest

from pqmim.coding.drawing import Drawing, draws
from pqmim.coding.grid import Grid
from pqmim.coding.loop import context_of, draw
from pqmim.coding.sampler import Sampler
from pqmim.coding.schedule import Group

GROUPS = [Group(0, 3, 3), Group(3, 8, 2), Group(8, 30, 1), Group(30, 71, 1)]
SMALL = [Group(0, 2, 3, 1), Group(2, 5, 2, 2), Group(5, 6, 1, 3)]


@pytest.mark.parametrize("active", [1, 5, 27, 71])
@pytest.mark.parametrize("height, width", [(1, 1), (5, 7)])
def test_every_active_code_is_drawn_once(active, height, width):
    count = np.zeros((71, height * width), int)
    for step in draws(GROUPS, active, 16, Drawing()):
        count[step.sub_quantizers.start : step.sub_quantizers.stop, step.positions(height, width)] += 1
    assert (count[:active] == 1).all() and not count[active:].any()


def test_passes_are_small_and_keep_to_groups():
    plan = Drawing()
    order = list(draws(GROUPS, 71, 16, plan))
    for step in order:
        coded = step.sub_quantizers
        assert len(coded) <= (plan.few if coded.start < plan.coarse else plan.many)
        assert sum(g.start <= coded.start and coded.stop <= g.stop for g in GROUPS) == 1
    chunks = [(c.start, c.stop) for c in dict.fromkeys(step.sub_quantizers for step in order)]
    assert chunks[:5] == [(0, 3), (3, 5), (5, 8), (8, 11), (11, 15)]
    assert (26, 30) in chunks and len(order) == 8 * len(chunks)


def test_groups_get_warmer():
    found = {step.sub_quantizers.start: step.temperature for step in draws(GROUPS, 71, 32, Drawing(cold=8))}
    assert found[0] == 16 and found[57] == 32
    assert sorted(found.values()) == list(found.values())
    assert {step.temperature for step in draws(GROUPS, 71, 32, Drawing(cold=16))} == {32}
    assert min(step.temperature for step in draws(GROUPS, 71, 1, Drawing(cold=1))) == 1


@pytest.mark.parametrize("redraws", [0, 2])
def test_what_was_sent_stays_and_the_rest_depends_on_the_seed_alone(prior, redraws):
    drawn = []
    for seed in (1, 1, 2):
        grid = Grid(6, 5, 7, 6)
        for m in range(3):
            grid.reveal(m, np.arange(20), np.full(20, m, np.uint8))
        known, kept = grid.known.copy(), grid.codes.copy()
        context = context_of(prior, grid, 30)
        draw(grid, context, SMALL, Sampler(seed), Drawing(coarse=2, few=1, many=2, redraws=redraws))
        assert grid.complete and np.array_equal(grid.codes[known], kept[known])
        assert np.array_equal(context.known, grid.known) and np.array_equal(context.codes, grid.codes)
        drawn.append(grid.codes)
    assert np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[0], drawn[2])


def test_redrawing_replaces_the_share_that_is_least_likely(prior):
    changed = []
    for redraws in (0, 1):
        grid = Grid(6, 8, 8, 2)
        draw(grid, prior.context(8, 8, 30), SMALL, Sampler(3), Drawing(redraws=redraws, redrawn=4, stages=(16,)))
        changed.append(grid.codes.copy())
    moved = (changed[0] != changed[1]).any(0).sum()
    assert 0 < moved <= 16  # a quarter of the positions, of which some come out the same
