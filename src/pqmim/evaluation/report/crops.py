"""Parts of photos as several codecs give them back, at equal bytes."""

import itertools
import os
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tqdm import tqdm

from pqmim.evaluation.codecs import ImageCodec, Rgb
from pqmim.evaluation.metrics import psnr
from pqmim.evaluation.run import find_photos
from pqmim.image.picture import read_picture

if TYPE_CHECKING:
    from pqmim.codec import Codec

PHOTOS = 3  # of a folder that holds more
RATES = (0.1, 0.2, 0.4)  # bits a pixel: the sizes aimed at
SIDE = 208  # of a crop, in pixels: five stand side by side on a desk, two on a phone
STEP = 16  # between the places that a crop may have
QUALITIES = range(101)


class Crop(NamedTuple):
    """What a codec made of a photo; `bytes` and `psnr` (dB, infinite without loss) are those of the whole photo."""

    codec: str
    bytes: int
    psnr: float
    rgb: Rgb  # (H, W, 3) uint8: the part shown


class Example(NamedTuple):
    """A part of a photo, and for each size the crops of all codecs."""

    photo: str  # name of the file
    width: int  # of the photo
    height: int
    rgb: Rgb  # (H, W, 3) uint8: the part shown
    rows: list[list[Crop]]


def examples(
    folder: str | os.PathLike[str], codec: "Codec", others: Sequence[ImageCodec], *, progress: bool = False
) -> list[Example]:
    """Crops of some photos of a folder, spread over it in the order of their names.

    At each of `RATES`, each of the `others` makes the file whose size comes nearest, and pqmim one of the smallest of
    these sizes, so that none shown beside it had fewer bytes. The part shown is where neighbouring pixels differ most.
    Raises InvalidImage where the folder holds no photo or an unreadable one, ValueError without others.
    """
    if not others:
        raise ValueError("Crops at equal bytes need another codec to be equal to.")
    paths = find_photos(folder)
    if len(paths) > PHOTOS:
        paths = [paths[i * (len(paths) - 1) // (PHOTOS - 1)] for i in range(PHOTOS)]
    found = []
    with tqdm(total=len(paths) * len(RATES), unit="size", disable=not progress) as bar:
        for path in paths:
            rgb = read_picture(path).rgb
            rows = []
            for rate in RATES:
                bar.set_postfix_str(path.name)
                rows.append(_row(rgb, rate, codec, others))
                bar.update()
            part = busiest(rgb)
            rows = [[crop._replace(rgb=crop.rgb[part]) for crop in row] for row in rows]
            found.append(Example(path.name, rgb.shape[1], rgb.shape[0], rgb[part], rows))
    return found


def _row(rgb: Rgb, rate: float, codec: "Codec", others: Sequence[ImageCodec]) -> list[Crop]:
    """Whole pictures at one size, pqmim first."""
    size = round(rate * rgb.shape[0] * rgb.shape[1] / 8)
    files = [nearest_size(other, rgb, size) for other in others]
    own = codec.compress(rgb, size=min(map(len, files)))
    pictures = [np.asarray(codec.decompress(own).convert("RGB"))]
    pictures += [other.decode(data) for other, data in zip(others, files)]
    names = ["pqmim", *(other.name for other in others)]
    return [
        Crop(name, len(data), psnr(rgb, picture), picture)
        for name, data, picture in zip(names, [own, *files], pictures)
    ]


def nearest_size(codec: ImageCodec, rgb: Rgb, size: int) -> bytes:
    """The file of a codec with a dial from 0 to 100 whose size comes nearest to `size`, found by bisection."""
    tried: dict[int, bytes] = {}

    def length(quality: int) -> int:
        tried[quality] = codec.encode(rgb, quality)
        return len(tried[quality])

    bisect_left(QUALITIES, size, key=length)
    return min(tried.values(), key=lambda data: abs(len(data) - size))


def nearest_setting(codec: ImageCodec, rgb: Rgb, size: int) -> bytes:
    """Of the files of a codec's own settings, the one whose size comes nearest to `size`, found by bisection."""
    tried: dict[float, bytes] = {}

    def length(setting: float) -> int:
        tried[setting] = codec.encode(rgb, setting)
        return len(tried[setting])

    bisect_left(codec.settings, size, key=length)
    return min(tried.values(), key=lambda data: abs(len(data) - size))


def busiest(rgb: Rgb, side: int | None = None) -> tuple[slice, slice]:
    """The square of `side`, by default `SIDE`, less where the picture has less, over which neighbouring pixels differ most."""
    grey = rgb.mean(2)  # (H, W)
    change = np.abs(np.diff(grey, axis=0, prepend=grey[:1])) + np.abs(np.diff(grey, axis=1, prepend=grey[:, :1]))
    height, width = (min(side or SIDE, length) for length in grey.shape)
    total = np.pad(change.cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def busy(place: tuple[int, int]) -> float:
        y, x = place
        return float(total[y + height, x + width] - total[y, x + width] - total[y + height, x] + total[y, x])

    tops, lefts = (range(0, length - size + 1, STEP) for length, size in zip(grey.shape, (height, width), strict=True))
    y, x = max(itertools.product(tops, lefts), key=busy)
    return slice(y, y + height), slice(x, x + width)
