"""The header's bits, against values worked out by hand from docs/FORMAT.md."""

import pytest

from pqmim.bitstream.header import BARE_FIELDS, COMMON_SIZES, FIELDS, HEIGHT, WIDTH, Header, Kind, begins
from pqmim.errors import DamagedFile, TooShort, UnsupportedFile


def bits(text: str) -> bytes:
    digits = text.replace(" ", "")
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


MAGIC = "11010000 11110010"
# colour, scale 0, weights 0x2a7, quality 50, a common size: number 6
KODAK = bits(f"{MAGIC} 00 00 1010100111 0110010 1 0110")
# the same of 769x513: class 9 and 768 - 512, class 9 and 512 - 512
ODD = bits(f"{MAGIC} 00 00 1010100111 0110010 0 1001 100000000 1001 000000000")
FORMS = {"d3": (0, False), "d5": (0, True), "d6": (1, False), "d9": (1, True), "da": (2, False), "dc": (2, True)}


def test_golden_header_of_a_768x512_picture():
    header = Header(width=768, height=512, quality=50, weights=0x2A7)
    assert KODAK.hex() == "d0f20a9d9580"
    assert header.pack() == KODAK
    assert Header.parse(KODAK + b"payload") == (header, 6)


def test_golden_header_of_another_size():
    header = Header(width=769, height=513, quality=50, weights=0x2A7)
    assert ODD.hex() == "d0f20a9d92601200"
    assert header.pack() == ODD and len(ODD) == 8
    assert Header.parse(ODD + b"payload") == (header, 8)


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
    assert packed == bits(f"{MAGIC} 00 00 0000000000 0000000 0 {code} 0000 0")


def test_golden_bare_header():
    header = Header(width=768, height=512, quality=50, weights=0x2A7, framed=False)
    assert header.pack() == bits("11010011 0110010 1010100111 00 1 0110") == bytes.fromhex("d3655396")
    assert Header.parse(header.pack() + b"payload") == (header, 4)


@pytest.mark.parametrize("first", FORMS)
def test_first_byte_says_kind_and_check(first):
    kind, checked = FORMS[first]
    header = Header(768, 512, 50, 0x2A7, framed=False, kind=Kind(kind), checked=checked)
    assert header.pack().hex() == first + "655396"
    assert Header.parse(header.pack()) == (header, 4)


def test_one_bit_makes_no_other_form():
    first = [0xD0, *(int(byte, 16) for byte in FORMS)]
    for a in first:
        for b in first:
            assert a == b or (a ^ b).bit_count() >= 2
    assert KODAK[1] >> 1 > 100  # a framed file whose first byte alone becomes that of a bare one has no quality


@pytest.mark.parametrize("kind", Kind)
def test_kinds_of_framed_files(kind):
    header = Header(768, 512, 50, 0x2A7, kind=kind)
    assert header.pack()[2] >> 6 == kind
    assert Header.parse(header.pack()) == (header, 6)


@pytest.mark.parametrize("size", COMMON_SIZES)
def test_common_sizes_take_four_bytes(size):
    header = Header(*size, quality=100, weights=1023, scale=3, framed=False)
    assert len(header.pack()) == 4
    assert Header.parse(header.pack()) == (header, 4)
    assert len(Header(*size, quality=100, weights=1023, scale=3).pack()) == 6


def test_a_common_size_has_one_spelling():
    with pytest.raises(DamagedFile, match="shortest"):
        Header.parse(bits("11010011 0000000 0000000000 00 0 0111 1111111 0111 1111111"))
    with pytest.raises(DamagedFile, match="shortest"):
        Header.parse(bits(f"{MAGIC} 00 00 0000000000 0000000 0 0111 1111111 0111 1111111"))


@pytest.mark.parametrize(
    ("width", "height", "scale", "coded"),
    [(768, 512, 0, (768, 512)), (768, 511, 1, (384, 256)), (5, 3, 2, (2, 1)), (1, 1, 3, (1, 1))],
)
def test_coded_sizes_are_rounded_up(width, height, scale, coded):
    assert Header(width, height, quality=0, weights=0, scale=scale).coded_size == coded


