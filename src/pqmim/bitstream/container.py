"""The file around the payload of the range coder.

    bare:    header | payload                  or  header | payload | seal
    framed:  header | frame | payload | chunks | seal | proof

    frame:   2 * bytes of payload + more (varint) | if more: bytes of all chunks (varint) | head check (2 bytes)
    chunks:  tag (1 byte) | bytes of data (varint) | data, for each

The head check covers header and frame, so that a cut file, which has lost its end, is still known for what it is; and
the frame says where the file ends, so that nothing but a file that ends too early is called cut. The seal covers all
bytes before it, and shows damage before anything is decoded. The proof covers those bytes and then the decoded codes,
so it proves the decoder, too. Head check and seal are CRC-16/IBM-3740; the proof is the low half of the CRC-32 of zlib.

All lengths are compared with the bytes at hand before anything is read or made.
"""

from binascii import crc32, crc_hqx
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import BinaryIO

from pqmim.bitstream import varint
from pqmim.bitstream.header import LONGEST, Header
from pqmim.errors import DamagedFile, TooShort, UnsupportedFile

MOST_CHUNKS = 1 << 32
"""Bytes that all chunks together may take, less one."""

CHECKED_FROM = 100
"""Bytes from which `compress` to a size spends two on a check: at most 2 % of the file."""

_HEAD = LONGEST + 2 * varint.LONGEST + 2
_SEAL = 2
_PROOF = 2
_BLOCK = 1 << 20


class Tag(IntEnum):
    """Names of chunks. Readers skip an even tag that they do not know, and must not go on after an odd one."""

    ALPHA = 1
    EXIF = 2
    ICC = 4
    XMP = 6


@dataclass
class Container:
    """The parts of a file, as far as they are there.

    Attributes:
        header: the file's header.
        header_size: bytes that it takes.
        payload: bytes of the range coder; fewer than `payload_size` where the file was cut.
        chunks: data by tag, those that are whole; includes ignorable tags that `Tag` does not name.
        surplus: there are bytes after the file's end, which were passed over.
        broken: the chunks of a file whose seal does not match break the format; `chunks` are those before that.
        complete: the file is framed and nothing is missing. False for a bare file, which does not say where it ends:
            it may be whole or cut, and the range decoder is exhausted or not.
        payload_size: the length that the payload had when it was written; None if the file does not say.
        intact: whether the bytes match the file's own check of them, the seal. None where there is none: in a cut
            file, and in a bare one without a check. False for a bare file means that it is damaged or cut.
        proof: what a complete file says of its bytes and codes; None otherwise.
        crc: CRC-32 of the bytes that the proof covers; `verifies` runs it on over the codes.
    """

    header: Header
    header_size: int
    payload: bytes = b""
    chunks: dict[int, bytes] = field(default_factory=dict)
    surplus: bool = False
    broken: bool = False
    complete: bool = False
    payload_size: int | None = None
    intact: bool | None = None
    proof: int | None = None
    crc: int = 0

    def verify(self, codes: bytes) -> None:
        """Prove that the file is undamaged and that the codes decoded from it are those that were written.

        A bare file with a check proves its bytes alone.

        Args:
            codes: the decoded codes in the order of `docs/FORMAT.md`, one byte each; none of a flat picture.

        Raises:
            DamagedFile: they are not, or there is nothing to prove it by: the file is cut, or bare without a check.
        """
        if self.intact is None:
            cause = "was cut short" if self.header.framed else "is a bare stream"
            raise DamagedFile(f"the file {cause}, so it carries no check to verify")
        self.require_intact()
        if not self.verifies(codes):
            raise DamagedFile("the file is damaged: its codes do not match its check")

    def require_intact(self) -> None:
        """Raise DamagedFile where the file's own check of its bytes fails; nothing needs to be decoded for it."""
        if self.intact is False:
            how = "damaged" if self.header.framed else "damaged or cut"
            raise DamagedFile(f"the file is {how}: its bytes do not match its check")

    def verifies(self, codes: bytes) -> bool:
        """Whether nothing contradicts that the bytes, and these codes, are those that were written."""
        return self.intact is not False and (self.proof is None or _proof(codes, self.crc) == self.proof)


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
    if len(payload) > header.most_payload:
        raise ValueError(f"a payload of {len(payload)} bytes is more than such a picture can take")
    if not header.framed:
        if chunks:
            raise ValueError("a bare file cannot carry chunks")
        body = header.pack() + payload
        return body + _seal(body) if header.checked else body
    listed = b"".join(_packed_chunk(tag, data) for tag, data in sorted(chunks.items()))
    if len(listed) >= MOST_CHUNKS:
        raise ValueError(f"chunks of {len(listed)} bytes are more than a file can hold ({MOST_CHUNKS - 1})")
    head = header.pack() + varint.pack(2 * len(payload) + bool(chunks)) + (varint.pack(len(listed)) if chunks else b"")
    body = head + _seal(head) + payload + listed
    return body + _seal(body) + _proof(codes, crc32(body)).to_bytes(_PROOF, "big")


def overhead(header: Header) -> int:
    """Bytes that a bare file takes beside its payload."""
    return len(header.pack()) + _SEAL * header.checked


