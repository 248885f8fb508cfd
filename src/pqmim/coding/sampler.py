"""Chance in integers: a seed draws the same codes on every machine."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from pqmim.models.prior.integer import PRECISION

UNIT = 16  # logarithms and temperatures are in sixteenths
COMPLETING = 0.25  # temperature of what was not sent: nearest, on held-back photos, in SqueezeNet distance


class Sampler:
    """Draws codes from cumulative frequencies.

    ``seed`` is any integer from 0; ``temperature`` above 0, in steps of 1/16: 1 draws as often as the prior says, less
    keeps to what is likely.  Raises ``ValueError`` where they are not that.
    """

    def __init__(self, seed: int = 0, temperature: float = 1.0):
        if seed < 0 or seed != int(seed):
            raise ValueError(f"a seed is a whole number from 0 on, not {seed}")
        if not 0 < temperature <= 16:
            raise ValueError(f"a temperature is above 0 and at most 16, not {temperature}")
        self.heat = max(1, round(UNIT * temperature))
        self._source = np.random.Philox(key=int(seed) % 2**128)  # whose raw stream NumPy promises to keep

    def draw(self, table: Tensor) -> Tensor:
        """Codes (N,) int64 from cumulative frequencies (N, K + 1).

        Less the 1 that each frequency has so that the file can say anything: it would draw nonsense now and then.
        """
        codewords = table.shape[1] - 1
        likely = table[:, 1:] - torch.arange(1, codewords + 1, device=table.device, dtype=table.dtype)
        uniform = self._uniform(len(table)) * ((1 << PRECISION) - codewords) >> PRECISION
        return torch.searchsorted(likely, torch.from_numpy(uniform).to(likely)[:, None], right=True)[:, 0]

    def sureness(self, table: Tensor, codes: Tensor) -> np.ndarray:
        """Log2-probabilities (N,) of drawn codes (N,), up to a constant: int64 in sixteenths."""
        return _log2()[table.diff().gather(1, codes[:, None])[:, 0].cpu().numpy()]

    def noise(self, count: int, symbols: int, left: int, steps: int) -> np.ndarray:
        """Gumbel noise (count,) in sixteenths of a bit for sums over ``symbols``; less with fewer steps ``left``."""
        information = UNIT * PRECISION - _log2()[self._uniform(count) + 1]  # of a uniform number: exponential
        return -_log2()[information.clip(1)] * symbols * left // steps

    def _uniform(self, count: int) -> np.ndarray:
        return (self._source.random_raw(count) >> np.uint64(64 - PRECISION)).astype(np.int64)


@cache
def _log2() -> np.ndarray:
    """floor(16 log2 n) for n in 0..65536 (0 for 0), by integers: the bits of n**16."""
    return np.array([0, *((n**UNIT).bit_length() - 1 for n in range(1, (1 << PRECISION) + 1))], np.int64)
