"""PNG files of large pictures, several times as quickly as Pillow's default, and not much larger.

All rows are filtered by the row above, and deflated at the lowest level. What is large here was decoded from little, so
that it is smooth, and neither a choice of filters nor a longer search pays.
"""

import io
import struct
import zlib
from binascii import crc32
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

LARGE = 1 << 22
"""Pixels from which a picture is written this way."""

UP = 2  # the filter
ROWS = 64  # that are filtered at once, so that they stay in the cache
SIGNATURE = 8  # bytes before the first chunk


def encode_large(image: Image.Image, **options: Any) -> bytes:
    """The bytes of a PNG file of an RGB or RGBA image; `options` are those of Pillow's `save`, for metadata.

    Raises:
        As Pillow's `save` does over metadata that it cannot write.
    """
    buffer = io.BytesIO()
    Image.new(image.mode, (1, 1)).save(buffer, "PNG", **options)
    return b"".join(_with_pixels(buffer.getvalue(), image))


def _with_pixels(small: bytes, image: Image.Image) -> Iterator[bytes]:
    """The file of one pixel, with the size and the rows of another picture."""
    yield small[:SIGNATURE]
    place = SIGNATURE
    while place < len(small):
        size, name = struct.unpack_from(">I4s", small, place)
        end = place + 12 + size
        if name == b"IHDR":
            yield _chunk(name, struct.pack(">II", *image.size) + small[place + 16 : place + 8 + size])
        elif name == b"IDAT":
            yield from _rows(image)
        else:
            yield small[place:end]
        place = end


def _rows(image: Image.Image) -> Iterator[bytes]:
    """Chunks of deflated rows."""
    compressor = zlib.compressobj(1)
    above = np.zeros(image.width * len(image.getbands()), np.uint8)
    for top in range(0, image.height, ROWS):
        part = np.asarray(image.crop((0, top, image.width, min(top + ROWS, image.height))))
        rows = part.reshape(len(part), -1)
        filtered = np.empty((len(rows), 1 + rows.shape[1]), np.uint8)
        filtered[:, 0] = UP
        np.subtract(rows[0], above, out=filtered[0, 1:])
        np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
        above = rows[-1]
        if data := compressor.compress(filtered.data):
            yield _chunk(b"IDAT", data)
    yield _chunk(b"IDAT", compressor.flush())


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc32(data, crc32(name)))
