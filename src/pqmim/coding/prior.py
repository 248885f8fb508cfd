"""What coding asks of a prior: the boundary between integers to bytes and the model that predicts them.

A prior gives `Frequencies` of codes that are not known from those that are. What is known of one picture lives in a
`Context`. Each form of the prior (torch, NumPy, compiled) is one file that implements these protocols, and all forms
give the same integers.
"""

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.range_coder import RangeDecoder

UNIT = 16
"""Temperatures are in sixteenths: files are coded at `UNIT`, which leaves the frequencies as they are."""

Codes = NDArray[np.uint8]
Positions = NDArray[np.int64]
Integers = NDArray[np.int32]


class Frequencies(Protocol):
    """Frequencies of one sub-quantizer's codes at n positions: positive integers that add up to 2**16 at each."""

    def __len__(self) -> int:
        """The number n of positions."""
        ...

    def intervals(self, codes: Codes) -> tuple[Integers, Integers]:
        """Where the codes (n,) lie in the cumulative frequencies: start (n,) and size (n,), as the coder takes them."""
        ...

    def sizes(self, codes: Codes) -> Integers:
        """Frequencies (n, F) of candidates (n, F)."""
        ...

    def decode(self, decoder: RangeDecoder, start: int = 0) -> Codes:
        """Codes (k,) of the positions from `start` on; k < n - `start` where the bytes determine no more."""
        ...

    def cumulative(self) -> Integers:
        """Cumulative frequencies (n, K + 1): each row increases strictly from 0 to 65536."""
        ...


class Context(Protocol):
    """What a prior knows of one picture of h x w positions, numbered in raster order."""

    def reveal(self, m: int, positions: Positions, codes: Codes) -> None:
        """Make the codes (n,) of sub-quantizer `m` known at positions (n,). They were unknown before."""
        ...

    def frequencies(
        self, coded: range, positions: Positions, blocks: int | None = None, temperature: int = UNIT
    ) -> Iterator[tuple[int, slice, Frequencies]]:
        """Frequencies of each sub-quantizer in `coded`, given all that is known now.

        Args:
            coded: sub-quantizers, in the order in which they come.
            positions: (n,) of the picture, increasing.
            blocks: how many transformer blocks run, the first ones; None: all.
            temperature: what logits are divided by, in sixteenths.

        Yields:
            A sub-quantizer, a slice of `positions`, and the frequencies there; the slices come in order. What is known
            must not change before the iterator ends.
        """
        ...


class Prior(Protocol):
    """A conditional model of the codes of a picture."""

    @property
    def size(self) -> int:
        """M, the number of sub-quantizers."""
        ...

    @property
    def codewords(self) -> int:
        """K, the number of codewords of each, at most 256."""
        ...

    @property
    def blocks(self) -> int:
        """The number of transformer blocks."""
        ...

    def context(self, height: int, width: int, quality: int) -> Context:
        """A picture of height x width positions at a quality of 0 to 100, of which nothing is known."""
        ...


class CumulativeFrequencies:
    """`Frequencies` that are held as a table.

    Args:
        table: cumulative frequencies (n, K + 1) int32.
    """

    def __init__(self, table: Integers) -> None:
        self._table = table

    def __len__(self) -> int:
        return len(self._table)

    def intervals(self, codes: Codes) -> tuple[Integers, Integers]:
        """See `Frequencies.intervals`."""
        rows, columns = np.arange(len(codes)), codes.astype(np.intp)
        start = self._table[rows, columns]
        return start, self._table[rows, columns + 1] - start

    def sizes(self, codes: Codes) -> Integers:
        """See `Frequencies.sizes`."""
        columns = codes.astype(np.intp)
        size: Integers = np.take_along_axis(self._table, columns + 1, 1) - np.take_along_axis(self._table, columns, 1)
        return size

    def decode(self, decoder: RangeDecoder, start: int = 0) -> Codes:
        """See `Frequencies.decode`."""
        return decoder.decode(self._table[start:]).astype(np.uint8)

    def cumulative(self) -> Integers:
        """See `Frequencies.cumulative`."""
        return self._table
