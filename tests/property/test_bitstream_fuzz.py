"""The reader of files against truncation, flipped bits and noise: a clear error or a sound container, nothing else."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pqmim.bitstream import DamagedFile, Header, PqmimError, Tag, describe, read, write
from pqmim.bitstream.header import MAGIC

bounded = settings(max_examples=200, derandomize=True, deadline=None, database=None)

HEADER = Header(width=768, height=512, quality=50, weights=0x2A7)
CODES = bytes(range(48))
FILES = {
    "plain": write(HEADER, bytes(range(40)), {}, CODES),
    "chunks": write(HEADER, b"payload", {Tag.ALPHA: b"alpha", Tag.EXIF: b"exif", 8: b"new"}, CODES),
    "long": write(HEADER, bytes(300), {Tag.ICC: bytes(200)}, CODES),
    "empty": write(HEADER, b"", {}, CODES),
    "tiny": write(Header(width=1, height=1, quality=0, weights=0), b"\0", {}, CODES),
}


def assert_sound_or_refused(data: bytes) -> None:
    try:
        container = read(data)
    except PqmimError:
        return
    assert len(container.payload) + sum(map(len, container.chunks.values())) <= len(data)
    assert describe(data)["bytes"] == len(data)
    assert not container.complete or container.intact is False or not container.verifies(CODES)
    with pytest.raises(DamagedFile):
        container.verify(CODES)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_every_truncation(data):
    read(data).verify(CODES)
    for end in range(len(data)):
        assert_sound_or_refused(data[:end])


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_every_flipped_bit_is_seen_and_never_called_cut_or_bare(data):
    for i in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[i // 8] ^= 0x80 >> i % 8
        try:
            container = read(bytes(flipped))
        except PqmimError:
            continue
        assert container.header.framed and container.complete and not container.verifies(CODES)


@pytest.mark.parametrize("data", FILES.values(), ids=FILES)
def test_every_byte_lost_and_doubled(data):
    for i in range(len(data)):
        for changed in (data[:i] + data[i + 1 :], data[: i + 1] + data[i:]):
            if changed != data:
                assert_sound_or_refused(changed)


def test_noise_after_the_magic_and_after_a_header():
    noise = random.Random(0)
    for _ in range(3000):
        assert_sound_or_refused(MAGIC + noise.randbytes(noise.randrange(30)))
        assert_sound_or_refused(HEADER.pack() + noise.randbytes(noise.randrange(40)))


@bounded
@given(st.binary(max_size=60))
def test_any_bytes(data):
    assert_sound_or_refused(data)


@bounded
@given(
    st.builds(
        Header,
        width=st.integers(1, 65536),
        height=st.integers(1, 65536),
        quality=st.integers(0, 100),
        weights=st.integers(0, 1023),
    ),
    st.binary(max_size=300),
    st.dictionaries(st.integers(1, 127).map(lambda i: 2 * i) | st.just(Tag.ALPHA), st.binary(max_size=200), max_size=4),
    st.binary(max_size=50),
)
def test_round_trip(header, payload, chunks, codes):
    container = read(write(header, payload, chunks, codes))
    assert (container.header, container.payload, container.chunks) == (header, payload, chunks)
    container.verify(codes)
