"""What is fuzzed: functions of bytes that may refuse them with one of our errors, and nothing else.

A target also asserts what must hold of what it gives: sizes within the limits, lengths that add up, pictures of the
size that the header says.
"""

import io
import tempfile
from binascii import crc_hqx
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pqmim.bitstream import Header, describe, read, read_stream, varint, write
from pqmim.errors import PqmimError
from pqmim.image.alpha import decode_alpha
from pqmim.image.metadata import Metadata
from pqmim.image.picture import read_picture
from pqmim.integrations import packets, text

if TYPE_CHECKING:
    from pqmim.codec import Codec

MOST_PIXELS = 1 << 14
"""Of a picture that is decoded here: more would only take longer."""


def info(data: bytes) -> None:
    """What `pqmim info` says; its sizes add up."""
    facts = describe(data)
    parts = facts["header_bytes"] + facts["payload_bytes"] + facts["framing_bytes"] + sum(facts["chunks"].values())
    assert parts == facts["bytes"] == len(data)
    assert read_stream(io.BytesIO(data)) == data


def container(data: bytes) -> None:
    """A container behind checks that are made to hold, so that what lies behind them is reached."""
    found = read(sealed(data))
    header, codes = found.header, b"codes"
    assert len(found.payload) <= header.most_payload
    if found.complete or not header.framed:
        again = read(write(header, found.payload, found.chunks, codes))
        assert (again.header, again.payload, again.chunks) == (header, found.payload, found.chunks)
        again.verifies(codes)


def alpha(data: bytes) -> None:
    """An alpha channel, of a size that the first two bytes name."""
    if len(data) >= 2:
        shape = (1 + data[0] % 100, 1 + data[1] % 100)
        assert decode_alpha(data[2:], shape).shape == shape


def picture(data: bytes) -> None:
    """A picture in any of the formats that are opened, with its metadata."""
    for keep in (False, True):
        found = read_picture(data, max_pixels=MOST_PIXELS, keep_metadata=keep)
        height, width = found.rgb.shape[:2]
        assert 1 <= height * width <= MOST_PIXELS
        assert found.alpha is None or found.alpha.shape == (height, width)


def exif(data: bytes) -> None:
    """EXIF that is turned upright."""
    turned = Metadata(exif=data, xmp=data).upright()
    assert len(turned.exif) in (0, len(data))
    Metadata(exif=data).says_more_than_orientation()


def joined(data: bytes) -> None:
    """Packets of a file, as long each as a byte before it says."""
    joiner = packets.Joiner()
    while data:
        length = data[0]
        joiner.feed(data[1 : 1 + length])
        data = data[1 + length :]
    joiner.result()


def from_text(data: bytes) -> None:
    """A file as text."""
    text.from_text(data.decode("utf-8", "surrogateescape"))


def decompress(data: bytes) -> None:
    """A file, decoded with a tiny network: the picture has the size that its header says."""
    data = named(sealed(data))
    for whole in (data, data[: len(data) // 2]):
        header = read(whole).header
        image = codec().decompress(whole, partial=True, max_pixels=MOST_PIXELS)
        assert image.size == (header.width, header.height)


def feed(data: bytes) -> None:
    """A decoder that takes bytes as they come: at the end it shows what is shown of all at once."""
    from pqmim.decoder import Decoder

    data = named(sealed(data))
    decoder = Decoder(codec(), partial=True, max_pixels=MOST_PIXELS)
    for start in range(0, len(data), 7 + len(data) // 3):
        decoder.feed(data[start : start + 7 + len(data) // 3])
        decoder.image()
    image = decoder.image()
    if image is not None:
        assert image.tobytes() == codec().decompress(data, partial=True, max_pixels=MOST_PIXELS).tobytes()


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target for target in (info, container, alpha, picture, exif, joined, from_text, decompress, feed)
}


def attempt(target: Callable[[bytes], None], data: bytes) -> bool:
    """Whether a target takes the bytes; False where it refuses them as it may. Other exceptions pass."""
    try:
        target(data)
    except PqmimError as error:
        if "\n" in str(error):
            raise AssertionError("more than one line") from error
        return False
    return True


def sealed(data: bytes) -> bytes:
    """The bytes with checks that hold, where they begin with a header and a frame."""
    try:
        header, end = Header.parse(data)
        if not header.framed:
            return data
        word, end = varint.parse(data, end)
        listed, end = varint.parse(data, end) if word & 1 else (0, end)
    except (PqmimError, EOFError):
        return data
    head = data[:end] + crc_hqx(data[:end], 0xFFFF).to_bytes(2, "big")
    whole = end + 2 + (word >> 1) + listed
    body = (head + data[end + 2 :])[:whole]
    if len(body) < whole:
        return body
    return body + crc_hqx(body, 0xFFFF).to_bytes(2, "big") + (data[whole + 2 : whole + 4] + b"\0\0")[:2]


def named(data: bytes) -> bytes:
    """The same file with the id of the tiny release, checks and all."""
    found = read(data)
    header = Header(
        found.header.width,
        found.header.height,
        found.header.quality,
        codec().release.id,
        found.header.scale,
        found.header.framed,
        found.header.kind,
        found.header.checked,
    )
    whole = write(header, found.payload, found.chunks if header.framed else {}, b"")
    if header.framed and not found.complete and found.payload_size is not None:
        return whole[:-5]
    return whole


@cache
def codec() -> "Codec":
    """The codec of the tiny release."""
    from fuzz import tiny
    from pqmim.codec import Codec

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.safetensors"
        tiny.write(path)
        return Codec(path, prior="numpy")
