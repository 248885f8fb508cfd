"""Pictures that must come back exactly: those of one colour, and those without colour."""

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def is_grey(rgb: Pixels) -> bool:
    """Whether every pixel of (H, W, 3) has equal red, green and blue."""
    red, green, blue = np.moveaxis(rgb, -1, 0)
    return bool((red == green).all() and (green == blue).all())


def pack_colour(rgb: Pixels) -> bytes | None:
    """The one colour of all pixels of (H, W, 3), a byte of grey or three of RGB; None if there are several."""
    first = rgb[0, 0]
    if not (rgb == first).all():
        return None
    return bytes(first[:1] if len(set(first.tolist())) == 1 else first)
