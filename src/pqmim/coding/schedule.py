"""Coding order: which symbols each pass of the prior codes, as a pure function of the file's header.

Sub-quantizers are coded in nested groups, coarse first, each group across the whole picture.  Inside
a group, positions come in stages of growing size along a fixed low-discrepancy order (a 4x4 Bayer
matrix), since growth matters and adaptivity does not (Mentzer et al., M2T, ICCV 2023).  Encoder,
decoder and sampler all walk this one list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

BAYER = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
"""Rank of each position in its 4x4 tile: every prefix is spread as evenly as it can be."""

STAGES = {1: (16,), 2: (6, 16), 3: (2, 8, 16), 4: (1, 4, 8, 16)}
"""For a group coded in n stages: how many of the 16 ranks are known after each."""


@dataclass(frozen=True)
class Group:
    """Sub-quantizers `start` to `stop` (exclusive), coded together in `stages` spatial stages.

    `blocks` is the number of the prior's blocks, the first ones, that its passes run. None: all, as in the first
    releases.
    """

    start: int
    stop: int
    stages: int
    blocks: int | None = None


@dataclass(frozen=True)
class Pass:
    """One evaluation of the prior: `sub_quantizers` at the positions whose rank is in [low, high).

    `blocks` is the number of the prior's blocks, the first ones, that run. None: all.
    """

    sub_quantizers: range
    low: int
    high: int
    blocks: int | None = None

    def positions(self, height: int, width: int) -> NDArray[np.int64]:
        """Flat indices, in raster order, of the positions coded: (n,)."""
        rank = ranks(height, width)
        return np.flatnonzero((rank >= self.low) & (rank < self.high))


def ranks(height: int, width: int) -> NDArray[np.int64]:
    """Rank 0..15 of every position: (height * width,)."""
    rows, columns = np.arange(height) % 4, np.arange(width) % 4
    rank: NDArray[np.int64] = BAYER[rows[:, None], columns].ravel()
    return rank


def hurried(groups: Sequence[Group]) -> list[Group]:
    """The same groups with a stage less where they have several: nearly the same frequencies, in fewer passes."""
    return [replace(group, stages=max(1, group.stages - 1)) for group in groups]


def passes(groups: Sequence[Group], active: int) -> list[Pass]:
    """The passes that code the first `active` sub-quantizers, in order.

    Inside a pass the symbols go sub-quantizer by sub-quantizer, positions in raster order. The first pass of a file,
    which knows nothing, runs no block where its group says how many blocks run: all positions would get equal frequencies.
    """
    order: list[Pass] = []
    for group in groups:
        coded = range(group.start, min(group.stop, active))
        known = 0
        for reached in STAGES[group.stages] if coded else ():
            blocks = group.blocks if order or group.blocks is None else 0
            order.append(Pass(coded, known, reached, blocks))
            known = reached
    return order


def known_before(step: Pass, sub_quantizers: int, height: int, width: int) -> NDArray[np.bool_]:
    """What the decoder knows when `step` begins: (sub_quantizers, height * width)."""
    known = np.zeros((sub_quantizers, height * width), np.bool_)
    known[: step.sub_quantizers.start] = True
    known[step.sub_quantizers.start : step.sub_quantizers.stop] = ranks(height, width) < step.low
    return known
