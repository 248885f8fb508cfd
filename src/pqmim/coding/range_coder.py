"""Range coder: symbols and their integer frequencies to the fewest bytes, and back from any prefix of them.

The code of a sequence is a number in [0, 1), written as bytes. The encoder narrows the interval [0, 1) symbol by
symbol; any number in what remains stands for the whole sequence. Integers only: `docs/FORMAT.md` states every step.

The interval is held as `low` and `range`, scaled by 2**16 whenever `range` falls below 2**32 (Schindler's range coder,
1999, with the 16-bit words and the lazy carry that arbitrary integers make simple):

    2**32 <= range < 2**48    so every symbol keeps at least 2**16 of it, which one shift restores;
    range * 65536 < 2**64     so the decoder, and an encoder that settles carries as it goes, fit 64-bit integers;
    a symbol [start, end) of 65536 takes [range * start >> 16, range * end >> 16): neighbours share their bounds, so
    nothing of the range is lost, every number is the code of some sequence, and rounding costs a symbol less than
    2**-16 of its width, 2.3e-5 bits.
"""

import struct
from bisect import bisect_right

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pqmim import native

PRECISION = 16
"""The frequencies of one symbol's table sum to 1 << PRECISION."""

_TOTAL = 1 << PRECISION
_BOTTOM = 1 << 32


class RangeEncoder:
    """Turns symbols, given as slices of their cumulative frequencies, into bytes.

    >>> encoder = RangeEncoder()
    >>> encoder.encode(starts=[0, 65000, 1], sizes=[32768, 536, 1])
    >>> encoder.finish().hex()
    '7ef4010c'
    """

    def __init__(self) -> None:
        self._low = 0
        self._range = _BOTTOM
        self._words: list[int] = []  # 17 bits each: the highest is a carry that `finish` hands on to the word before

    def encode(self, starts: ArrayLike, sizes: ArrayLike) -> None:
        """Append symbols.

        Args:
            starts: (N,) integers, the sum of the frequencies of the symbols before each.
            sizes: (N,) integers >= 1, the frequency of each; starts + sizes <= 65536.

        Raises:
            ValueError: the arrays are not of that form; nothing was appended.
        """
        starts, sizes = _integers(starts).astype(np.int64), _integers(sizes).astype(np.int64)
        if starts.ndim != 1 or starts.shape != sizes.shape:
            raise ValueError(f"starts {starts.shape} and sizes {sizes.shape} must be of one shape (N,)")
        if (starts < 0).any() or (sizes < 1).any() or (starts > _TOTAL - sizes).any():
            raise ValueError(f"a symbol lies outside 0 <= start < start + size <= {_TOTAL}")

        library = native.library()
        if library is not None:
            self._low, self._range, found = library.encode(self._low, self._range, starts, sizes)
            self._words += found
            return
        low, range_, words = self._low, self._range, self._words
        for start, end in zip(starts.tolist(), (starts + sizes).tolist()):
            start = range_ * start >> 16
            low += start
            range_ = (range_ * end >> 16) - start
            if range_ < 0x1_0000_0000:
                words.append(low >> 32)
                low = (low & 0xFFFF_FFFF) << 16
                range_ <<= 16
        self._low, self._range = low, range_

    def finish(self) -> bytes:
        """The fewest bytes of which every continuation, the empty one included, decodes to the symbols so far.

        Just over 9 bits above the ideal at worst, 0.6 bytes on average. Changes nothing: more symbols may follow, and
        a later call includes them.
        """
        for missing in reversed(range(6)):  # a range below 2**48 always leaves at least one of low's six bytes
            low = -(-self._low >> 8 * missing) << 8 * missing
            if low + (1 << 8 * missing) <= self._low + self._range:
                break
        words = [*self._words, low >> 32, low >> 16 & 0xFFFF, low & 0xFFFF]
        for i in range(len(words) - 1, 0, -1):
            words[i - 1] += words[i] >> 16
            words[i] &= 0xFFFF
        data = struct.pack(f">{len(words)}H", *words)
        return data[2 : len(data) - missing]  # the first word is always 0: range began 16 bits below its bound


