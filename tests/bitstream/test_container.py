"""The container: what is written comes back, and what is missing or damaged is told apart."""

import io
import os
import subprocess
import sys
from binascii import crc32, crc_hqx

import pytest

from pqmim.bitstream import (
    CHECKED_FROM,
    Container,
    DamagedFile,
    Header,
    Kind,
    Tag,
    TooShort,
    UnsupportedFile,
    container,
    overhead,
    read,
    read_stream,
    varint,
    write,
)

FRAMED = Header(width=768, height=512, quality=50, weights=0x2A7)
BARE = Header(width=768, height=512, quality=50, weights=0x2A7, framed=False)
CHECKED = Header(width=768, height=512, quality=50, weights=0x2A7, framed=False, checked=True)
CODES = bytes(range(48))
PAYLOAD = bytes(range(100, 200))
CHUNKS = {Tag.ALPHA: b"transparent", Tag.EXIF: b"", 200: b"of a later version"}
LISTED = b"\x01\x0btransparent" + b"\x02\x00" + b"\xc8\x12of a later version"


def crc(data: bytes) -> bytes:
    return crc_hqx(data, 0xFFFF).to_bytes(2, "big")


def by_hand(frame: bytes, rest: bytes = b"", codes: bytes = CODES) -> bytes:
    """A framed file of these bytes after the header, with the checks that belong to them."""
    head = FRAMED.pack() + frame
    body = head + crc(head) + rest
    return body + crc(body) + (crc32(body + codes) & 0xFFFF).to_bytes(2, "big")


def test_checks_are_those_of_the_catalogues():
    assert crc_hqx(b"123456789", 0xFFFF) == 0x29B1  # CRC-16/IBM-3740, also called CCITT-FALSE
    assert crc32(b"123456789") == 0xCBF43926  # CRC-32/ISO-HDLC


def test_bytes_without_chunks():
    data = write(FRAMED, PAYLOAD, {}, CODES)
    assert data == by_hand(b"\xc8\x01", PAYLOAD)
    assert len(data) == 6 + 2 + 2 + 100 + 4


def test_bytes_with_chunks():
    assert write(FRAMED, PAYLOAD, CHUNKS, CODES) == by_hand(b"\xc9\x01\x23", PAYLOAD + LISTED)


@pytest.mark.parametrize("chunks", [{}, CHUNKS, {Tag.ICC: bytes(70_000)}])
@pytest.mark.parametrize("payload", [b"", PAYLOAD, bytes(9000)])
def test_round_trip(payload, chunks):
    container = read(write(FRAMED, payload, chunks, CODES))
    assert container.header == FRAMED
    assert container.payload == payload and container.payload_size == len(payload)
    assert container.chunks == chunks
    assert container.complete and container.intact
    container.verify(CODES)


def test_proof_tells_wrong_codes():
    container = read(write(FRAMED, PAYLOAD, {}, CODES))
    for codes in (b"", CODES[:-1], CODES + b"\0", CODES[::-1]):
        assert not container.verifies(codes)
        with pytest.raises(DamagedFile, match="codes do not match"):
            container.verify(codes)


def test_seal_tells_damage_without_codes():
    data = bytearray(write(FRAMED, PAYLOAD, CHUNKS, CODES))
    data[60] ^= 4
    container = read(bytes(data))
    assert container.complete and container.intact is False and not container.verifies(CODES)
    with pytest.raises(DamagedFile, match="bytes do not match"):
        container.require_intact()
    with pytest.raises(DamagedFile, match="bytes do not match"):
        container.verify(CODES)


def test_a_damaged_chunk_list_does_not_hide_the_payload():
    data = bytearray(write(FRAMED, PAYLOAD, CHUNKS, CODES))
    data[11 + 100] = 3  # the first chunk's tag: unknown, and not to be ignored
    container = read(bytes(data))
    assert container.intact is False and container.payload == PAYLOAD and not container.chunks


def test_bare_file_is_header_and_payload():
    data = write(BARE, PAYLOAD, {}, CODES)
    assert data == BARE.pack() + PAYLOAD and overhead(BARE) == 4
    assert read(data) == Container(BARE, 4, PAYLOAD)
    with pytest.raises(DamagedFile, match="bare"):
        read(data).verify(CODES)


