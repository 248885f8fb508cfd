"""The codes of one picture, and which of them are known."""

import numpy as np

from pqmim.coding.prior import Codes, Positions


class Grid:
    """Codes of a picture of height x width positions, numbered in raster order.

    Args:
        size: M, the number of sub-quantizers.
        height: rows of positions.
        width: columns of positions.
        active: the number of sub-quantizers that are sent, the first ones.

    Attributes:
        codes: (M, height * width) uint8, 0 where unknown.
        known: (M, height * width) bool.
    """

    def __init__(self, size: int, height: int, width: int, active: int) -> None:
        self.height, self.width, self.active = height, width, active
        self.codes = np.zeros((size, height * width), np.uint8)
        self.known = np.zeros((size, height * width), np.bool_)

    @property
    def complete(self) -> bool:
        """Whether all codes that are sent are known."""
        return bool(self.known[: self.active].all())

    @property
    def share(self) -> float:
        """Share, 0 to 1, of the codes sent that are known; 1 where none is sent."""
        sent = self.known[: self.active]
        return float(sent.mean()) if sent.size else 1.0

    def reveal(self, m: int, positions: Positions, codes: Codes) -> None:
        """Make codes (n,) of sub-quantizer `m` known at positions (n,)."""
        self.codes[m, positions] = codes
        self.known[m, positions] = True