class RangeDecoder:
    """Finds the symbols again, as many as the bytes determine.

    What follows the last byte is unknown. A symbol is determined when every continuation of the bytes gives the same
    one; decoding stops at the first that is not, so a prefix of the bytes gives a prefix of the symbols. Any bytes at
    all decode to some symbols: damage must be found by other means.

    >>> decoder = RangeDecoder(bytes.fromhex("7e"))
    >>> table = [[0, 32768, 65000, 65536]] * 2
    >>> decoder.decode(table), decoder.exhausted
    (array([0]), True)
    >>> decoder.feed(bytes.fromhex("f4010c"))
    >>> decoder.decode(table[1:])
    array([2])

    Attributes:
        data: the bytes so far.
        state: (5,) uint64, for whoever decodes in place of this class: `offset` of the lowest continuation, all zero
            bits, above the low end of the interval; `range`, the width of the interval; `slack` from that continuation
            to the highest, all one bits, 0 until the data ends; `position`, bytes taken, unknown ones included; and
            `exhausted`, 0 or 1.
    """

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytes(data)
        first = int.from_bytes(self.data[:4].ljust(4, b"\0"), "big")
        unknown = (1 << 8 * (4 - len(self.data[:4]))) - 1
        self.state: NDArray[np.uint64] = np.array([first, _BOTTOM, unknown, 4, 0], np.uint64)

    @property
    def exhausted(self) -> bool:
        """Whether a symbol could not be determined: no call returns any before `feed`."""
        return bool(self.state[4])

    def feed(self, data: bytes) -> None:
        """Append bytes, and go on at the first symbol that was not determined."""
        offset, range_, slack, position, _ = self.state.tolist()
        for missing, byte in zip(range(position - len(self.data) - 1, -1, -1), data):
            offset += byte << 8 * missing
            slack -= 0xFF << 8 * missing
        self.data += data
        self.state[:] = offset, range_, slack, position, 0

    def decode(self, cumulative: ArrayLike) -> NDArray[np.int64]:
        """The next symbols.

        Args:
            cumulative: (N, K + 1) integers, one strictly increasing row from 0 to 65536 for each symbol.

        Returns:
            (n,) int64 in 0..K-1, n <= N; n < N exactly when the coder is `exhausted`.

        Raises:
            ValueError: the tables are not of that form; nothing was decoded.
        """
        table = _integers(cumulative)
        if table.ndim != 2 or table.shape[1] < 2:
            raise ValueError(f"cumulative frequencies must be of shape (N, K + 1), not {table.shape}")
        if (table[:, 0] != 0).any() or (table[:, -1] != _TOTAL).any() or (table[:, 1:] <= table[:, :-1]).any():
            raise ValueError(f"each row of cumulative frequencies must increase strictly from 0 to {_TOTAL}")
        if self.exhausted:
            return np.empty(0, np.int64)
        library = native.library()
        if library is not None:
            return library.decode_tables(self.state, self.data, table)
        return self._search(table)

    def _search(self, table: NDArray[np.integer]) -> NDArray[np.int64]:
        """What `decode` returns, without a library."""
        # One flat view for all tables: a search in it touches about log2 K numbers and copies none.
        bounds = np.ascontiguousarray(table, np.uint32).reshape(-1).data
        k = table.shape[1] - 1
        offset, range_, slack, position, exhausted = self.state.tolist()
        symbols: list[int] = []
        for first in range(1, len(bounds), k + 1):
            end = bisect_right(bounds, ((offset + 1 << 16) - 1) // range_, first, first + k - 1)
            start = range_ * bounds[end - 1] >> 16
            size = (range_ * bounds[end] >> 16) - start
            if slack and offset - start + slack >= size:
                exhausted = 1
                break
            symbols.append(end - first)
            offset -= start
            range_ = size
            if range_ < 0x1_0000_0000:
                known = self.data[position : position + 2]
                offset = offset << 16 | int.from_bytes(known, "big") << 8 * (2 - len(known))
                slack = slack << 16 | 0xFFFF >> 8 * len(known)
                position += 2
                range_ <<= 16
        self.state[:] = offset, range_, slack, position, exhausted
        return np.array(symbols, np.int64)


def _integers(values: ArrayLike) -> NDArray[np.integer]:
    array = np.asarray(values)
    if array.size and array.dtype.kind not in "iu":
        raise ValueError(f"frequencies must be integers, not {array.dtype}")
    return array
