"""What `drawing` needs of a release, at one quality."""

import numpy as np
from numpy.typing import NDArray

from pqmim.bitstream.header import Header
from pqmim.coding.grid import Grid
from pqmim.coding.prior import Prior
from pqmim.engine import Engine
from pqmim.results import STRIDE


class EngineStudio:
    """An engine as an `across_scales.Studio`.

    Args:
        engine: of the release.
        quality: that is drawn, 0 to 100.
    """

    def __init__(self, engine: Engine, quality: int) -> None:
        self._engine, self._quality = engine, quality

    @property
    def prior(self) -> Prior:
        """The release's prior."""
        return self._engine.reception.prior

    @property
    def active(self) -> int:
        """Sub-quantizers that the quality sends."""
        return self._engine.release.record.active[self._quality]

    @property
    def quality(self) -> int:
        """The quality, 0 to 100."""
        return self._quality

    def codes(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Codes (M, h * w) of a picture (H, W, 3), as the encoder chooses them without refinement."""
        return self._engine.encode(rgb, self._quality, 0)[0].codes

    def pixels(self, grid: Grid) -> NDArray[np.uint8]:
        """The faithful picture (16 h, 16 w, 3) of a complete grid."""
        header = Header(STRIDE * grid.width, STRIDE * grid.height, self._quality, self._engine.release.id)
        return np.asarray(self._engine.picture(grid, header, 0, means=False))
