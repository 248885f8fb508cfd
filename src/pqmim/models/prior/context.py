"""What forms of the prior have in common."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import Codes, Positions
from pqmim.models.prior.spec import Layout


class Sized:
    """The sizes of a `coding.prior.Prior`, from the layout of its tensors."""

    layout: Layout

    @property
    def size(self) -> int:
        """M, the number of sub-quantizers."""
        return self.layout.size

    @property
    def codewords(self) -> int:
        """K, the number of codewords of each."""
        return self.layout.codewords

    @property
    def blocks(self) -> int:
        """The number of transformer blocks."""
        return self.layout.blocks


class Revealed:
    """Codes that became known and are not yet part of the embedding.

    The embedding of a token is a sum over its known codes, so a pass adds only what became known since the last one.

    Args:
        layout: of the prior.
        code_inputs: of `spec.code_inputs`.

    Attributes:
        nothing: no code was ever revealed.
    """

    def __init__(self, layout: Layout, code_inputs: Sequence[NDArray[np.int8]]) -> None:
        self.nothing = True
        self._layout, self._code_inputs = layout, code_inputs
        self._waiting: list[tuple[int, Positions, Codes]] = []

    def add(self, m: int, positions: Positions, codes: Codes) -> None:
        """Take codes (n,) of a sub-quantizer at positions (n,)."""
        if len(positions):
            self.nothing = False
            self._waiting.append((m, positions, codes))

    def take(self) -> Iterator[tuple[slice, Positions, NDArray[np.int8]]]:
        """Hand out all that waits.

        Yields:
            Entries of `Layout.order`, positions (n,), and the inputs (n, entries) of the embedding there.
        """
        waiting, self._waiting = self._waiting, []
        while waiting:
            first, positions, _ = waiting[0]
            count = 1  # of consecutive sub-quantizers at the same positions, which are one product
            while (
                count < len(waiting)
                and waiting[count][0] == first + count
                and np.array_equal(waiting[count][1], positions)
            ):
                count += 1
            inputs = [self._code_inputs[m][codes] for m, _, codes in waiting[:count]]
            yield self._layout.inputs(range(first, first + count)), positions, np.concatenate(inputs, 1)
            waiting = waiting[count:]


def one_token(nothing: bool, blocks: int | None, positions: Positions) -> bool:
    """Whether all positions of a pass get the same frequencies: no code is known, and no block runs."""
    return nothing and blocks == 0 and len(positions) > 1
