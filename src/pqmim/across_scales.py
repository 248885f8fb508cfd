"""Drawing what was not sent, from coarse to fine.

A picture of which nothing is known has structure at every scale, and the prior sees a window of positions at a time.
So structure is decided where few positions span the picture: at an eighth of the size. The drawn picture is made twice
as large, analysed, and its coarse codes are taken as known; the finer codes, which an enlarged picture cannot have, are
drawn. This is repeated up to full size. Where a part of the picture is known it is known at every scale, and what is
drawn joins it.

::

    1/8: draw all ──► picture ──► x 2 ──► analysis ──► coarse codes known, fine codes drawn ──► picture ──► x 2 ──► ...

One pass of the prior draws few codes of a position, since those of one pass do not know of each other: at most 4
sub-quantizers where they are coarse, 16 where they are fine. The bytes of files are coded by another, shorter schedule;
this one is the sampler's own. It has all blocks of the prior. The weights are those of the codec.

At one scale a seed draws the same codes on every machine. Across scales it does so on one machine only: the codes that
are taken over come from pixels, through the analysis, both in floating point. Another processor, device or version of a
library may round otherwise, take over another code, and draw another picture from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.drawing import Drawing
from pqmim.coding.grid import Grid
from pqmim.coding.loop import Turn, context_of, drawing_turns, sample
from pqmim.coding.prior import UNIT, Prior
from pqmim.coding.sampler import Sampler
from pqmim.image.scale import enlarge, shrink
from pqmim.results import STRIDE

LEAST = 4  # positions on the shorter side of the smallest scale
SMALLEST = 3  # the smallest scale is 1 / 2**3 of the picture


FINE_RANKS: tuple[int, ...] = (0, 4, 16)
"""How many of the 16 ranks of a 4x4 tile are known before each pass of fine codes, and after the last."""


@dataclass(frozen=True)
class Plan:
    """How codes are drawn.

    Attributes:
        boundary: sub-quantizers below are coarse: colour and structure.
        coarse: temperature of the coarse ones, above 0. Lower ones draw fog.
        fine: temperature of the others.
        kept: sub-quantizers below are taken from an enlarged picture.
        together: coarse and fine sub-quantizers that one pass draws.
        scales: the smallest scale is at most 1 / 2**scales of the picture; 0 draws at full size alone.
    """

    boundary: int = 26
    coarse: float = 1.0
    fine: float = 1.0
    kept: int = 8
    together: tuple[int, int] = (4, 16)
    scales: int = SMALLEST

    def heated(self, temperature: float) -> Plan:
        """The same with both temperatures times `temperature`."""
        return replace(self, coarse=self.coarse * temperature, fine=self.fine * temperature)


JOINING = Plan(coarse=0.3, fine=0.6)
"""Where a part of the picture is known: cooler, so that colours fit it."""


class Studio(Protocol):
    """What drawing needs of a codec at one quality."""

    @property
    def prior(self) -> Prior:
        """The prior that draws."""
        ...

    @property
    def active(self) -> int:
        """Sub-quantizers that the quality sends."""
        ...

    @property
    def quality(self) -> int:
        """The quality, 0 to 100."""
        ...

    def codes(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes (M, h * w) of a picture (H, W, 3)."""
        ...

    def pixels(self, grid: Grid) -> NDArray[np.uint8]:
        """The picture (16 h, 16 w, 3) of a grid that is complete."""
        ...


@dataclass(frozen=True, eq=False)
class Known:
    """The part of a picture that is known.

    Attributes:
        rgb: (H, W, 3) the picture, with what is expected where it is not known: a position of a smaller scale that is
            known in part is seen through it.
        unknown: (h, w) bool, positions that are drawn whole.
        codes: (M, h * w) codes at full size.
        known: (M, h * w) bool, which of the codes are known.
    """

    rgb: NDArray[np.uint8]
    unknown: NDArray[np.bool_]
    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]


