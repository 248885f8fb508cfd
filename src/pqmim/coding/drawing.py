"""The order in which codes that were not sent are drawn, as a pure function.

A file's passes settle up to a hundred sub-quantizers at once, each without knowing of the others. A coder only loses
bits by that. A drawn picture loses what holds it together. So drawing takes smaller passes: few sub-quantizers, and
positions in more stages. The order is fixed; orders that follow the prior's confidence do worse than spread-out ones
(Besnier et al., arXiv 2503.17076).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import UNIT
from pqmim.coding.schedule import ranks


@dataclass(frozen=True)
class Drawing:
    """How codes are drawn: coarse ones, which carry colour and structure, and fine ones.

    Attributes:
        boundary: sub-quantizers below are coarse.
        together: most coarse and most fine sub-quantizers that one pass draws.
        coarse: how many of the 16 ranks of positions are known before each pass of coarse ones, and after the last.
        fine: the same for fine ones.
        temperatures: of coarse and of fine ones, in sixteenths.
    """

    boundary: int = 26
    together: tuple[int, int] = (4, 16)
    coarse: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 12, 16)
    fine: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 8, 12, 16)
    temperatures: tuple[int, int] = (UNIT // 2, UNIT)

    def heated(self, heat: int) -> "Drawing":
        """The same with both temperatures times `heat` sixteenths, no less than one."""
        coarse, fine = (max(1, temperature * heat // UNIT) for temperature in self.temperatures)
        return replace(self, temperatures=(coarse, fine))


@dataclass(frozen=True)
class Draw:
    """One pass of drawing: `sub_quantizers` at the positions whose rank is in [low, high).

    `temperature` is in sixteenths, as `coding.prior` has it.
    """

    sub_quantizers: range
    low: int
    high: int
    temperature: int

    def positions(self, unknown: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Flat indices, in raster order, of the positions drawn (n,), of those that are `unknown` (h, w).

        Stages share the ranks that are there. Where every other position is known, as on a chessboard, half are.
        """
        rank = ranks(*unknown.shape)
        there = np.unique(rank[unknown.ravel()])
        rank = np.searchsorted(there, rank) * 16 // max(1, len(there))
        return np.flatnonzero(unknown.ravel() & (rank >= self.low) & (rank < self.high))


def draws(active: int, drawing: Drawing) -> Iterator[Draw]:
    """The passes that draw the first `active` sub-quantizers, coarse ones first, in order."""
    boundary = min(drawing.boundary, active)
    parts = (0, boundary), (boundary, active)
    for (start, stop), most, stages, temperature in zip(
        parts, drawing.together, (drawing.coarse, drawing.fine), drawing.temperatures
    ):
        for first in range(start, stop, most):
            for low, high in pairwise(stages):
                yield Draw(range(first, min(first + most, stop)), low, high, temperature)
