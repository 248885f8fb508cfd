"""The header: the first bytes, which say what form a file has, then fields packed without gaps, high bits first.

    framed   d0 | f2 | kind, scale, weights, quality, size
    bare     d?      |       quality, weights, scale, size

The first byte is the bits 1101, three bits of form and one of parity, so that two forms differ in two bits at least.
Form 0 is a framed file; the second byte then holds the version in its low half. Read as a bare header it would be a
quality above 100, so neither first byte alone makes one form of the other. Forms 1 to 6 are bare files: 1 + 2 * kind,
and one more if a check follows the payload. They belong to version 2; another version takes other bytes.

The size is one bit and four where the picture has a common size, else one bit and two size codes. A 768x512 picture
takes 6 bytes of a framed file, and 4 of a bare one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from operator import index
from typing import NamedTuple

from pqmim.errors import DamagedFile, PqmimError, TooShort, UnsupportedFile

VERSION = 2

MAGIC = bytes([0xD0, 0xF0 | VERSION])
"""Start of a framed file: not UTF-8, and no plausible text in other encodings."""

COMMON_SIZES = (
    *((256, 256), (512, 512), (1024, 1024), (1080, 1080), (640, 480), (480, 640), (768, 512), (512, 768)),
    *((1024, 768), (768, 1024), (1280, 720), (1920, 1080), (1080, 1920), (1080, 1350), (4032, 3024), (3024, 4032)),
)
"""Width and height by the four bits that stand for them."""

LONGEST = 10
"""Bytes of the longest header."""


class Kind(IntEnum):
    """What a file's payload holds."""

    COLOUR = 0
    """Codes of a colour picture."""

    GREY = 1
    """Codes of a picture whose pixels are all exactly grey."""

    FLAT = 2
    """No codes: the one colour of all pixels, as 1 byte of grey or 3 bytes of red, green and blue."""


class Field(NamedTuple):
    """A number of the header, `bits` wide."""

    name: str
    bits: int
    minimum: int
    maximum: int


KIND = Field("kind", 2, 0, 2)  # what the payload holds
SCALE = Field("scale", 2, 0, 3)  # the picture was coded at 1/2**scale of its size
WEIGHTS = Field("weights", 10, 0, 1023)  # short hash of the weights that the codes need
QUALITY = Field("quality", 7, 0, 100)  # quality at which it was coded, at that scale
WIDTH = Field("width", 0, 1, 65536)  # pixels
HEIGHT = Field("height", 0, 1, 65536)  # pixels

FIELDS = (KIND, SCALE, WEIGHTS, QUALITY)
"""Those of a framed file, before the size."""

BARE_FIELDS = (QUALITY, WEIGHTS, SCALE)
"""Those of a bare file, before the size."""


