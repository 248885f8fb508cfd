"""Whole numbers of any size in bytes: unsigned LEB128, each number in its shortest form alone.

Seven bits a byte, the lowest first; the high bit is set on every byte but the last.
"""

from pqmim.errors import DamagedFile

LONGEST = 5
"""Bytes of the longest number that is read."""

LIMIT = 1 << 7 * LONGEST
"""The least number that takes more."""


def pack(value: int) -> bytes:
    """The bytes of a number.

    Raises:
        ValueError: the number is not in 0 .. `LIMIT` - 1.
    """
    if not 0 <= value < LIMIT:
        raise ValueError(f"{value} is not in 0..{LIMIT - 1}")
    groups = [value & 0x7F]
    while value := value >> 7:
        groups[-1] |= 0x80
        groups.append(value & 0x7F)
    return bytes(groups)


def parse(data: bytes, position: int = 0) -> tuple[int, int]:
    """The number at a position.

    Returns:
        The number, and the position after it.

    Raises:
        EOFError: the data end inside the number.
        DamagedFile: the number is not in its shortest form, or takes more than `LONGEST` bytes.
    """
    value = 0
    for i, byte in enumerate(data[position : position + LONGEST]):
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            if i and not byte:
                break
            return value, position + i + 1
    else:
        if len(data) - position < LONGEST:
            raise EOFError
    raise DamagedFile("the file is damaged: a length is not in its shortest form, or is absurd")
