"""Chance in integers: a seed draws the same codes on every machine."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pqmim.coding.prior import UNIT, Codes, Integers
from pqmim.coding.range_coder import PRECISION
from pqmim.errors import BadArgument

COMPLETING = 0.5
"""Temperature of what was not sent, where nobody says; coarse codes have half of it (see `coding.drawing`).

A compromise: where every other position is missing, 1 comes nearest in SqueezeNet distance, and where a file is cut, less.
"""


class Sampler:
    """Draws codes from cumulative frequencies.

    Args:
        seed: any whole number from 0.
        temperature: above 0 and at most 16, in steps of 1/16: 1 draws as often as the prior says, less keeps to what
            is likely.

    Raises:
        BadArgument: they are not that.
    """

    def __init__(self, seed: int = 0, temperature: float = 1.0) -> None:
        if not 0 <= seed < math.inf or seed != int(seed):
            raise BadArgument(f"a seed is a whole number from 0 on, not {seed}")
        if not 0 < temperature <= 16:
            raise BadArgument(f"a temperature is above 0 and at most 16, not {temperature}")
        self.heat = max(1, round(UNIT * temperature))
        self._source = np.random.Philox(key=int(seed) % 2**128)  # whose raw stream NumPy promises to keep

    def draw(self, table: Integers) -> Codes:
        """Codes (n,) from cumulative frequencies (n, K + 1).

        Each frequency counts 1 less than it is. That 1 lets a file hold any code, and would draw nonsense now and then.
        """
        codewords = table.shape[1] - 1
        likely = table[:, 1:] - np.arange(1, codewords + 1, dtype=table.dtype)
        uniform = self._uniform(len(table)) * ((1 << PRECISION) - codewords) >> PRECISION
        codes: Codes = (likely <= uniform[:, None]).sum(1).astype(np.uint8)
        return codes

    def sureness(self, sizes: Integers) -> NDArray[np.int64]:
        """Logarithms (n,) of frequencies (n,) to base 2, in sixteenths."""
        logarithms: NDArray[np.int64] = _log2()[sizes]
        return logarithms

    def noise(self, count: int, symbols: int, left: int, steps: int) -> NDArray[np.int64]:
        """Gumbel noise (count,) in sixteenths of a bit for sums over `symbols`; less with fewer steps `left`."""
        information = UNIT * PRECISION - _log2()[self._uniform(count) + 1]  # of a uniform number: exponential
        noise: NDArray[np.int64] = -_log2()[information.clip(1)] * symbols * left // steps
        return noise

    def _uniform(self, count: int) -> NDArray[np.int64]:
        uniform: NDArray[np.int64] = (self._source.random_raw(count) >> np.uint64(64 - PRECISION)).astype(np.int64)
        return uniform


@cache
def _log2() -> NDArray[np.int64]:
    """floor(16 log2 n) for n in 0..65536 (0 for 0), by integers: the bits of n**16."""
    return np.array([0, *((n**UNIT).bit_length() - 1 for n in range(1, (1 << PRECISION) + 1))], np.int64)
