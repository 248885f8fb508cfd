"""How large a picture may be."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

from pqmim.errors import InvalidImage

MAX_SIDE = 65536
"""Pixels a side that the format can say."""

MAX_PIXELS = 1 << 26
"""Pixels of the largest picture that is read or decoded unless the caller allows more: 67 million, 200 MB of RGB."""

OPENED = MAX_SIDE * MAX_SIDE
"""Pixels up to which a file is opened, which allocates nothing for them, to see its size."""


def read_bounded(file: BinaryIO, name: str, max_pixels: int | None = None) -> bytes:
    """All bytes of an image file: at most 16 MiB and 16 a pixel of the largest picture, whatever the source is.

    Raises:
        InvalidImage: there are more.
    """
    most = 1 << 24 | 16 * (MAX_PIXELS if max_pixels is None else max_pixels)
    data = file.read(most + 1)
    if len(data) > most:
        raise InvalidImage(
            f"too large a file: more than {most:,} bytes, unless --max-pixels or max_pixels allows more", name
        )
    return data


def check_size(width: int, height: int, name: str | None = None, max_pixels: int | None = None, part: str = "") -> None:
    """Refuse a picture before anything is allocated for it.

    Args:
        width: pixels.
        height: pixels.
        name: of the picture, for the error.
        max_pixels: that it may have in all; None is `MAX_PIXELS`.
        part: words for the error, after the size: of what that is the limit, where it is not the whole file.

    Raises:
        InvalidImage: the picture has no pixels, or more than it may have.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    width, height = int(width), int(height)  # whole numbers of NumPy would wrap
    if min(width, height) < 1:
        raise InvalidImage(f"a picture without pixels ({width}x{height})", name)
    if max(width, height) > MAX_SIDE:
        raise InvalidImage(f"too large a picture ({width}x{height}): at most {MAX_SIDE} pixels a side", name)
    if width * height > most:
        large, limit = f"too large a picture ({width}x{height}){part}", f"at most {most:,} pixels"
        raise InvalidImage(f"{large}: {limit}, unless --max-pixels or max_pixels allows more", name)


_active: list[int] = []
_saved: int | None = None
_lock = threading.Lock()


@contextmanager
def pixel_limit(max_pixels: int = OPENED) -> Iterator[None]:
    """Pillow's process-wide limit, which warns from 89 megapixels on, is another for as long as a thread reads.

    A file is opened under a wide one, and loaded under the caller's own: pictures inside a file, such as those of an
    icon, may be larger than the file says. Where several threads read, the widest of their limits holds.

    Args:
        max_pixels: Pillow warns above that many, and refuses twice as many.
    """
    global _saved
    with _lock:
        if not _active:
            _saved = Image.MAX_IMAGE_PIXELS
        _active.append(max_pixels)
        Image.MAX_IMAGE_PIXELS = max(_active)
    try:
        yield
    finally:
        with _lock:
            _active.remove(max_pixels)
            Image.MAX_IMAGE_PIXELS = max(_active) if _active else _saved