@dataclass(frozen=True)
class Header:
    """The header of a file; values and their ranges as in `FIELDS`.

    Attributes:
        width, height: pixels, 1 to 65536.
        quality: 0 to 100.
        weights: short hash, 0 to 1023.
        scale: 0 to 3.
        framed: whether lengths, chunks and a check of 32 bits go with the payload.
        kind: what the payload holds.
        checked: whether a check of 16 bits follows the payload of a bare file; False for framed ones, whose own check
            is no choice.

    Raises:
        ValueError: a value is out of its range, or a framed header is said to be `checked`.
    """

    width: int
    height: int
    quality: int
    weights: int
    scale: int = 0
    framed: bool = True
    kind: Kind = Kind.COLOUR
    checked: bool = False

    def __post_init__(self) -> None:
        for field in (*FIELDS, WIDTH, HEIGHT):
            value = getattr(self, field.name)
            if not field.minimum <= value <= field.maximum:
                raise ValueError(f"{field.name} {value} is not in {field.minimum}..{field.maximum}")
        if self.framed and self.checked:
            raise ValueError("the short check belongs to bare files")

    def pack(self) -> bytes:
        """The header's bytes: 6 to 10, or 4 to 9 of a bare file."""
        if self.framed:
            return MAGIC + _packed([*self._numbers(FIELDS), *self._sides()])
        first = _first_byte(1 + 2 * self.kind + self.checked)
        return bytes([first]) + _packed([*self._numbers(BARE_FIELDS), *self._sides()])

    @property
    def version(self) -> int:
        """The version of the format."""
        return VERSION

    @property
    def coded_size(self) -> tuple[int, int]:
        """Width and height at which the picture was coded: its own over 2**scale, rounded up."""
        return -(-self.width // 2**self.scale), -(-self.height // 2**self.scale)

    @property
    def most_payload(self) -> int:
        """Bytes that no payload exceeds: 16 bits a code, 256 codes a position of 16x16 pixels, and 64."""
        width, height = self.coded_size
        return 3 if self.kind == Kind.FLAT else 64 + 512 * -(-width // 16) * -(-height // 16)

    def _numbers(self, fields: Sequence[Field]) -> list[tuple[int, int]]:
        return [(index(getattr(self, field.name)), field.bits) for field in fields]

    def _sides(self) -> list[tuple[int, int]]:
        size = (self.width, self.height)
        if size in COMMON_SIZES:
            return [(1, 1), (COMMON_SIZES.index(size), 4)]
        return [(0, 1), _pack_size(self.width), _pack_size(self.height)]

    @classmethod
    def parse(cls, data: bytes) -> tuple["Header", int]:
        """Read a header from the start of a file.

        Returns:
            The header, and the number of bytes that it took.

        Raises:
            UnsupportedFile: not a .pqm file, or one that this version of the format does not cover.
            TooShort: the data end inside the header.
            DamagedFile: a field has a value that no writer gives it.
        """
        form = _form(data)
        start = 1 if form else 2
        reader = _BitReader(data[start:LONGEST])
        values = {field.name: _checked(field, reader.take(field.bits)) for field in (BARE_FIELDS if form else FIELDS)}
        width, height = _parse_sides(reader)
        if reader.take(-reader.taken % 8):
            raise DamagedFile("the header is damaged: its padding is not zero")
        kind = Kind((form - 1) // 2 if form else values["kind"])
        header = cls(
            width,
            height,
            values["quality"],
            values["weights"],
            values["scale"],
            framed=not form,
            kind=kind,
            checked=bool(form) and form % 2 == 0,
        )
        return header, start + reader.taken // 8


def begins(data: bytes) -> bool:
    """Whether bytes begin as a .pqm file does: with a whole header, which no text in ASCII is."""
    try:
        Header.parse(data)
    except PqmimError:
        return False
    return True


def _first_byte(form: int) -> int:
    return 0xD0 | form << 1 | form.bit_count() & 1


def _form(data: bytes) -> int:
    """The form that the first bytes name."""
    if not data:
        raise TooShort("the file is empty")
    form = data[0] >> 1 & 7
    if data[0] != _first_byte(form) or (not form and data[1:2] and data[1] >> 4 != 0xF):
        raise UnsupportedFile("this is not a .pqm file: its first bytes are those of none")
    if not form and len(data) > 1 and (version := data[1] & 0xF) != VERSION:
        if version < VERSION:
            raise DamagedFile(f"the header is damaged: no pqmim ever wrote format version {version}")
        raise UnsupportedFile(f"the file has format version {version}, this pqmim reads version {VERSION}: upgrade it")
    if form > 6:
        raise UnsupportedFile("the file has a form that this pqmim does not know: upgrade it")
    return form


def _checked(field: Field, value: int) -> int:
    if not field.minimum <= value <= field.maximum:
        raise DamagedFile(f"the header is damaged: {field.name} {value} is not in {field.minimum}..{field.maximum}")
    return value


def _packed(numbers: list[tuple[int, int]]) -> bytes:
    """Numbers one after the other, each in its own count of bits, padded with zeros to a whole byte."""
    packed = length = 0
    for value, bits in numbers:
        packed, length = packed << bits | value, length + bits
    padding = -length % 8
    return (packed << padding).to_bytes((length + padding) // 8, "big")


def _pack_size(size: int) -> tuple[int, int]:
    """A side of 1 to 65536 pixels as (code, bits): 4 bits of class c, then max(c, 1) bits.

    Class c >= 1 holds size - 1 in 2**c .. 2**(c + 1) - 1 by the bits below its leading one. Class 0 holds 0 and 1 by
    the bit itself: it has no leading one, as a subnormal float has none.
    """
    rest = size - 1
    c = max(rest.bit_length() - 1, 0)
    bits = max(c, 1)
    return c << bits | rest & (1 << bits) - 1, 4 + bits


def _parse_sides(reader: "_BitReader") -> tuple[int, int]:
    if reader.take(1):
        return COMMON_SIZES[reader.take(4)]
    size = _parse_size(reader), _parse_size(reader)
    if size in COMMON_SIZES:
        raise DamagedFile("the header is damaged: its size is not in its shortest form")
    return size


def _parse_size(reader: "_BitReader") -> int:
    c = reader.take(4)
    return reader.take(max(c, 1)) + (1 << c if c else 0) + 1


class _BitReader:
    def __init__(self, data: bytes) -> None:
        self.taken = 0
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, bits: int) -> int:
        if bits > self._left:
            raise TooShort("the file ends inside its header")
        self._left -= bits
        self.taken += bits
        return self._value >> self._left & (1 << bits) - 1