def test_checked_bare_file():
    data = write(CHECKED, PAYLOAD, {}, CODES)
    body = CHECKED.pack() + PAYLOAD
    assert data == body + crc(body) and overhead(CHECKED) == 6
    container = read(data)
    assert container == Container(CHECKED, 4, PAYLOAD, intact=True)
    container.verify(b"whatever: it proves bytes alone")
    for end in range(4, len(data)):
        cut = read(data[:end])
        assert cut.intact is False and PAYLOAD.startswith(cut.payload)
        with pytest.raises(DamagedFile, match="damaged or cut"):
            cut.verify(CODES)


def test_every_flipped_bit_of_a_checked_bare_file_shows():
    data = write(CHECKED, PAYLOAD, {}, CODES)
    for i in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[i // 8] ^= 0x80 >> i % 8
        try:
            assert read(bytes(flipped)).intact is False
        except (DamagedFile, UnsupportedFile):
            continue


def test_cut_anywhere_keeps_what_is_whole():
    data = write(FRAMED, PAYLOAD, CHUNKS, CODES)
    ends = {}  # of each chunk in the file
    for tag, chunk in ((Tag.ALPHA, b"transparent"), (Tag.EXIF, b"\x02\x00"), (200, b"of a later version")):
        ends[tag] = data.index(chunk) + len(chunk)
    for end in range(len(data)):
        if end < 11:
            with pytest.raises(TooShort):
                read(data[:end])
            continue
        container = read(data[:end])
        assert not container.complete and container.intact is None
        assert container.payload == PAYLOAD[: end - 11]
        assert container.payload_size == 100
        assert container.chunks == {tag: CHUNKS[tag] for tag in CHUNKS if ends[tag] <= end}
        assert container.verifies(CODES)
        with pytest.raises(DamagedFile, match="cut"):
            container.verify(CODES)


def test_bytes_after_the_end():
    for chunks in ({}, CHUNKS):
        with pytest.raises(DamagedFile, match="after its end"):
            read(write(FRAMED, PAYLOAD, chunks, CODES) + b"\0")


@pytest.mark.parametrize("known", [2, 4, 6, 254])
def test_even_tags_may_be_skipped(known):
    container = read(by_hand(b"\x01\x03", bytes([known]) + b"\x01x"))
    container.verify(CODES)
    assert container.chunks == {known: b"x"}


@pytest.mark.parametrize("unknown", [3, 5, 255])
def test_odd_tags_must_be_known(unknown):
    with pytest.raises(UnsupportedFile, match=f"chunk {unknown}"):
        read(by_hand(b"\x01\x03", bytes([unknown]) + b"\x01x"))


@pytest.mark.parametrize(
    ("frame", "rest"),
    [
        (b"\x01\x00", b""),  # chunks announced, none there
        (b"\x01\x06", b"\x02\x01x\x02\x01y"),  # one tag twice
        (b"\x01\x06", b"\x04\x01x\x02\x01y"),  # not in order
        (b"\x01\x03", b"\x00\x01x"),  # tag 0
        (b"\x01\x03", b"\x02\x02x"),  # longer than all chunks
        (b"\x01\x01", b"\x02"),  # ends before its length
        (b"\x01\x02", b"\x02\x80"),  # ends inside it
        (b"\x80\x00", b""),  # a length of two bytes that fits in one
        (b"\xff\xff\xff\xff\xff\x01", b""),  # a length of more than five bytes
        (b"\x01\x04", b"\x02\x81\x00x"),  # the same for a chunk
        (b"\xfe\xff\xff\xff\x7f", b"few"),  # 16 GiB of payload for 1,536 positions
        (b"\x01\xff\xff\xff\xff\x7f", b"few"),  # 32 GiB of chunks
        (b"\x01\x80\x80\x80\x80\x10", b"few"),  # 4 GiB of chunks: a byte less may be
    ],
)
def test_other_spellings_are_damage(frame, rest):
    with pytest.raises(DamagedFile):
        read(by_hand(frame, rest))


def test_a_damaged_head_is_never_called_cut():
    data = write(FRAMED, PAYLOAD, CHUNKS, CODES)
    for i in range(8 * 11):
        flipped = bytearray(data)
        flipped[i // 8] ^= 0x80 >> i % 8
        with pytest.raises((DamagedFile, UnsupportedFile)):
            read(bytes(flipped))


def test_a_claimed_length_costs_nothing():
    container = read(by_hand(b"\x01\xff\xff\xff\xff\x0f", b"\x02\xff\xff\xff\xef\x0ffew"))  # 4 GiB of a chunk
    assert not container.complete and not container.chunks


def test_more_chunks_than_a_file_can_hold_are_not_written(monkeypatch):
    monkeypatch.setattr(container, "MOST_CHUNKS", len(LISTED))
    with pytest.raises(ValueError, match=r"chunks of 35 bytes are more than a file can hold \(34\)"):
        write(FRAMED, PAYLOAD, CHUNKS, CODES)
    monkeypatch.setattr(container, "MOST_CHUNKS", len(LISTED) + 1)
    assert read(write(FRAMED, PAYLOAD, CHUNKS, CODES)).chunks == CHUNKS


@pytest.mark.parametrize("tag", [-1, 0, 256])
def test_impossible_tags_are_not_written(tag):
    with pytest.raises(ValueError, match="tag"):
        write(FRAMED, PAYLOAD, {tag: b""}, CODES)


def test_bare_file_takes_no_chunks():
    with pytest.raises(ValueError, match="chunks"):
        write(BARE, PAYLOAD, {Tag.ICC: b"profile"}, CODES)


@pytest.mark.parametrize("header", [Header(16, 16, 0, 0), Header(16, 16, 0, 0, framed=False)])
def test_a_payload_longer_than_any_is_neither_written_nor_read(header):
    most = write(header, bytes(header.most_payload), {}, CODES)
    assert len(read(most).payload) == header.most_payload
    with pytest.raises(ValueError, match="more than"):
        write(header, bytes(header.most_payload + 1), {}, CODES)
    with pytest.raises(DamagedFile):
        read(most + b"\0")


def test_a_flat_picture_is_its_colour():
    header = Header(4032, 3024, 0, 0, kind=Kind.FLAT)
    data = write(header, b"\x12\x34\x56", {}, b"")
    container = read(data)
    container.verify(b"")
    assert (container.header, container.payload, len(data)) == (header, b"\x12\x34\x56", 6 + 1 + 2 + 3 + 4)


class Endless:
    """A stream that goes on with zeros for ever, and counts what was asked of it."""

    def __init__(self, start: bytes) -> None:
        self.start, self.taken, self.most = io.BytesIO(start), 0, 0

    def read(self, size: int) -> bytes:
        self.most = max(self.most, size)
        part = self.start.read(size)
        part += bytes(size - len(part))
        self.taken += len(part)
        return part


def test_an_endless_stream_is_read_no_further_than_needed():
    whole = write(FRAMED, PAYLOAD, CHUNKS, CODES)
    for start, error, most in (
        (b"", UnsupportedFile, 10 + 2 * 5 + 2),  # the longest header and frame
        (whole, None, len(whole) + 1),
        (write(Header(16, 16, 0, 0, framed=False), b"abc", {}, b""), None, 10 + 64 + 512 + 1),
    ):
        stream = Endless(start)
        if error:
            with pytest.raises(error):
                read_stream(stream)
        else:
            with pytest.raises(DamagedFile, match="after its end|longer than"):
                read(read_stream(stream))
        assert stream.taken <= most


def test_the_longest_head_is_read_whole_and_what_it_claims_in_parts():
    header = Header(65535, 65535, 100, 1023)
    head = header.pack() + varint.pack(2 * (1 << 27) + 1) + varint.pack(1 << 28)
    head += crc(head)
    assert len(head) == 10 + 2 * 5 + 2
    assert read_stream(io.BytesIO(head + b"few")) == head + b"few"
    head = header.pack() + varint.pack(2 * 3_000_000)
    stream = Endless(head + crc(head))
    assert len(read_stream(stream)) == len(head) + 2 + 3_000_000 + 4 + 1
    assert stream.most == 1 << 20


def test_how_much_a_file_needs_before_a_check_is_cheap():
    assert CHECKED_FROM == 100  # two bytes of it are 2 %


@pytest.mark.parametrize("header", [FRAMED, BARE, CHECKED])
def test_a_stream_gives_what_the_file_holds(header):
    data = write(header, PAYLOAD, {}, CODES)
    assert read_stream(io.BytesIO(data)) == data
    assert read_stream(io.BytesIO(data[:60])) == data[:60]


def test_room_is_light():
    """In a process of its own, since other tests load NumPy."""
    program = "import sys, pqmim.bitstream; print(sorted({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