def read(data: bytes, *, partial: bool = False) -> Container:
    """The parts of a file, or of as much of one as there is.

    A framed file that ends early gives what is whole of it, with `complete` False; damage shows in
    `Container.verify`, and that of the bytes in `Container.intact`. `partial` passes over bytes after the end.

    Raises:
        UnsupportedFile: not a .pqm file, of a later version, or with a chunk that must be understood and is not.
        TooShort: the file ends inside its header or frame.
        DamagedFile: the header or the frame is damaged, or what an undamaged file says breaks the format.
    """
    header, position = Header.parse(data)
    if not header.framed:
        return _read_bare(data, header, position)
    size, listed, start = _read_frame(data, header, position)
    container = Container(header, position, data[start : start + size], payload_size=size)
    end = start + size + listed
    whole = end + _SEAL + _PROOF
    if len(data) > whole:
        if not partial:
            raise DamagedFile("the file is damaged: there are bytes after its end")
        container.surplus, data = True, data[:whole]
    if len(data) == whole:
        container.complete = True
        container.intact = _seal(data[:end]) == data[end : end + _SEAL]
        container.proof = int.from_bytes(data[-_PROOF:], "big")
        container.crc = crc32(data[:end])
    try:
        _read_chunks(data[start + size : end], listed, container.chunks)
    except (DamagedFile, UnsupportedFile):
        if container.intact or (container.intact is None and not partial):
            raise  # damaged bytes are told as such, and may be passed over for all before them
        container.broken = True
    return container


def read_stream(source: BinaryIO) -> bytes:
    """The bytes of one file from a stream that may have no end: no more than the file's own header asks for.

    What is no .pqm file is refused after its first bytes. Bytes after the end of a file are left where they are, but
    for one, by which `read` knows of them, and for those among the first few dozen, where a header may still be.

    Raises:
        As `read`, for the header and the frame.
    """
    data = _take(source, _HEAD)
    header, position = Header.parse(data)
    if header.framed:
        size, listed, start = _read_frame(data, header, position)
        most = start + size + listed + _SEAL + _PROOF
    else:
        most = overhead(header) + header.most_payload
    return data + _take(source, most + 1 - len(data))


def _take(source: BinaryIO, size: int) -> bytes:
    """As many bytes as a stream has, up to a size; memory grows with what has come, not with what is asked for."""
    parts: list[bytes] = []
    while size > 0 and (part := source.read(min(size, _BLOCK))):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _read_bare(data: bytes, header: Header, position: int) -> Container:
    container = Container(header, position)
    end = max(len(data) - _SEAL, position) if header.checked else len(data)
    container.payload = data[position:end]
    if len(container.payload) > header.most_payload:
        raise DamagedFile("the file is damaged: it is longer than such a picture can take")
    if header.checked:
        container.intact = _seal(data[:end]) == data[end:]
    return container


def _read_frame(data: bytes, header: Header, position: int) -> tuple[int, int, int]:
    """Bytes of payload, bytes of chunks, and where the payload starts, of a frame whose check matches."""
    listed = 0
    try:
        word, end = varint.parse(data, position)
        if word & 1:
            listed, end = varint.parse(data, end)
    except EOFError:
        raise TooShort("the file ends inside its header") from None
    if len(data) < end + _SEAL:
        raise TooShort("the file ends inside its header")
    if _seal(data[:end]) != data[end : end + _SEAL]:
        raise DamagedFile("the file is damaged: its header does not match its check")
    if word >> 1 > header.most_payload or listed >= MOST_CHUNKS or (word & 1 and not listed):
        raise DamagedFile("the file is damaged: it says that it is longer than such a picture can take")
    return word >> 1, listed, end + _SEAL


def _read_chunks(data: bytes, size: int, chunks: dict[int, bytes]) -> None:
    """Add the chunks that are whole in as much of their `size` bytes as there is; those before an error stay."""
    position = last = 0
    while position < len(data):
        tag = data[position]
        if tag <= last:
            raise DamagedFile("the file is damaged: its chunks are out of order")
        if tag % 2 and tag not in Tag.__members__.values():
            raise UnsupportedFile(f"the file needs chunk {tag}, which this pqmim does not know: upgrade it")
        try:
            length, position = varint.parse(data, position + 1)
        except EOFError:
            break
        if position + length > size:
            raise DamagedFile("the file is damaged: a chunk is longer than the file")
        if position + length > len(data):
            return
        chunks[tag] = data[position : position + length]
        position, last = position + length, tag
    if position < len(data) == size:
        raise DamagedFile("the file is damaged: it ends inside a chunk")


def _packed_chunk(tag: int, data: bytes) -> bytes:
    if not 1 <= tag <= 255:
        raise ValueError(f"chunk tag {tag} is not in 1..255")
    return bytes([tag]) + varint.pack(len(data)) + data


def _seal(data: bytes) -> bytes:
    return crc_hqx(data, 0xFFFF).to_bytes(_SEAL, "big")


def _proof(codes: bytes, crc: int) -> int:
    return crc32(codes, crc) & 0xFFFF
