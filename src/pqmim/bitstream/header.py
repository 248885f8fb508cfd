"""The header: the magic bytes, then a table of fields, packed without gaps, most significant bit first.

A field's place and width may change with the version, so the version itself always comes straight after the magic.
The table below is version 1; a 768x512 picture takes 64 bits of it, 8 bytes.

Bare files, made where every byte counts, begin with a short header instead: one byte of magic that is the version,
too, and sizes that photos often have as four bits. A 768x512 picture then takes 4 bytes.
"""

from dataclasses import dataclass
from operator import index
from typing import NamedTuple

from pqmim.errors import DamagedFile, UnsupportedFile

MAGIC = b"\xd0\x11"
"""A P with its high bit set, and control-Q: not UTF-8, and no plausible text in other encodings."""

SHORT_MAGIC = b"\xd1"
"""Another first byte stands for another version."""

VERSION = 1

COMMON_SIZES = (
    *((256, 256), (512, 512), (1024, 1024), (1080, 1080), (640, 480), (480, 640), (768, 512), (512, 768)),
    *((1024, 768), (768, 1024), (1280, 720), (1920, 1080), (1080, 1920), (1080, 1350), (4032, 3024), (3024, 4032)),
)
"""Width and height by the four bits that stand for them in a short header."""


class Field(NamedTuple):
    """A number of the header: `bits` wide, or a size code where `bits` is None (see `_pack_size`)."""

    name: str
    bits: int | None
    minimum: int
    maximum: int
    meaning: str


FIELDS = (
    Field("version", 3, VERSION, VERSION, "format version"),
    Field("framed", 1, 0, 1, "the payload's length, chunks and a check follow; otherwise the payload runs to the end"),
    Field("scale", 2, 0, 3, "the picture was coded at 1/2**scale of its size"),
    Field("weights", 10, 0, 1023, "short hash of the weights that the codes need"),
    Field("quality", 7, 0, 100, "quality at which it was coded, at that scale"),
    Field("width", None, 1, 65536, "pixels"),
    Field("height", None, 1, 65536, "pixels"),
)
SHORT_FIELDS = tuple(field for field in FIELDS if field.name in ("scale", "weights", "quality"))


@dataclass(frozen=True)
class Header:
    """The header of a file; values and their ranges as in `FIELDS`.

    Raises:
        ValueError: a value is out of its range.
    """

    width: int
    height: int
    quality: int
    weights: int
    scale: int = 0
    framed: bool = True
    version: int = VERSION

    def __post_init__(self) -> None:
        for field in FIELDS:
            value = getattr(self, field.name)
            if not field.minimum <= value <= field.maximum:
                raise ValueError(f"{field.name} {value} is not in {field.minimum}..{field.maximum}")

    def pack(self) -> bytes:
        """The header's bytes: 7 to 10, or 4 to 9 of a bare file."""
        if self.framed:
            return MAGIC + _packed(self._numbers(FIELDS))
        size = (self.width, self.height)
        if size in COMMON_SIZES:
            sides = [(1, 1), (COMMON_SIZES.index(size), 4)]
        else:
            sides = [(0, 1), _pack_size(self.width), _pack_size(self.height)]
        return SHORT_MAGIC + _packed([*self._numbers(SHORT_FIELDS), *sides])

    @property
    def coded_size(self) -> tuple[int, int]:
        """Width and height at which the picture was coded: its own over 2**scale, rounded up."""
        return -(-self.width // 2**self.scale), -(-self.height // 2**self.scale)

    def _numbers(self, fields: tuple[Field, ...]) -> list[tuple[int, int]]:
        values = [(index(getattr(self, field.name)), field.bits) for field in fields]
        return [_pack_size(value) if bits is None else (value, bits) for value, bits in values]

    @classmethod
    def parse(cls, data: bytes) -> tuple["Header", int]:
        """Read a header from the start of a file.

        Returns:
            The header, and the number of bytes that it took.

        Raises:
            UnsupportedFile: not a .pqm file, or one that this version of the format does not cover.
            DamagedFile: the data ends inside the header, or a field has a value that no writer gives it.
        """
        if not data:
            raise DamagedFile("the file is empty")
        short = data[:1] == SHORT_MAGIC
        if not short and data[:2] != MAGIC[: len(data)]:
            raise UnsupportedFile(f"this is not a .pqm file: it does not start with the bytes {MAGIC.hex(' ')}")
        start = 1 if short else 2
        reader = _BitReader(data[start : start + 14])
        values: dict[str, int] = {"framed": 0} if short else {}
        for field in SHORT_FIELDS if short else FIELDS:
            value = reader.take(field.bits) if field.bits else _parse_size(reader)
            _check(field, value)
            values[field.name] = value
        if short:
            common = reader.take(1)
            size = COMMON_SIZES[reader.take(4)] if common else (_parse_size(reader), _parse_size(reader))
            if not common and size in COMMON_SIZES:
                raise DamagedFile("the header is damaged: its size is not in its shortest form")
            values["width"], values["height"] = size
        values["framed"] = bool(values["framed"])
        if reader.take(-reader.taken % 8):
            raise DamagedFile("the header is damaged: its padding is not zero")
        return cls(**values), start + reader.taken // 8


def _check(field: Field, value: int) -> None:
    if field.minimum <= value <= field.maximum:
        return
    if field.name == "version" and value > VERSION:
        raise UnsupportedFile(f"the file has format version {value}, this pqmim reads version {VERSION}: upgrade pqmim")
    raise DamagedFile(f"the header is damaged: {field.name} {value} is not in {field.minimum}..{field.maximum}")


def _packed(numbers: list[tuple[int, int]]) -> bytes:
    """Numbers of so many bits one after the other, padded with zeros to a whole byte."""
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
            raise DamagedFile("the file ends inside its header")
        self._left -= bits
        self.taken += bits
        return self._value >> self._left & (1 << bits) - 1