def test_bound_of_the_payload():
    assert Header(16, 16, quality=0, weights=0).most_payload == 64 + 512
    assert Header(17, 33, quality=0, weights=0).most_payload == 64 + 512 * 2 * 3
    assert Header(17, 33, quality=0, weights=0, scale=1).most_payload == 64 + 512 * 1 * 2
    assert Header(17, 33, quality=0, weights=0, kind=Kind.FLAT).most_payload == 3


def test_every_side_comes_back():
    for side in range(1, 65537):
        framed, scale, kind = side % 2 == 0, side % 4, Kind(side % 3)
        checked = not framed and side % 5 == 0
        header = Header(side, 65537 - side, side % 101, side % 1024, scale, framed, kind, checked)
        packed = header.pack()
        assert Header.parse(packed) == (header, len(packed))
        assert (6 if framed else 4) <= len(packed) <= (10 if framed else 9)


@pytest.mark.parametrize("end", range(len(ODD)))
def test_headers_that_end_early(end):
    with pytest.raises(TooShort):
        Header.parse(ODD[:end])
    with pytest.raises(TooShort):
        Header.parse(Header(100, 70, quality=1, weights=1, framed=False).pack()[: min(end, 5)])


@pytest.mark.parametrize(
    "data",
    [b"P", b"\xd0Q", b"\xd0\x11\x32", b"\xd1\x2a", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"no picture at all"],
)
def test_other_files(data):
    with pytest.raises(UnsupportedFile, match="not a .pqm file"):
        Header.parse(data)


def test_future_versions_and_forms_are_named():
    with pytest.raises(UnsupportedFile, match="version 3.*upgrade"):
        Header.parse(b"\xd0\xf3")  # nothing after the version is looked at
    with pytest.raises(UnsupportedFile, match="form.*upgrade"):
        Header.parse(b"\xdf")


@pytest.mark.parametrize(
    "data",
    [
        bits("11010000 11110000 00 00 1010100111 0110010 1 0110"),  # version 0 never was
        bits("11010000 11110001 00 00 1010100111 0110010 1 0110"),  # nor was version 1 released
        bits(f"{MAGIC} 11 00 1010100111 0110010 1 0110"),  # kind 3
        bits(f"{MAGIC} 00 00 1010100111 1100101 1 0110"),  # quality 101
        bits("11010011 1111111 1010100111 00 1 0110"),  # quality 127
    ],
)
def test_values_that_no_writer_gives(data):
    with pytest.raises(DamagedFile):
        Header.parse(data)


def test_padding_must_be_zero():
    start = f"{MAGIC} 00 00 0000000000 0000000 1 0000"
    assert Header.parse(bits(start + "000000"))[1] == 6
    for i in range(6):
        with pytest.raises(DamagedFile, match="padding"):
            Header.parse(bits(start + f"{1 << i:06b}"))


@pytest.mark.parametrize("field", {*FIELDS, *BARE_FIELDS, WIDTH, HEIGHT})
def test_values_out_of_range_are_refused(field):
    for value in (field.minimum - 1, field.maximum + 1):
        with pytest.raises(ValueError, match=field.name):
            Header(**{"width": 1, "height": 1, "quality": 0, "weights": 0, field.name: value})


def test_a_framed_file_has_no_short_check():
    with pytest.raises(ValueError, match="bare"):
        Header(1, 1, 0, 0, checked=True)


def test_bounds_are_those_of_the_document():
    bounds = {field.name: (field.bits, field.minimum, field.maximum) for field in (*FIELDS, WIDTH, HEIGHT)}
    assert bounds == {
        "kind": (2, 0, 2),
        "scale": (2, 0, 3),
        "weights": (10, 0, 1023),
        "quality": (7, 0, 100),
        "width": (0, 1, 65536),
        "height": (0, 1, 65536),
    }


@pytest.mark.parametrize("data", [b"", b"\xd0", KODAK[:-1], MAGIC.encode(), b"\x89PNG\r\n\x1a\n" * 2])
def test_what_begins_as_a_file_has_a_whole_header(data):
    assert begins(KODAK) and begins(KODAK + b"payload")
    assert not begins(data)
