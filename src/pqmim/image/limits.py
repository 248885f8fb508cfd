"""How large a picture may be."""

import threading

from PIL import Image

from pqmim.errors import InvalidImage

MAX_SIDE = 65536
"""Pixels a side that the format can say."""

MAX_PIXELS = 1 << 26
"""Pixels of the largest picture that is read or decoded unless the caller allows more: 67 million, 200 MB of RGB."""


def check_size(width: int, height: int, name: str | None = None, max_pixels: int | None = None) -> None:
    """Refuse a picture before anything is allocated for it.

    Args:
        width: pixels.
        height: pixels.
        name: of the picture, for the error.
        max_pixels: that it may have in all; None is `MAX_PIXELS`.

    Raises:
        InvalidImage: the picture has no pixels, or more than it may have.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if min(width, height) < 1:
        raise InvalidImage(f"a picture without pixels ({width}x{height})", name)
    if max(width, height) > MAX_SIDE:
        raise InvalidImage(f"too large a picture ({width}x{height}): at most {MAX_SIDE} pixels a side", name)
    if width * height > most:
        raise InvalidImage(
            f"too large a picture ({width}x{height}): at most {most:,} pixels, unless max_pixels allows more", name
        )


class _NoLimitOfPillow:
    """Pillow's process-wide limit, which warns from 89 megapixels on, is lifted for as long as a thread reads.

    Our own limit, which is the caller's, is checked after a file is opened and before it is loaded.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.readers = 0
        self.saved: int | None = None

    def __enter__(self) -> None:
        with self.lock:
            if self.readers == 0:
                self.saved, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            self.readers += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:
                Image.MAX_IMAGE_PIXELS = self.saved


pixel_limit = _NoLimitOfPillow()
