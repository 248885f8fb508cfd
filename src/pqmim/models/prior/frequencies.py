"""Frequencies of codes, made of their masses only where they are asked for."""

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import Codes, Integers
from pqmim.coding.range_coder import PRECISION, RangeDecoder


class MassFrequencies:
    """`coding.prior.Frequencies` that divide as many masses as are looked at.

    Args:
        masses: running sums (n, K) int32 of the codewords' masses, of which one at least is not 0; at most 2^23.
    """

    def __init__(self, masses: Integers) -> None:
        self._masses = masses
        self._spare = (1 << PRECISION) - masses.shape[1]

    def __len__(self) -> int:
        return len(self._masses)

    def repeated(self, count: int) -> "MassFrequencies":
        """The frequencies of one position, at `count` positions."""
        return MassFrequencies(np.broadcast_to(self._masses, (count, self._masses.shape[1])))

    def intervals(self, codes: Codes) -> tuple[Integers, Integers]:
        """See `Frequencies.intervals`."""
        columns = codes[:, None].astype(np.intp)
        start = self._bounds(columns)
        return start[:, 0], (self._bounds(columns + 1) - start)[:, 0]

    def sizes(self, codes: Codes) -> Integers:
        """See `Frequencies.sizes`."""
        columns = codes.astype(np.intp)
        return self._bounds(columns + 1) - self._bounds(columns)

    def decode(self, decoder: RangeDecoder, start: int = 0) -> Codes:
        """See `Frequencies.decode`."""
        return decoder.decode(self._table(self._masses[start:])).astype(np.uint8)

    def cumulative(self) -> Integers:
        """See `Frequencies.cumulative`."""
        return self._table(self._masses)

    def _bounds(self, columns: NDArray[np.intp]) -> Integers:
        """Entries (n, F) of the cumulative frequencies."""
        masses = np.take_along_axis(self._masses, np.maximum(columns - 1, 0), 1)
        masses = np.where(columns > 0, masses, 0)
        bounds: Integers = (masses.astype(np.int64) * self._spare // self._masses[:, -1:] + columns).astype(np.int32)
        return bounds

    def _table(self, masses: Integers) -> Integers:
        # A quotient below 2^16 of integers below 2^39 and 2^23 lies 2^-23 or more below the next whole number, which
        # float64 tells apart.
        table = np.empty((len(masses), masses.shape[1] + 1), np.int32)
        table[:, 0] = 0
        shares = np.multiply(masses, float(self._spare))
        shares /= masses[:, -1:]
        np.floor(shares, out=shares)
        shares += np.arange(1, masses.shape[1] + 1)
        table[:, 1:] = shares
        return table
