"""How many operations the prior takes, by pass: a property of its sizes and of the schedule, not of a machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from pqmim.coding.schedule import Group, Pass, passes
from pqmim.models.prior import spec


@dataclass(frozen=True)
class Sizes:
    """What the cost of a prior depends on.

    Attributes:
        dimensions: of each sub-quantizer's codewords.
        codewords: K.
        width: d, the channels of a token.
        hidden: units of the gated layer.
        blocks: how many there are.
        rank: of the free term.
    """

    dimensions: tuple[int, ...]
    codewords: int
    width: int
    hidden: int
    blocks: int
    rank: int

    @classmethod
    def of(cls, tensors: spec.Tensors) -> "Sizes":
        """The sizes of a release's prior."""
        layout = spec.Layout(tensors)
        hidden = int(tensors["0.reduce.weight"].shape[1]) if layout.blocks else 0
        sizes = layout.codewords, layout.width, hidden, layout.blocks, layout.rank
        return cls(tuple(layout.dimensions), *sizes)


@dataclass(frozen=True)
class Cost:
    """Operations of a pass, two a multiply-add; what is worked out by these forms, no more.

    Attributes:
        embedding: of the codes that the pass before it settled.
        blocks: linear layers and convolutions.
        attention: scores and mixtures.
        heads: from hidden states to parameters.
        tables: from parameters to logits of all codewords.
    """

    embedding: int
    blocks: int
    attention: int
    heads: int
    tables: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.embedding + self.blocks + self.attention + self.heads + self.tables


def costs(sizes: Sizes, groups: Sequence[Group], active: int, height: int, width: int) -> list[tuple[Pass, Cost]]:
    """The passes of a file of height x width positions, and what each takes."""
    found: list[tuple[Pass, Cost]] = []
    fresh = 0
    for step in passes(groups, active):
        count = len(step.positions(height, width))
        if not count:
            continue
        dims = sizes.dimensions[step.sub_quantizers.start : step.sub_quantizers.stop]
        run = sizes.blocks if step.blocks is None else min(step.blocks, sizes.blocks)
        at = 1 if step.blocks == 0 and not found else count
        layers, attention = _body(sizes, run, height * width, count)
        heads = at * sizes.width * (2 * sum(dims) + sizes.rank * len(dims))
        tables = at * sizes.codewords * sum(2 * d + 1 + sizes.rank for d in dims)
        parts = fresh * sizes.width, layers, attention, heads, tables
        found.append((step, Cost(*(2 * part for part in parts))))
        fresh = count * sum(2 * d + 1 for d in dims)
    return found


def _body(sizes: Sizes, blocks: int, cells: int, count: int) -> tuple[int, int]:
    """Multiply-adds of layers and of attention in blocks, of which the last one serves `count` positions alone."""
    d, gate = sizes.width, 3 * sizes.width * sizes.hidden
    everywhere = 9 * d + 2 * d * d  # the convolution, keys and values
    asked = 2 * d * d + gate  # queries, what was found, the gate
    attention = 2 * spec.WINDOW**2 * d
    whole = max(0, blocks - 1)
    last = min(1, blocks)
    layers = whole * cells * (everywhere + asked) + last * (cells * everywhere + count * asked)
    return layers, attention * (whole * cells + last * count)
