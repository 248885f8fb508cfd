"""Lossless coding of an alpha plane, as small as the tools at hand make it.

One byte names the form of what follows:

0  one byte: the value of every pixel
1  raw deflate (RFC 1951) of the rows, a byte a pixel
2  the same of the differences, modulo 256, to the pixel on the left (0 outside the picture)
3  the same of the differences, modulo 256, to the pixel above (0 outside the picture)
4  a VP8L bitstream, as in the chunk of that name of a lossless WebP file; its green channel is the alpha
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from pqmim.errors import DamagedFile
from pqmim.image.limits import pixel_limit

CONSTANT, ROWS, LEFT, ABOVE, VP8L = range(5)
WEBP_MAX_SIDE = 16383


def encode_alpha(alpha: np.ndarray) -> bytes:
    """Codes (H, W) uint8 in the shortest of the forms; a plane of one value takes 2 bytes."""
    if alpha.min() == alpha.max():
        return bytes([CONSTANT, alpha[0, 0]])
    forms = [
        bytes([ROWS]) + _deflate(alpha),
        bytes([LEFT]) + _deflate(np.diff(alpha, axis=1, prepend=np.uint8(0))),
        bytes([ABOVE]) + _deflate(np.diff(alpha, axis=0, prepend=np.uint8(0))),
    ]
    if max(alpha.shape) <= WEBP_MAX_SIDE:
        forms.append(bytes([VP8L]) + _vp8l(alpha))
    return min(forms, key=len)


def decode_alpha(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    """The alpha plane (H, W) uint8; raises DamagedFile where the data does not hold exactly that many pixels."""
    if len(data) < 2 or data[0] > VP8L:
        raise DamagedFile("the file is damaged: its alpha channel cannot be decoded")
    form, body = data[0], data[1:]
    if form == CONSTANT:
        if len(body) != 1:
            raise DamagedFile("the file is damaged: its alpha channel cannot be decoded")
        return np.full(shape, body[0], np.uint8)
    if form == VP8L:
        return _from_vp8l(body, shape)
    rows = _inflate(body, shape)
    if form == LEFT:
        return np.cumsum(rows, axis=1, dtype=np.uint8)
    if form == ABOVE:
        return np.cumsum(rows, axis=0, dtype=np.uint8)
    return rows


def _deflate(rows: np.ndarray) -> bytes:
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return compressor.compress(rows.tobytes()) + compressor.flush()


def _inflate(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    height, width = shape
    decompressor = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    try:
        rows = decompressor.decompress(data, max_length=height * width + 1)
    except zlib.error as error:
        raise DamagedFile("the file is damaged: its alpha channel cannot be decoded") from error
    if len(rows) != height * width or not decompressor.eof or decompressor.unused_data:
        raise DamagedFile("the file is damaged: its alpha channel is not of its size")
    return np.frombuffer(rows, np.uint8).reshape(shape)


def _vp8l(alpha: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(alpha).save(buffer, "WEBP", lossless=True, quality=100, method=4)
    file = buffer.getvalue()
    (size,) = struct.unpack_from("<I", file, 16)
    return file[20 : 20 + size]


def webp_file(bitstream: bytes) -> bytes:
    """The WebP file of one VP8L bitstream: a RIFF of one chunk, padded to an even length."""
    chunk = b"WEBPVP8L" + struct.pack("<I", len(bitstream)) + bitstream + b"\0" * (len(bitstream) % 2)
    return b"RIFF" + struct.pack("<I", len(chunk)) + chunk


def _from_vp8l(data: bytes, shape: tuple[int, int]) -> np.ndarray:
    # A VP8L bitstream opens with its signature 0x2f, then 14 bits each of width and height, less one: look at them
    # before anything is allocated for them.
    height, width = shape
    sizes = int.from_bytes(data[1:5], "little")
    if data[:1] != b"\x2f" or (sizes & 0x3FFF) + 1 != width or (sizes >> 14 & 0x3FFF) + 1 != height:
        raise DamagedFile("the file is damaged: its alpha channel is not of its size")
    try:
        with pixel_limit():
            image = Image.open(io.BytesIO(webp_file(data)), formats=["WEBP"])
            return np.array(image.getchannel("G"))
    except (OSError, SyntaxError, ValueError) as error:
        raise DamagedFile("the file is damaged: its alpha channel cannot be decoded") from error
