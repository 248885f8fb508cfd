"""Integer frequency tables of the rivals, and the symbols that they code.

Tables are made once, when weights are released, and stored with them: what a machine's exponential rounds to decides
no table.  All here is NumPy; every table sums to 65536 with no frequency of zero, as the range coder wants.
"""

from dataclasses import dataclass

import numpy as np

from pqmim.coding.range_coder import PRECISION, RangeDecoder, RangeEncoder
from pqmim.errors import DamagedFile

LEAST_SCALE, MOST_SCALE, SCALES = 0.04, 64.0, 64  # at 0.04 a zero costs less than the finest frequency can say
ESCAPED = 2.0**-14  # probability of the values that a table leaves out
FURTHEST = 32767  # magnitude of an escaped value: 16 bits
_ENTRIES = 1 << 20  # of tables handed to the decoder at once, to bound memory
_BYTE = np.arange(257) << PRECISION - 8  # 256 values of equal frequency


def cumulative_frequencies(probability: np.ndarray) -> np.ndarray:
    """Cumulative frequencies (..., K + 1) int64, from 0 to 65536, of probabilities (..., K); K is less than 65536.

    Each symbol gets 1, and the rest is shared out by rounding the cumulative probability.
    """
    total = probability.cumsum(-1)
    count = total.shape[-1]
    upper = np.rint(total / total[..., -1:] * ((1 << PRECISION) - count)).astype(np.int64) + np.arange(1, count + 1)
    return np.concatenate([np.zeros_like(upper[..., :1]), upper], -1)


def encode_rows(encoder: RangeEncoder, symbols: np.ndarray, cumulative: np.ndarray, row: np.ndarray) -> None:
    """Code symbols (N,) by `cumulative` (R, K + 1), the table of each named by `row` (N,)."""
    starts = cumulative[row, symbols]
    encoder.encode(starts, cumulative[row, symbols + 1] - starts)


def decode_rows(decoder: RangeDecoder, cumulative: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Inverse of `encode_rows`: symbols (N,) int64.  Raises `DamagedFile` where the bytes do not determine them."""
    step = max(1, _ENTRIES // cumulative.shape[1])
    parts = [decoder.decode(cumulative[row[first : first + step]]) for first in range(0, len(row), step)]
    if decoder.exhausted:
        raise DamagedFile("the file is damaged: its bytes end before its symbols do")
    return np.concatenate([np.zeros(0, np.int64), *parts])


@dataclass
class ScaleTables:
    """Frequencies of a rounded logistic variable around 0, for a ladder of scales.

    `bounds` (S - 1,) float64 are the scales where one table ends and the next begins; table s covers the values
    -reach[s] to reach[s], and after them an escape.  An escaped value follows as two bytes of equal frequencies.
    """

    bounds: np.ndarray
    tables: list[np.ndarray]  # of cumulative frequencies, (2 reach + 3,) int64 each

    @classmethod
    def build(cls) -> "ScaleTables":
        """`SCALES` scales from `LEAST_SCALE` to `MOST_SCALE`, in equal ratios of 1.12: 0.001 bits of loss."""
        scales = np.geomspace(LEAST_SCALE, MOST_SCALE, SCALES)
        tables = []
        for scale in scales:
            reach = max(1, int(np.ceil(scale * -np.log(ESCAPED / 2) - 0.5)))
            edges = (np.arange(-reach, reach + 2) - 0.5) / scale
            inside = np.diff(1 / (1 + np.exp(-edges)))  # (2 reach + 1,)
            tables.append(cumulative_frequencies(np.append(inside, ESCAPED)))
        return cls(np.sqrt(scales[1:] * scales[:-1]), tables)

    def tensors(self) -> dict[str, np.ndarray]:
        """What a weights file stores: the bounds, the lengths of the tables, and the tables end to end."""
        lengths = np.array([len(table) for table in self.tables], np.int32)
        return {"bounds": self.bounds, "lengths": lengths, "tables": np.concatenate(self.tables).astype(np.int32)}

    @classmethod
    def of(cls, stored: dict[str, np.ndarray]) -> "ScaleTables":
        """Inverse of `tensors`."""
        ends = stored["lengths"].cumsum()
        return cls(stored["bounds"], np.split(stored["tables"].astype(np.int64), ends[:-1]))

    def encode(self, encoder: RangeEncoder, values: np.ndarray, scales: np.ndarray) -> None:
        """Code integers (N,), of at most `FURTHEST` in magnitude, with the table of each one's scale (N,).

        Table by table, and within one in the order given, the values first and then those that escaped it.
        """
        for table, where in self._classes(scales):
            reach, found = (len(table) - 3) // 2, values[where]
            escaped = np.abs(found) > reach
            symbols = np.where(escaped, 2 * reach + 1, found + reach)
            encode_rows(encoder, symbols, table[None], np.zeros_like(symbols))
            words = found[escaped].astype(">i2").view(np.uint8).astype(np.int64)
            encode_rows(encoder, words, _BYTE[None], np.zeros_like(words))

    def decode(self, decoder: RangeDecoder, scales: np.ndarray) -> np.ndarray:
        """Inverse of `encode`: integers (N,).  Raises `DamagedFile` where the bytes do not determine them."""
        values = np.empty(len(scales), np.int64)
        for table, where in self._classes(scales):
            reach = (len(table) - 3) // 2
            symbols = decode_rows(decoder, table[None], np.zeros_like(where))
            found, escaped = symbols - reach, symbols == 2 * reach + 1
            words = decode_rows(decoder, _BYTE[None], np.zeros(2 * escaped.sum(), np.int64))
            found[escaped] = words.astype(np.uint8).view(">i2")
            values[where] = found
        return values

    def _classes(self, scales: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Tables in use, each with the places (n,) of the scales (N,) that it serves."""
        chosen = np.searchsorted(self.bounds, scales)
        order = chosen.argsort(kind="stable")
        parts = np.split(order, np.searchsorted(chosen[order], np.arange(1, len(self.tables))))
        return [(table, where) for table, where in zip(self.tables, parts) if len(where)]
