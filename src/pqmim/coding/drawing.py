"""The order in which codes that were not sent are drawn, as a pure function.

A file's passes settle up to a hundred sub-quantizers at once, each without knowing of the others. A coder only loses
bits by that. A drawn picture loses what holds it together. So drawing takes smaller passes: few sub-quantizers, and
positions in more stages. The order is fixed; orders that follow the prior's confidence do worse than spread-out ones
(Besnier et al., arXiv 2503.17076).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.schedule import Group, ranks


@dataclass(frozen=True)
class Drawing:
    """How codes are drawn.

    Attributes:
        coarse: the first `coarse` sub-quantizers are drawn in smaller passes.
        few: most sub-quantizers of a pass among those.
        many: most sub-quantizers of a pass among the others.
        stages: how many of the 16 ranks of positions are known after each stage.
        cold: temperature of the first group, in sixteenths of that of the last one; those between lie between.
        redraws: how often what is least likely, given all the rest, is drawn again.
        redrawn: the share of positions that is, in sixteenths.
    """

    coarse: int = 26
    few: int = 4
    many: int = 16
    stages: tuple[int, ...] = (1, 2, 3, 4, 6, 8, 12, 16)
    cold: int = 8
    redraws: int = 0
    redrawn: int = 5


@dataclass(frozen=True)
class Draw:
    """One pass of drawing: `sub_quantizers` at the positions whose rank is in [low, high).

    `temperature` is in sixteenths, as `coding.prior` has it.
    """

    sub_quantizers: range
    low: int
    high: int
    temperature: int

    def positions(self, height: int, width: int) -> NDArray[np.int64]:
        """Flat indices, in raster order, of the positions drawn: (n,)."""
        rank = ranks(height, width)
        return np.flatnonzero((rank >= self.low) & (rank < self.high))


def draws(groups: Sequence[Group], active: int, heat: int, drawing: Drawing) -> Iterator[Draw]:
    """The passes that draw the first `active` sub-quantizers at a temperature `heat`, in sixteenths, in order."""
    sent = [group for group in groups if group.start < active]
    for index, group in enumerate(sent):
        part = len(sent) - 1 or 1
        temperature = max(1, heat * (drawing.cold * (part - index) + 16 * index) // (16 * part))
        for coded in _chunks(range(group.start, min(group.stop, active)), drawing):
            for low, high in zip((0, *drawing.stages), drawing.stages):
                yield Draw(coded, low, high, temperature)


def _chunks(coded: range, drawing: Drawing) -> Iterator[range]:
    """A group in parts of about one size, each no larger than a pass may be."""
    start = coded.start
    for stop in sorted({min(max(drawing.coarse, coded.start), coded.stop), coded.stop} - {start}):
        parts = -(-(stop - start) // (drawing.few if start < drawing.coarse else drawing.many))
        edges = [start + (stop - start) * part // parts for part in range(parts + 1)]
        yield from (range(*edge) for edge in pairwise(edges))
        start = stop
