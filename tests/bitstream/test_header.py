"""The header's bits, against values worked out by hand from docs/FORMAT.md."""

import pytest

from pqmim.bitstream.header import COMMON_SIZES, FIELDS, Header
from pqmim.errors import DamagedFile, UnsupportedFile


def bits(text: str) -> bytes:
    digits = text.replace(" ", "")
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


MAGIC = "11010000 00010001"
# version 1, framed, scale 0, weights 0x2a7, quality 50, then class 9 and 767 - 512, class 8 and 511 - 256
KODAK = bits(f"{MAGIC} 001 1 00 1010100111 0110010 1001 011111111 1000 11111111")


def test_golden_header_of_a_768x512_picture():
    header = Header(width=768, height=512, quality=50, weights=0x2A7)
    assert KODAK.hex() == "d01132a7652ff8ff"
    assert header.pack() == KODAK
    assert Header.parse(KODAK + b"payload") == (header, 8)


@pytest.mark.parametrize(
    ("side", "code"),
    [
        (1, "0000 0"),
        (2, "0000 1"),
        (3, "0001 0"),
        (4, "0001 1"),
        (5, "0010 00"),
        (256, "0111 1111111"),
        (257, "1000 00000000"),
        (65536, "1111 111111111111111"),
    ],
)
def test_sides(side, code):
    packed = Header(width=side, height=1, quality=0, weights=0).pack()
    start = f"{MAGIC} 001 1 00 0000000000 0000000 {code} 0000 0".replace(" ", "")
    assert packed == bits(start + "0" * (-len(start) % 8))


def test_golden_short_header():
    header = Header(width=768, height=512, quality=50, weights=0x2A7, framed=False)
    assert header.pack() == bits("11010001 00 1010100111 0110010 1 0110") == bytes.fromhex("d12a7656")
    assert Header.parse(header.pack() + b"payload") == (header, 4)


def test_bare_files_of_early_writers_have_the_long_header():
    early = KODAK[:2] + bytes([KODAK[2] & 0xEF]) + KODAK[3:]  # framed = 0
    header, size = Header.parse(early)
    assert (header.framed, header.width, header.height, size) == (False, 768, 512, 8)


@pytest.mark.parametrize("size", COMMON_SIZES)
def test_common_sizes_take_four_bytes(size):
    header = Header(*size, quality=100, weights=1023, scale=3, framed=False)
    assert len(header.pack()) == 4
    assert Header.parse(header.pack()) == (header, 4)


def test_a_common_size_has_one_spelling():
    spelled_out = bits("11010001 00 0000000000 0000000 0 0111 1111111 0111 1111111 000000")
    with pytest.raises(DamagedFile, match="shortest"):
        Header.parse(spelled_out)


@pytest.mark.parametrize(
    ("width", "height", "scale", "coded"),
    [(768, 512, 0, (768, 512)), (768, 511, 1, (384, 256)), (5, 3, 2, (2, 1)), (1, 1, 3, (1, 1))],
)
def test_coded_sizes_are_rounded_up(width, height, scale, coded):
    assert Header(width, height, quality=0, weights=0, scale=scale).coded_size == coded


def test_every_side_comes_back():
    for side in range(1, 65537):
        framed, scale = side % 2 == 0, side % 4
        header = Header(side, 65537 - side, quality=side % 101, weights=side % 1024, scale=scale, framed=framed)
        packed = header.pack()
        assert Header.parse(packed) == (header, len(packed))
        assert (7 if framed else 6) <= len(packed) <= (10 if framed else 9)


@pytest.mark.parametrize("end", range(len(KODAK)))
def test_headers_that_end_early(end):
    with pytest.raises(DamagedFile):
        Header.parse(KODAK[:end])
    with pytest.raises(DamagedFile):
        Header.parse(Header(100, 70, quality=1, weights=1, framed=False).pack()[: min(end, 5)])


@pytest.mark.parametrize("data", [b"P", b"\xd0Q", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"no picture at all"])
def test_other_files(data):
    with pytest.raises(UnsupportedFile, match="not a .pqm file"):
        Header.parse(data)


def test_future_version_is_named():
    with pytest.raises(UnsupportedFile, match="version 2.*upgrade pqmim"):
        Header.parse(bits(f"{MAGIC} 010 11111"))  # nothing after the version is looked at


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ("000 1 00 1010100111 0110010", DamagedFile),  # version 0 never was
        ("001 1 00 1010100111 1100101", DamagedFile),  # quality 101
        ("001 1 00 1010100111 1111111", DamagedFile),  # quality 127
    ],
)
def test_values_that_no_writer_gives(fields, error):
    with pytest.raises(error):
        Header.parse(bits(f"{MAGIC} {fields} 1001 011111111 1000 11111111"))


def test_padding_must_be_zero():
    start = f"{MAGIC} 001 1 00 0000000000 0000000 0000 0 0000 0"
    assert Header.parse(bits(start + "0000000"))[1] == 7
    for i in range(7):
        with pytest.raises(DamagedFile, match="padding"):
            Header.parse(bits(start + f"{1 << i:07b}"))


@pytest.mark.parametrize("field", FIELDS)
def test_values_out_of_range_are_refused(field):
    for value in (field.minimum - 1, field.maximum + 1):
        with pytest.raises(ValueError, match=field.name):
            Header(**{"width": 1, "height": 1, "quality": 0, "weights": 0, field.name: value})
