"""Seeded Gaussian noise as a pure function of seed and position, so that strips, tiles and threads agree.

The generator is Philox 4x64 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", 2011), whose
raw stream NumPy promises to keep. Its counter is the position, its key is the seed: one evaluation gives the 256 bits
of one position, 16 for each channel. A table turns the upper 12 of them into a quantile of the normal distribution.
No torch: the NumPy form and the torch form of a look share these arrays.
"""

from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

CHANNELS = 16
"""Gaussian channels at each position, as many as 16-bit words in one block of the generator."""

_QUANTILES = 12  # bits: 4,096 quantiles, the largest 3.7 deviations out


def gaussian(seed: int, top: int, left: int, height: int, width: int) -> NDArray[np.float32]:
    """Noise of a rectangle of positions.

    Args:
        seed: a whole number from 0 on.
        top: the absolute row of the first position, from 0.
        left: the absolute column of the first position, from 0.
        height: rows.
        width: columns.

    Returns:
        (CHANNELS, height, width), each value a draw from the standard normal distribution that depends on the seed,
        the channel and the absolute position alone.

    Raises:
        ValueError: the seed or a position is negative.
    """
    if seed < 0 or top < 0 or left < 0:
        raise ValueError(f"seed {seed} and position ({top}, {left}) must not be negative")
    bits = np.empty((height, width, 4), np.uint64)
    for row, found in enumerate(bits):
        # NumPy counts once before it draws, so row 0, column -1 stands in front of the first position.
        counter = ((top + row + 1) << 64) + left - 1
        found[:] = np.random.Philox(key=seed % 2**128, counter=counter).random_raw(4 * width).reshape(width, 4)
    words = bits[..., None] >> np.arange(0, 64, 16, dtype=np.uint64) & np.uint64(0xFFFF)  # (h, w, 4, 4)
    index = (words.reshape(height, width, CHANNELS) >> np.uint64(16 - _QUANTILES)).astype(np.intp)
    return np.ascontiguousarray(_quantiles()[index].transpose(2, 0, 1))


@cache
def _quantiles() -> NDArray[np.float32]:
    """Quantiles (4096,) of the standard normal distribution at the middles of equal parts, of deviation 1."""
    normal, parts = NormalDist(), 1 << _QUANTILES
    found = np.array([normal.inv_cdf((i + 0.5) / parts) for i in range(parts)])
    scaled: NDArray[np.float32] = (found / found.std()).astype(np.float32)
    return scaled
