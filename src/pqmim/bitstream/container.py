"""The file around the payload of the range coder.

    bare:    header | payload
    framed:  header | frame word | payload | chunks | check

The frame word says how long the payload is and whether chunks follow. The check is a CRC-16 over the whole file before
it and then over the decoded codes, so it proves the bytes and the decoder at once. Lengths are little-endian base 128
(LEB128); they are compared with the bytes at hand before anything is read or made.
"""

from binascii import crc_hqx
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from pqmim.bitstream.header import Header
from pqmim.errors import DamagedFile, UnsupportedFile

_MAX_LENGTH = 1 << 34
"""A frame word, one bit longer than a length, has at most five bytes of base 128."""


class Tag(IntEnum):
    """Names of chunks. Readers skip an even tag that they do not know, and must not go on after an odd one."""

    END = 0
    ALPHA = 1
    EXIF = 2
    ICC = 4


@dataclass
class Container:
    """The parts of a file, as far as they are there.

    Attributes:
        header: the file's header.
        header_size: bytes that it takes.
        payload: bytes of the range coder; fewer than `payload_size` where the file was cut.
        chunks: data by tag, those that are whole; includes ignorable tags that `Tag` does not name.
        complete: the file is framed and nothing is missing. False for a bare file, which does not say where it ends:
            it may be whole or cut, and the range decoder is exhausted or not.
        payload_size: the length that the payload had when it was written; None if the file does not say.
        check: CRC-16 that the file carries; None unless complete.
        crc: CRC-16 of the bytes before the check; `verify` runs it on over the codes.
    """

    header: Header
    header_size: int
    payload: bytes = b""
    chunks: dict[int, bytes] = field(default_factory=dict)
    complete: bool = False
    payload_size: int | None = None
    check: int | None = None
    crc: int | None = None

    def verify(self, codes: bytes) -> None:
        """Prove that the file is undamaged and that the codes decoded from it are those that were written.

        Args:
            codes: the decoded codes in the order of `docs/FORMAT.md`, one byte each.

        Raises:
            DamagedFile: they are not, or there is nothing to prove it by: the file is bare or cut.
        """
        if self.check is None:
            cause = "was cut short" if self.header.framed else "is a bare stream"
            raise DamagedFile(f"the file {cause}, so it carries no check to verify")
        if not self.verifies(codes):
            raise DamagedFile("the file is damaged: its codes do not match its check")

    def verifies(self, codes: bytes) -> bool:
        """Whether the check of a complete file matches its bytes and these codes."""
        return crc_hqx(codes, self.crc) == self.check


def write(header: Header, payload: bytes, chunks: Mapping[int, bytes], codes: bytes) -> bytes:
    """The bytes of a file.

    Args:
        header: whose `framed` says which of the two forms to write.
        payload: bytes of the range coder.
        chunks: data by tag in 1..255; empty for a bare file.
        codes: those that the payload decodes to, as `Container.verify` will get them; a bare file leaves them out.

    Raises:
        ValueError: a bare file with chunks, or a tag or a length out of range.
    """
    if not header.framed:
        if chunks:
            raise ValueError("a bare file cannot carry chunks")
        return header.pack() + payload
    parts = [header.pack(), _varint(2 * _length(payload) + bool(chunks)), payload]
    for tag, data in sorted(chunks.items()):
        if not 1 <= tag <= 255:
            raise ValueError(f"chunk tag {tag} is not in 1..255")
        parts += [bytes([tag]), _varint(_length(data)), data]
    if chunks:
        parts.append(bytes([Tag.END]))
    body = b"".join(parts)
    return body + crc_hqx(codes, crc_hqx(body, 0xFFFF)).to_bytes(2, "big")


def read(data: bytes) -> Container:
    """The parts of a file, or of as much of one as there is.

    A framed file that ends early gives what is whole of it, with `complete` False; damage shows in `Container.verify`.

    Raises:
        UnsupportedFile: not a .pqm file, of a later version, or with a chunk that must be understood and is not.
        DamagedFile: the file ends inside its header, or breaks the format.
    """
    header, position = Header.parse(data)
    container = Container(header, position)
    if not header.framed:
        container.payload = data[position:]
        return container
    reader = _Reader(data, position)
    try:
        _read_frame(reader, container)
    except EOFError:
        return container
    if reader.left:
        raise DamagedFile(f"the file is damaged: bytes after its end ({reader.left})")
    container.complete = True
    return container


def _read_frame(reader: "_Reader", container: Container) -> None:
    """Fill the container in the order of the file; EOFError where that ends early."""
    frame_word = reader.varint()
    container.payload_size = frame_word >> 1
    container.payload = reader.up_to(container.payload_size)
    if frame_word & 1:
        _read_chunks(reader, container.chunks)
    crc = crc_hqx(reader.passed, 0xFFFF)
    container.check = int.from_bytes(reader.take(2), "big")
    container.crc = crc


def _read_chunks(reader: "_Reader", chunks: dict[int, bytes]) -> None:
    last = 0
    while (tag := reader.take(1)[0]) != Tag.END or not chunks:
        if tag <= last:
            raise DamagedFile("the file is damaged: its chunks are out of order")
        if tag % 2 and tag not in Tag.__members__.values():
            raise UnsupportedFile(f"the file needs chunk {tag}, which this pqmim does not know: upgrade pqmim")
        chunks[tag] = reader.take(reader.varint())
        last = tag


def _length(data: bytes) -> int:
    if len(data) >= _MAX_LENGTH:
        raise ValueError(f"{len(data)} bytes are more than a file can hold ({_MAX_LENGTH - 1})")
    return len(data)


def _varint(value: int) -> bytes:
    """Base 128, lowest seven bits first, the high bit set on all bytes but the last."""
    groups = [value & 0x7F]
    while value := value >> 7:
        groups[-1] |= 0x80
        groups.append(value & 0x7F)
    return bytes(groups)


class _Reader:
    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    @property
    def left(self) -> int:
        return len(self._data) - self._position

    @property
    def passed(self) -> memoryview:
        return memoryview(self._data)[: self._position]

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise EOFError
        part = self._data[self._position : self._position + size]
        self._position += size
        return part

    def up_to(self, size: int) -> bytes:
        """What is left where that is less than `size`; the next `take` then finds the end."""
        return self.take(min(size, self.left))

    def varint(self) -> int:
        value = 0
        for shift in range(0, 35, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if shift and not byte:
                    break
                return value
        raise DamagedFile("the file is damaged: a length is not in its shortest form, or is absurd")
