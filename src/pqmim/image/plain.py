"""Pictures that must come back exactly: those of one colour, and those without colour."""

import numpy as np
from numpy.typing import NDArray

from pqmim.errors import DamagedFile

Pixels = NDArray[np.uint8]


def is_grey(rgb: Pixels) -> bool:
    """Whether every pixel of (H, W, 3) has equal red, green and blue."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return bool((red == green).all() and (green == blue).all())


def greyed(rgb: Pixels) -> Pixels:
    """Each pixel of (H, W, 3) as the grey of its luma (ITU-R BT.601), rounded."""
    luma = np.rint(rgb @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    return np.repeat(luma[..., None], 3, axis=2)


def pack_colour(rgb: Pixels) -> bytes | None:
    """The one colour of all pixels of (H, W, 3), a byte of grey or three of RGB; None if there are several."""
    first = rgb[0, 0]
    if not (rgb == first).all():
        return None
    return bytes(first[:1] if len(set(first.tolist())) == 1 else first)


def unpack_colour(data: bytes, height: int, width: int) -> Pixels:
    """A picture (H, W, 3) of the colour that `pack_colour` gave.

    Raises:
        DamagedFile: the data are no colour.
    """
    if len(data) not in (1, 3):
        raise DamagedFile(f"the file is damaged: the colour of a flat picture takes 1 or 3 bytes, not {len(data)}")
    colour = np.frombuffer(data, np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colour, (height, width, 3)))
