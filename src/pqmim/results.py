"""What the codec gives back: frozen values that carry their notes.

A note is one line about what could not be kept, found or verified. Values are made by `Codec.encode`, `Codec.receive`
and `Codec.render`; several threads may make and read them at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pqmim.bitstream.header import Header, Kind
from pqmim.errors import DamagedFile

if TYPE_CHECKING:
    from PIL import Image

STRIDE = 16  # pixels that a position spans on each side
UNKNOWN_COLOUR = b"\x80"  # of a flat picture whose colour has not come


@dataclass(frozen=True)
class Encoded:
    """A picture as a .pqm file.

    Attributes:
        data: the bytes of the file.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        quality: the quality that the header names, 0 to 100, at the scale of coding.
        scale: the picture was coded at 1/2**scale of its size.
        notes: what of the picture the file does not keep, one line each.
        trials: how often the picture was coded until its size was met.
    """

    data: bytes
    width: int
    height: int
    quality: int
    scale: int = 0
    notes: tuple[str, ...] = ()
    trials: int = 1

    @property
    def bpp(self) -> float:
        """Bits of the whole file for each pixel of the picture."""
        return 8 * len(self.data) / (self.width * self.height)


@dataclass(frozen=True)
class Received:
    """What the bytes of a file determine.

    Attributes:
        header: the file's header.
        codes: (M, h * w) uint8, positions in raster order; 0 where a code is unknown.
        known: (M, h * w) bool, whether each code is known.
        active: the first `active` sub-quantizers are those that the file's quality sends.
        chunks: data beside the codes, by tag; those that arrived whole.
        verified: the check of a whole file matches its bytes and its codes.
        notes: what was not found in the file, one line each.
        size: bytes at hand, which bound what is spent on completing the rest.
        colour: of a flat picture, which has no codes: a byte of grey, or three of red, green and blue; empty where it has
            not come.
    """

    header: Header
    codes: NDArray[np.uint8]
    known: NDArray[np.bool_]
    active: int
    chunks: Mapping[int, bytes] = field(default_factory=dict)
    verified: bool = False
    notes: tuple[str, ...] = ()
    size: int = 0
    colour: bytes = b""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of positions; one stands for 16 x 16 pixels at the scale of coding."""
        width, height = self.header.coded_size
        return -(-height // STRIDE), -(-width // STRIDE)

    @property
    def complete(self) -> bool:
        """Whether every code that the quality sends is known, or the colour of a flat picture."""
        return bool(self.known[: self.active].all()) and not self._colourless

    @property
    def share(self) -> float:
        """Share, 0 to 1, of the codes that the quality sends which are known."""
        return float(self.known[: self.active].mean()) if self.active else float(not self._colourless)

    @property
    def unsent(self) -> NDArray[np.float32]:
        """Share (H, W), 0 to 1, of each pixel's codes that is not known."""
        height, width, side = self.header.height, self.header.width, STRIDE << self.header.scale
        if not self.active:
            return np.full((height, width), self._colourless, np.float32)
        share: NDArray[np.float32] = (1 - self.known[: self.active].mean(0, dtype=np.float32)).reshape(self.shape)
        pixels: NDArray[np.float32] = share.repeat(side, 0).repeat(side, 1)
        return pixels[:height, :width]

    @property
    def rgb(self) -> tuple[int, int, int]:
        """Red, green and blue of a flat picture; grey where its colour has not come.

        Raises:
            DamagedFile: its colour does not take 1 or 3 bytes.
        """
        colour = self.colour or UNKNOWN_COLOUR
        if len(colour) not in (1, 3):
            raise DamagedFile(
                f"the file is damaged: the colour of a flat picture takes 1 or 3 bytes, not {len(colour)}"
            )
        red, green, blue = colour * (3 // len(colour))
        return red, green, blue

    @property
    def _colourless(self) -> bool:
        """Whether it is a flat picture whose colour has not come."""
        return self.header.kind == Kind.FLAT and not self.colour

    def touched(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Positions (h, w) of which a pixel is in a mask (H, W)."""
        side = STRIDE << self.header.scale
        padded = np.pad(mask, ((0, -mask.shape[0] % side), (0, -mask.shape[1] % side)))
        rows, columns = (length // side for length in padded.shape)
        found: NDArray[np.bool_] = np.logical_or.reduce(padded.reshape(rows, side, columns, side), axis=(1, 3))
        return found

    def without(self, positions: NDArray[np.bool_]) -> Received:
        """The same with all codes at `positions` (h * w,) bool unknown."""
        codes = np.where(positions, np.uint8(0), self.codes)
        return replace(self, codes=codes, known=self.known & ~positions, verified=False)


@dataclass(frozen=True)
class Rendered:
    """A decoded picture.

    Attributes:
        image: mode RGB, or RGBA where the file carries alpha.
        invented: (H, W) float32, 0 to 1: the share of each pixel's codes that was not sent but completed or drawn, or,
            where that is more, how far the look departs from the faithful picture and from that of another seed, of 32
            in 255; None where it was not asked for.
        notes: those of what was received, and how the rest was completed.
    """

    image: Image.Image
    invented: NDArray[np.float32] | None = None
    notes: tuple[str, ...] = ()
