"""Drawing from coarse to fine, with a small codec that is easy to see through: one code a position, its brightness."""

import numpy as np
import pytest

from pqmim import across_scales
from pqmim.across_scales import Known, Plan, draw, draw_across_scales, turns_of
from pqmim.coding.grid import Grid
from pqmim.coding.prior import UNIT, CumulativeFrequencies

SIZE, CODEWORDS = 6, 16


class FlatContext:
    """Every codeword is as likely as any other, whatever is known; what is revealed is kept for the test."""

    def __init__(self):
        self.turns, self.revealed = [], 0

    def reveal(self, m, positions, codes):
        self.revealed += len(positions)

    def frequencies(self, coded, positions, blocks=None, temperature=UNIT):
        self.turns.append((coded, len(positions), blocks, temperature))
        table = np.tile(np.linspace(0, 65536, CODEWORDS + 1).astype(np.int32), (len(positions), 1))
        for m in coded:
            yield m, slice(0, len(positions)), CumulativeFrequencies(table)


class FlatPrior:
    size, codewords, blocks = SIZE, CODEWORDS, 1

    def __init__(self):
        self.contexts = []

    def context(self, height, width, quality):
        self.contexts.append(FlatContext())
        return self.contexts[-1]


class Studio:
    """Code 0 of a position is its mean brightness in sixteenths; the others are texture that pixels do not show."""

    active, quality = SIZE, 40

    def __init__(self):
        self.prior = FlatPrior()

    def codes(self, rgb):
        mean = rgb.reshape(rgb.shape[0] // 16, 16, rgb.shape[1] // 16, 16, 3).mean((1, 3, 4))
        codes = np.zeros((SIZE, mean.size), np.uint8)
        codes[0] = (mean.ravel() // 16).astype(np.uint8)
        return codes

    def pixels(self, grid):
        grey = (16 * grid.codes[0] + 8).reshape(grid.height, grid.width).astype(np.uint8)
        return np.repeat(grey.repeat(16, 0).repeat(16, 1)[..., None], 3, 2)


PLAN = Plan(boundary=3, kept=1, together=(2, 2), coarse=0.5, fine=1.0)


def test_every_code_is_drawn_once_coarse_ones_first():
    grid = Grid(SIZE, 5, 7, 5)
    drawn = np.zeros((SIZE, 35), int)
    starts = []
    for turn in turns_of(grid, PLAN):
        drawn[turn.sub_quantizers.start : turn.sub_quantizers.stop, turn.positions] += 1
        starts.append((turn.sub_quantizers.start, turn.temperature))
        assert len(turn.sub_quantizers) <= 2 and turn.blocks is None
    assert (drawn[:5] == 1).all() and (drawn[5:] == 0).all()
    assert starts == sorted(starts)
    assert {temperature for start, temperature in starts if start < 3} == {8}
    assert {temperature for start, temperature in starts if start >= 3} == {16}


def test_what_is_known_stays():
    studio, grid = Studio(), Grid(SIZE, 4, 4, SIZE)
    grid.reveal(2, np.arange(5), np.full(5, 9, np.uint8))
    draw(grid, studio, PLAN, seed=1)
    assert grid.complete and (grid.codes[2, :5] == 9).all()


def test_structure_comes_from_the_smaller_scale():
    studio = Studio()
    grid = draw_across_scales(studio, (256, 128), PLAN, seed=4)
    sizes = [(context.turns[0][1], context.revealed) for context in studio.prior.contexts]
    assert len(sizes) == 2  # 128 pixels: 4 positions on the shorter side of the half
    assert (grid.height, grid.width) == (8, 16) and grid.complete
    brightness = grid.codes[0].reshape(8, 16).astype(int)
    inside = np.abs(np.diff(brightness.reshape(8, 8, 2), axis=2)).mean()
    assert inside < 0.6 * np.abs(np.diff(np.random.default_rng(0).integers(0, 16, (64, 2)), axis=1)).mean()


def test_a_seed_draws_the_same_and_another_one_something_else():
    one, same, other = (draw_across_scales(Studio(), (128, 128), PLAN, seed).codes for seed in (5, 5, 6))
    assert np.array_equal(one, same) and (one != other).mean() > 0.5


def test_a_known_part_keeps_its_codes_and_is_seen_at_every_scale():
    studio = Studio()
    rgb = np.full((128, 128, 3), 200, np.uint8)
    unknown = np.zeros((8, 8), bool)
    unknown[2:5, 3:6] = True
    codes = studio.codes(rgb)
    seen = ~unknown.ravel() & np.ones((SIZE, 1), bool)
    grid = draw_across_scales(studio, (128, 128), PLAN, 2, Known(rgb, unknown, codes, seen))
    assert np.array_equal(grid.codes[:, ~unknown.ravel()], codes[:, ~unknown.ravel()])
    assert (grid.codes[1:, unknown.ravel()] != 0).any()
    small, full = studio.prior.contexts
    assert small.revealed >= SIZE * 15  # of 16 positions, at most one sees the hole alone
    assert full.revealed >= SIZE * 55


def test_temperatures_scale_together():
    plan = Plan(coarse=0.5, fine=1.0).heated(0.5)
    assert (plan.coarse, plan.fine) == (0.25, 0.5)


@pytest.mark.parametrize(("size", "scales"), [((64, 64), 0), ((128, 4000), 1), ((512, 768), 3), ((5000, 5000), 3)])
def test_the_smallest_scale_still_has_some_positions(size, scales):
    assert across_scales.smallest_scale(*size, 3) == scales
