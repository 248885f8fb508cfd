"""At which scale a quality is coded, which quality makes a file of a given size, and how hard an encoder tries."""

import math
from collections.abc import Callable

from pqmim.errors import BadArgument

SCALES = (0.042, 0.014, 0.0035)  # bits a pixel below which a half, a quarter, an eighth of the size does better
LOWEST = 0.028  # bits a pixel of a typical photo at quality 0, full size
STEP = 0.047  # about what one step of quality adds to the logarithm of the size

EFFORT, MOST_EFFORT = 4, 99  # steps that refine the choice of codes: by default, and at most
LARGE = 8_000_000  # pixels beyond which the default is none, since seconds grow dearer than bytes

ENOUGH = 1.06  # of the room: what a step of quality adds, and a cut of so much costs no more

SMALL, SHIFT = 12, 24  # qualities below SMALL stand for half the size, at a quality so much higher


MAX_PIXELS, PIXELS_PER_BYTE = 1 << 26, 1 << 12  # of a file's picture, unless the caller says otherwise


def check_quality(quality: float) -> None:
    """Raises `BadArgument` unless the quality is a whole number from 0 to 100."""
    if quality != int(quality) or not 0 <= quality <= 100:
        raise BadArgument(f"quality must be a whole number from 0 to 100, not {quality}")


def check_effort(effort: float | None) -> None:
    """Raises `BadArgument` unless the effort is None or a whole number of steps."""
    if effort is not None and (effort != int(effort) or not 0 <= effort <= MOST_EFFORT):
        raise BadArgument(f"effort must be a whole number from 0 to {MOST_EFFORT}, not {effort}")


def most_pixels(size: int) -> int:
    """The most pixels that a file of `size` bytes is believed to have: 64 megapixels, and 4096 more for each byte."""
    return MAX_PIXELS + PIXELS_PER_BYTE * size


def default_effort(pixels: int) -> int:
    """Steps that refine the choice of codes of a picture, where nobody says how many."""
    return EFFORT if pixels <= LARGE else 0


def setting(quality: int) -> tuple[int, int]:
    """The quality and the scale at which a picture is coded, of the quality asked for: half the size where that does better."""
    return (quality + SHIFT, 1) if quality < SMALL else (quality, 0)


def fit(encode: Callable[[int], bytes], room: int, pixels: int) -> tuple[int, bytes]:
    """A quality whose payload, ``encode(quality)``, takes ``room`` bytes or a little more, and that payload.

    The first one that is long enough where a step of quality adds more than a little, quality 100 where none is.
    Sizes grow about exponentially with the quality, so two or three trials do.
    """
    payloads: dict[int, bytes] = {}
    fits, exceeds = -1, 101  # qualities known to give less, and to give enough
    quality, step = round(math.log(8 * room / pixels / LOWEST) / STEP), STEP
    while exceeds - fits > 1:
        quality = min(max(quality, fits + 1), exceeds - 1)
        payloads[quality] = payload = encode(quality)
        if room <= len(payload) <= ENOUGH * room:
            return quality, payload
        fits, exceeds = (quality, exceeds) if len(payload) < room else (fits, quality)
        nearest = sorted(payloads, key=lambda tried: abs(tried - quality))[:2]
        if len(nearest) == 2:  # what a step really adds here
            grown = math.log((len(payloads[nearest[1]]) + 1) / (len(payload) + 1))
            step = max(grown / (nearest[1] - quality), 0.2 * STEP)
        quality += math.ceil(math.log(room / (len(payload) + 1)) / step)
    quality = min(exceeds, 100)
    return quality, payloads[quality]
