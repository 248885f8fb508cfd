"""How large a picture may be."""

import threading

from PIL import Image

from pqmim.errors import InvalidImage

MAX_SIDE = 65536
MAX_PIXELS = 1 << 30


def check_size(width: int, height: int, name: str | None = None) -> None:
    """Raises InvalidImage, naming the picture, where it has no pixels or more than a picture may have."""
    if min(width, height) < 1:
        raise InvalidImage(f"a picture without pixels ({width}x{height})", name)
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise InvalidImage(f"too large a picture ({width}x{height}): at most {MAX_SIDE} a side and 2^30 pixels", name)


class _PixelLimit:
    """Pillow's process-wide limit, which warns from 89 megapixels on, is ours for as long as a thread reads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.readers = 0
        self.saved: int | None = None

    def __enter__(self) -> None:
        with self.lock:
            if self.readers == 0:
                self.saved, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, MAX_PIXELS
            self.readers += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.readers -= 1
            if self.readers == 0:
                Image.MAX_IMAGE_PIXELS = self.saved


pixel_limit = _PixelLimit()
