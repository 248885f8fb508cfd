"""A picture as its bytes arrive."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pqmim.bitstream.container import read

if TYPE_CHECKING:
    from PIL import Image

    from pqmim.codec import Codec


def lengths(data: bytes, count: int) -> list[int]:
    """Bytes after which to look: all at last, and each time before about half as many after the header."""
    header = read(data).header_size
    return sorted({header + max(1, (len(data) - header) >> back) for back in range(count)})


def frames(codec: "Codec", data: bytes, count: int, **options: Any) -> "Iterator[tuple[int, Image.Image]]":
    """Lengths and the pictures that so many bytes give; ``options`` are those of ``Codec.decompress``."""
    for length in lengths(data, count):
        yield length, codec.decompress(data[:length], **options)
