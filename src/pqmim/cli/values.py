"""Words of the command line to values, for argparse."""

import argparse
import math
import re
from collections.abc import Callable

from pqmim.errors import BadArgument

SMALLEST = 12
"""The least size of a file that may be asked for, in bytes: a bare header takes at most 9, and leaves 3 for codes."""

_UNITS = {"": 1, "b": 1, "k": 1e3, "kb": 1e3, "m": 1e6, "mb": 1e6, "g": 1e9}


def quality(text: str) -> int:
    """A whole number from 0 to 100."""
    return _whole(text, 0, 100)


def effort(text: str) -> int:
    """Steps of refinement."""
    return _whole(text, 0, 99)


def seed(text: str) -> int:
    """A whole number from 0 on."""
    return _whole(text, 0, 2**63 - 1)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    return _whole(text, 1, 2**31 - 1)


def port(text: str) -> int:
    """Of an address that is listened on."""
    return _whole(text, 1, 65535)


def mtu(text: str) -> int:
    """Bytes of a packet."""
    from pqmim.integrations.packets import LEAST_MTU, MOST_MTU

    return _whole(text, LEAST_MTU, MOST_MTU)


def picture_format(text: str) -> str:
    """The name of a picture's format, as its ending without the dot."""
    from pqmim.image.save import FORMATS

    name = text.lstrip(".").lower()
    if f".{name}" not in FORMATS:
        raise argparse.ArgumentTypeError(f"{text} is none of {', '.join(end[1:] for end in FORMATS)}")
    return name


def byte_size(text: str) -> int:
    """Bytes of a file: 200, 2kB, 1.5MB."""
    size = _with_unit(text)
    if size is None or size < SMALLEST:
        raise argparse.ArgumentTypeError(f"{text} is not a number of bytes, or kB, from {SMALLEST} on")
    return round(size)


def pixels(text: str) -> int:
    """Pixels of a picture: 12M, 100000."""
    count = _with_unit(text.lower().removesuffix("px").removesuffix("p"))
    if count is None or count < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of pixels, as 12M is")
    return round(count)


def bpp(text: str) -> float:
    """Bits a pixel."""
    return _number(text, lambda value: 0 < value <= 100, "a number of bits a pixel above 0 and at most 100")


def psnr(text: str) -> float:
    """Decibels."""
    return _number(text, lambda value: 10 <= value <= 60, "a number of dB from 10 to 60")


def msssim(text: str) -> float:
    """Structural similarity."""
    return _number(text, lambda value: 0 < value < 1, "a number above 0 and below 1")


def temperature(text: str) -> float:
    """Of what is drawn."""
    return _number(text, lambda value: 0 < value <= 16, "a number above 0 and at most 16")


def look(text: str) -> float:
    """Between the faithful picture, 0, and the vivid one, 1."""
    from pqmim.looks import dial_of

    try:
        value: float | str = float(text)
    except ValueError:
        value = text
    try:
        return dial_of(value)
    except BadArgument as error:
        raise argparse.ArgumentTypeError(error.message) from error


def picture_size(text: str) -> tuple[int, int]:
    """Width and height in pixels."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text} is not a size like 512x512")
    return int(found[1]), int(found[2])


def _whole(text: str, least: int, most: int) -> int:
    digits = text.lstrip("0")[:20] or text[:1]  # of as many digits each bound is exceeded
    if not (text.isascii() and text.isdecimal()) or not least <= int(digits) <= most:
        large = text.isascii() and text.isdecimal() and int(digits) > most
        span = f"from {least} to {most}" if large or most <= 10**6 else f"from {least} on"
        raise argparse.ArgumentTypeError(f"{text} is not a whole number {span}")
    return int(digits)


def _number(text: str, fits: Callable[[float], bool], kind: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not fits(value):
        raise argparse.ArgumentTypeError(f"{text} is not {kind}")
    return value


def _with_unit(text: str) -> float | None:
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,9})?)([a-z]*)", text.lower())
    if not found or found[2] not in _UNITS:
        return None
    return float(found[1]) * _UNITS[found[2]]
