"""Other codecs at equal bytes."""

import io
from typing import Any, NamedTuple

from PIL import Image, features

from pqmim.errors import PqmimError

NAMES = {"webp": "WEBP", "avif": "AVIF", "jpeg": "JPEG"}
OPTIONS: dict[str, dict[str, Any]] = {
    "webp": {"method": 4},
    "avif": {"speed": 8},
    "jpeg": {"optimize": True, "progressive": True},
}


class Rival(NamedTuple):
    """A picture as another codec has it."""

    data: bytes
    quality: int


def available() -> list[str]:
    """Names of the codecs that this Pillow has."""
    return [name for name in NAMES if name == "jpeg" or features.check(name)]


def at_size(image: Image.Image, name: str, size: int) -> Rival:
    """The best quality whose file takes at most `size` bytes; quality 0 where even that takes more.

    Args:
        image: RGB.
        name: one of `available()`.
        size: bytes.

    Raises:
        PqmimError: the codec cannot hold a picture of this size.
    """
    low, high = 0, 101  # the first fits or counts as it is, the second is beyond all qualities
    best = _encoded(image, name, 0)
    while high - low > 1:
        middle = (low + high) // 2
        tried = _encoded(image, name, middle)
        if len(tried.data) <= size:
            low, best = middle, tried
        else:
            high = middle
    return best


def _encoded(image: Image.Image, name: str, quality: int) -> Rival:
    buffer = io.BytesIO()
    try:
        image.save(buffer, NAMES[name], quality=quality, **OPTIONS[name])
    except (OSError, ValueError) as error:  # a side too long for it
        raise PqmimError(f"{name} cannot hold this picture: {error}") from error
    return Rival(buffer.getvalue(), quality)
