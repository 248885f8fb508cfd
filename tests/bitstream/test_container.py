"""The container: what is written comes back, and what is missing or damaged is told apart."""

import os
import subprocess
import sys
from binascii import crc_hqx

import pytest

from pqmim.bitstream import Container, DamagedFile, Header, Tag, UnsupportedFile, read, write

FRAMED = Header(width=768, height=512, quality=50, weights=0x2A7)
BARE = Header(width=768, height=512, quality=50, weights=0x2A7, framed=False)
CODES = bytes(range(48))
PAYLOAD = bytes(range(100, 200))
CHUNKS = {Tag.ALPHA: b"transparent", Tag.EXIF: b"", 200: b"of a later version"}


def by_hand(tail: bytes, codes: bytes = CODES) -> bytes:
    """A framed file of these bytes after the header, with the check that belongs to them."""
    body = FRAMED.pack() + tail
    return body + crc_hqx(body + codes, 0xFFFF).to_bytes(2, "big")


def test_check_is_the_crc_of_the_catalogues():
    assert crc_hqx(b"123456789", 0xFFFF) == 0x29B1  # CRC-16/IBM-3740, also called CCITT-FALSE


def test_bytes_without_chunks():
    data = write(FRAMED, PAYLOAD, {}, CODES)
    assert data == by_hand(b"\xc8\x01" + PAYLOAD)
    assert len(data) == 8 + 2 + 100 + 2


def test_bytes_with_chunks():
    tail = b"\xc9\x01" + PAYLOAD + b"\x01\x0btransparent" + b"\x02\x00" + b"\xc8\x12of a later version" + b"\x00"
    assert write(FRAMED, PAYLOAD, CHUNKS, CODES) == by_hand(tail)


@pytest.mark.parametrize("chunks", [{}, CHUNKS, {Tag.ICC: bytes(70_000)}])
@pytest.mark.parametrize("payload", [b"", PAYLOAD, bytes(9000)])
def test_round_trip(payload, chunks):
    container = read(write(FRAMED, payload, chunks, CODES))
    assert container.header == FRAMED
    assert container.payload == payload and container.payload_size == len(payload)
    assert container.chunks == chunks
    assert container.complete
    container.verify(CODES)


def test_check_tells_wrong_codes():
    container = read(write(FRAMED, PAYLOAD, {}, CODES))
    for codes in (b"", CODES[:-1], CODES + b"\0", CODES[::-1]):
        with pytest.raises(DamagedFile, match="do not match"):
            container.verify(codes)


def test_bare_file_is_header_and_payload():
    data = write(BARE, PAYLOAD, {}, CODES)
    assert data == BARE.pack() + PAYLOAD
    assert read(data) == Container(BARE, 4, PAYLOAD)
    with pytest.raises(DamagedFile, match="bare"):
        read(data).verify(CODES)


def test_cut_anywhere_keeps_what_is_whole():
    data = write(FRAMED, PAYLOAD, CHUNKS, CODES)
    ends = {}  # of each chunk in the file
    for tag, chunk in ((Tag.ALPHA, b"transparent"), (Tag.EXIF, b"\x02\x00"), (200, b"of a later version")):
        ends[tag] = data.index(chunk) + len(chunk)
    for end in range(8, len(data)):
        container = read(data[:end])
        assert not container.complete
        assert container.payload == PAYLOAD[: max(end - 10, 0)]
        assert container.payload_size == (100 if end >= 10 else None)
        assert container.chunks == {tag: CHUNKS[tag] for tag in CHUNKS if ends[tag] <= end}
        with pytest.raises(DamagedFile, match="cut"):
            container.verify(CODES)


def test_bytes_after_the_end():
    for chunks in ({}, CHUNKS):
        with pytest.raises(DamagedFile, match="after its end"):
            read(write(FRAMED, PAYLOAD, chunks, CODES) + b"\0")


@pytest.mark.parametrize("known", [2, 4, 6, 254])
def test_even_tags_may_be_skipped(known):
    container = read(by_hand(b"\x01" + bytes([known]) + b"\x01x\x00"))
    container.verify(CODES)
    assert container.chunks == {known: b"x"}


@pytest.mark.parametrize("unknown", [3, 5, 255])
def test_odd_tags_must_be_known(unknown):
    with pytest.raises(UnsupportedFile, match=f"chunk {unknown}"):
        read(by_hand(b"\x01" + bytes([unknown]) + b"\x01x\x00"))


@pytest.mark.parametrize(
    "tail",
    [
        b"\x01\x00",  # chunks announced, none there
        b"\x01\x02\x01x\x02\x01y\x00",  # one tag twice
        b"\x01\x04\x01x\x02\x01y\x00",  # not in order
        b"\x80\x00",  # a length of two bytes that fits in one
        b"\xff\xff\xff\xff\xff\x01",  # a length of more than five bytes
        b"\x01\x02\x81\x00x\x00",  # the same for a chunk
        b"\x01\x02\xff\xff\xff\xff\xff\x7f",
    ],
)
def test_other_spellings_are_damage(tail):
    with pytest.raises(DamagedFile):
        read(by_hand(tail))


def test_a_claimed_length_costs_nothing():
    for tail in (b"\xfe\xff\xff\xff\x7f", b"\x01\x02\xff\xff\xff\xff\x7f"):  # 16 GiB of payload, 32 of a chunk
        container = read(by_hand(tail + b"few"))
        assert not container.complete
        assert len(container.payload) <= 5 and not container.chunks


@pytest.mark.parametrize("tag", [-1, 0, 256])
def test_impossible_tags_are_not_written(tag):
    with pytest.raises(ValueError):
        write(FRAMED, PAYLOAD, {tag: b""}, CODES)


def test_bare_file_takes_no_chunks():
    with pytest.raises(ValueError):
        write(BARE, PAYLOAD, {Tag.ICC: b"profile"}, CODES)


def test_room_is_light():
    """In a process of its own, since other tests load NumPy."""
    program = "import sys, pqmim.bitstream; print(sorted({'numpy', 'torch', 'PIL'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
