"""The dial: how small or how good a file is to be, in one vocabulary.

quality   what people turn: a whole number, 0 (smallest file) to 100 (best picture).
rate      where the models stand for a quality: fractional, from 0 (the most bits) to the number of levels. A release
          maps qualities to rates.
level     rate - 1: an index into the gains of the transforms. Below 0 the transforms stay at level 0, and the steps of the
          quantizer get finer, on the line of the first two levels.
lambda    what training pays for one bit a sample at a level, in mean squared error; a pixel has three samples.
price     what the encoder pays for one bit at a quality, in squared error summed over pixels and colours.
size      bytes of a whole file; bpp is the same in bits for each pixel of the picture.
scale     the picture is coded at 1/2**scale of its size, which does better at the lowest rates.
effort    steps that refine the choice of codes against the pixels.
"""

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pqmim.errors import BadArgument

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCALES = (0.042, 0.014, 0.0035)  # bits a pixel below which a half, a quarter, an eighth of the size does better
LOWEST = 0.028  # bits a pixel of a typical photo at quality 0, full size
STEP = 0.047  # about what one step of quality adds to the logarithm of the size

EFFORT, MOST_EFFORT = 4, 99  # steps that refine the choice of codes: by default, and at most
TARGETS = {"size": 10**12, "bpp": 1000, "psnr": 100, "msssim": 1}
"""What may take the place of a quality, and what each stays below; all are above 0."""

LARGE = 8_000_000  # pixels beyond which the default is none, since seconds grow dearer than bytes

ENOUGH = 1.06
"""A payload longer than its room by at most this factor is taken, and its end is cut off.

A step of quality adds about as much (`STEP`), so that hardly any other quality comes nearer. What is cut off costs no
more quality than the next lower step would.
"""

SMALL, SHIFT = 20, 24
"""Qualities below SMALL may be coded at half the size, at a quality that is SHIFT higher: about the same rate."""


FILE_PIXELS, PIXELS_PER_BYTE = 1 << 24, 1 << 13  # of a file's picture, unless the caller says otherwise


def check_quality(quality: float) -> None:
    """Raises `BadArgument` unless the quality is a whole number from 0 to 100."""
    if not 0 <= quality <= 100 or quality != int(quality):
        raise BadArgument(f"quality must be a whole number from 0 to 100, not {quality}")


def check_effort(effort: float | None) -> None:
    """Raises `BadArgument` unless the effort is None or a whole number of steps."""
    if effort is not None and (not 0 <= effort <= MOST_EFFORT or effort != int(effort)):
        raise BadArgument(f"effort must be a whole number from 0 to {MOST_EFFORT}, not {effort}")


def check_targets(targets: Mapping[str, float | None]) -> None:
    """Raises `BadArgument` where several `TARGETS` are given, one is out of its range, or a size is no whole number."""
    given = {name: value for name, value in targets.items() if value is not None}
    if len(given) > 1:
        raise BadArgument(f"{' and '.join(given)} cannot both be met: give one of them")
    for name, value in given.items():
        if not 0 < value < TARGETS[name] or (name == "size" and value != int(value)):
            kind = "a whole number " if name == "size" else ""
            raise BadArgument(f"{name} must be {kind}above 0 and below {TARGETS[name]:,}, not {value}")


def most_pixels(size: int) -> int:
    """The most pixels that a file of `size` bytes is believed to have: 16.8 million, and 8,192 more for each byte."""
    return FILE_PIXELS + PIXELS_PER_BYTE * size


def default_effort(pixels: int) -> int:
    """Steps that refine the choice of codes of a picture, where the caller names none."""
    return EFFORT if pixels <= LARGE else 0


def settings(quality: int) -> list[tuple[int, int]]:
    """Qualities and scales that stand for a quality; the encoder takes what costs least for its picture."""
    return [(quality, 0), (quality + SHIFT, 1)] if quality < SMALL else [(quality, 0)]


def target(
    psnr: float | None, msssim: float | None, size: tuple[int, int]
) -> "tuple[Callable[[NDArray[Any], NDArray[Any]], float], float]":
    """What is measured of a picture of a (width, height), and the value that it shall reach: one of the two given.

    Raises:
        BadArgument: the picture is too small for the measure.
    """
    from pqmim.evaluation import metrics

    if psnr is not None:
        return metrics.psnr, float(psnr)
    assert msssim is not None
    if min(size) < metrics.MS_SSIM_MIN_SIDE:
        raise BadArgument(f"msssim needs sides of at least {metrics.MS_SSIM_MIN_SIDE} pixels, not {size[0]}x{size[1]}")
    return metrics.ms_ssim, float(msssim)


def reach(measure: Callable[[int], float], wanted: float) -> int:
    """The lowest quality, 0 to 100, of which `measure(quality)`, which grows, is `wanted` or more; else 100.

    Between two qualities the measure is taken for a straight line, with at least a tenth of the interval kept on
    either side, so that a bent one cannot hold the search up.
    """
    low, high = -1, 101  # qualities known to be too low, and high enough
    values: dict[int, float] = {}
    quality = 50
    while high - low > 1:
        values[quality] = measure(quality)
        low, high = (low, quality) if values[quality] >= wanted else (quality, high)
        if low in values and high in values:
            share = (wanted - values[low]) / max(values[high] - values[low], 1e-9)
            guess = low + math.ceil(min(max(share, 0.1), 0.9) * (high - low))
        else:
            guess = (low + high) // 2
        quality = min(max(guess, low + 1), high - 1)
    return min(high, 100)


def fit(encode: Callable[[int], bytes], room: int, pixels: int) -> tuple[int, bytes]:
    """A quality whose payload, `encode(quality)`, takes `room` bytes or a little more, and that payload.

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