def turns_of(grid: Grid, plan: Plan) -> Iterator[Turn]:
    """The turns that draw all codes of a grid: coarse sub-quantizers first, some at a time, in growing stages."""
    temperatures = max(1, round(UNIT * plan.coarse)), max(1, round(UNIT * plan.fine))
    return drawing_turns(grid, Drawing(plan.boundary, plan.together, fine=FINE_RANKS, temperatures=temperatures))


def draw(grid: Grid, studio: Studio, plan: Plan, seed: int) -> None:
    """Draw all codes of a grid that are not known, at its own scale.  A seed draws the same codes everywhere."""
    sample(grid, context_of(studio.prior, grid, studio.quality), turns_of(grid, plan), Sampler(seed))


def draw_across_scales(
    studio: Studio, size: tuple[int, int], plan: Plan, seed: int, known: Known | None = None
) -> Grid:
    """A complete grid of a picture, drawn from its smallest scale to full size.

    Args:
        studio: the codec at the quality that is drawn.
        size: width and height in pixels.
        plan: how.
        seed: from 0; it draws the same codes again on the same machine, see the module.
        known: what is known of the picture; None: nothing.

    Raises:
        ValueError: the seed is negative.
    """
    width, height = size
    drawn: NDArray[np.uint8] | None = None
    for scale in range(smallest_scale(width, height, plan.scales), -1, -1):
        wide, high = -(-width >> scale), -(-height >> scale)
        grid = Grid(studio.prior.size, -(-high // STRIDE), -(-wide // STRIDE), studio.active)
        anew = _known_at(grid, studio, known, scale)
        if drawn is not None:
            codes = studio.codes(_padded(enlarge(drawn, wide, high), grid))
            _reveal(grid, codes, anew, min(plan.kept, studio.active))
        draw(grid, studio, plan, seed * (SMALLEST + 1) + scale)
        drawn = studio.pixels(grid)[:high, :wide]
    return grid


def _known_at(grid: Grid, studio: Studio, known: Known | None, scale: int) -> NDArray[np.int64]:
    """Make what is known of a picture known to its grid at a scale; returns the positions of which nothing is."""
    if known is None:
        return np.arange(grid.height * grid.width)
    unknown = _smaller(known.unknown, scale, (grid.height, grid.width)).reshape(-1)
    if scale:
        codes = studio.codes(_padded(shrink(known.rgb, scale), grid))
        _reveal(grid, codes, np.flatnonzero(~unknown), studio.active)
    else:
        for m in range(studio.active):
            positions = np.flatnonzero(known.known[m] & ~unknown)
            grid.reveal(m, positions, known.codes[m, positions])
    return np.flatnonzero(unknown)


def smallest_scale(width: int, height: int, most: int) -> int:
    """The smallest scale, at most `most`, that leaves `LEAST` positions on the shorter side."""
    scale = 0
    while scale < most and min(width, height) >> (scale + 1) >= LEAST * STRIDE:
        scale += 1
    return scale


def _reveal(grid: Grid, codes: NDArray[np.uint8], positions: NDArray[np.int64], stop: int) -> None:
    for m in range(stop):
        grid.reveal(m, positions, codes[m, positions])


def _smaller(unknown: NDArray[np.bool_], scale: int, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Positions (height, width) at a smaller scale that see nothing known."""
    height, width = shape
    rows, columns = height << scale, width << scale
    padded = np.pad(unknown, ((0, rows - unknown.shape[0]), (0, columns - unknown.shape[1])), "edge")
    return np.asarray(padded.reshape(height, 1 << scale, width, 1 << scale).all((1, 3)))


def _padded(rgb: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """The picture, its edges repeated up to the grid."""
    below, right = STRIDE * grid.height - rgb.shape[0], STRIDE * grid.width - rgb.shape[1]
    return np.pad(rgb, ((0, below), (0, right), (0, 0)), "edge")
