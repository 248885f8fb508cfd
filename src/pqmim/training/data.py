"""Photos for training: decoded once, cropped and augmented at random, the same for the same seed and step."""

import hashlib
import io
import logging
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from pqmim.errors import InvalidImage
from pqmim.image.endings import PICTURES
from pqmim.training import graphics
from pqmim.training.recipe import Augment, Colourful

LUMA = np.array([0.299, 0.587, 0.114])  # BT.601
SMALLEST = 64  # pixels: photos with a shorter side are left out
LARGE = 600  # pixels of the shorter side from which a photo counts as large
HELD_BACK, LARGE_HELD_BACK = 0.02, 0.08  # shares, of small photos and of large ones, which are few and decide
SATURATION, CONTRAST = (1.3, 3.0), (1.0, 1.8)  # factors between which colours are stretched
NAMED = 5  # files that cannot be read which a warning names

Photo = NDArray[np.uint8]  # (H, W, 3)
log = logging.getLogger(__name__)


def _encoded(source: Path) -> Iterator[tuple[str, bytes | None]]:
    """Names of photos and their bytes; None for a file or shard that cannot be read to its end."""
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if path.suffix == ".tar":
                yield from _encoded(path)
            elif path.suffix.lower() in PICTURES:
                try:
                    yield path.name, path.read_bytes()
                except OSError:  # a folder of that name, or a file that may not be read
                    yield path.name, None
        return
    try:
        with tarfile.open(source) as shard:
            for member in shard:
                if Path(member.name).suffix.lower() in PICTURES:
                    file = shard.extractfile(member) if member.isfile() else None
                    yield member.name, file.read() if file else None
    except (tarfile.TarError, OSError, EOFError):
        yield source.name, None


def _decode(item: tuple[str, bytes | None]) -> tuple[str, Photo | None]:
    name, data = item
    if data is None:
        return name, None
    try:
        with Image.open(io.BytesIO(data)) as image:
            return name, np.asarray(image.convert("RGB"))
    except Exception:  # noqa: BLE001 - Pillow's decoders raise whatever they stumble over, and any file may lie in the folder
        return name, None


class Photos:
    """Decoded photos of tar shards or of a folder (of photos or of shards), some held back for validation.

    Which photo is held back depends on its name and on whether it is large.

    Args:
        source: A tar shard, or a folder of shards or photos.
        augment: What crops go through (see `Recipe`).
        colourful: How many of them have full colours.
        progress: Show a bar while they are decoded.

    Attributes:
        train: Photos to learn from.
        held_back: Photos to measure on.
        skipped: Names of the files that could not be read.

    Raises:
        InvalidImage: There is no photo.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        augment: Augment | None = None,
        colourful: Colourful | None = None,
        progress: bool = False,
    ) -> None:
        self.augment, self.colourful = augment, colourful
        items = list(_encoded(Path(source)))
        with ThreadPoolExecutor() as pool:
            decoding = pool.map(_decode, items)
            found = list(tqdm(decoding, total=len(items), desc="decode photos", unit="photo", disable=not progress))
        self.skipped = [name for name, photo in found if photo is None]
        if self.skipped:
            names = ", ".join(self.skipped[:NAMED]) + (", ..." if len(self.skipped) > NAMED else "")
            log.warning("%d of %d files cannot be read and are left out: %s", len(self.skipped), len(found), names)
        self.train: list[Photo] = []
        self.held_back: list[Photo] = []
        for name, photo in found:
            if photo is not None and min(photo.shape[:2]) >= SMALLEST:
                (self.held_back if is_held_back(name, photo) else self.train).append(photo)
        if not self.train and self.held_back:  # a handful, all marked
            self.train = self.held_back[:]
        if not self.train:
            raise InvalidImage(f"holds no photo of at least {SMALLEST}x{SMALLEST} pixels to train on", source)
        if not self.held_back:  # too few to spare one: figures on a photo that was trained on are better than none
            self.held_back = self.train[-1:]
        self.weigh()

    def weigh(self) -> None:
        """Find how likely each photo of `train` is drawn: by its area, so that all pixels are equally likely."""
        area = np.array([photo.shape[0] * photo.shape[1] for photo in self.train], np.float64)
        self._reached = (area / area.sum()).cumsum()

    def draw(self, count: int, size: int, seed: tuple[int, ...], part: slice = slice(None)) -> list["Crop"]:
        """What `crops` cuts: `part` of `count` random squares, photos in proportion to their areas."""
        rng = np.random.default_rng(seed)
        return [self._draw(size, rng) for _ in range(count)][part]

    def crops(self, count: int, size: int, seed: tuple[int, ...], part: slice = slice(None)) -> Photo:
        """`part` of `count` random crops, augmented, which depend on `seed` alone: uint8 (B, size, size, 3)."""
        return np.stack([_cut(self.train[crop.photo], crop, size) for crop in self.draw(count, size, seed, part)])

    def _draw(self, size: int, rng: np.random.Generator) -> "Crop":
        photo = min(int(np.searchsorted(self._reached, rng.random())), len(self.train) - 1)
        height, width = self.train[photo].shape[:2]
        crop = _drawn(photo, (height, width), size, self.augment, rng)
        return crop if self.colourful is None else _coloured(crop, self.colourful, rng)


def is_held_back(name: str, photo: Photo) -> bool:
    """Whether a photo is kept for validation."""
    mark = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return mark < (LARGE_HELD_BACK if min(photo.shape[:2]) >= LARGE else HELD_BACK)


@dataclass(frozen=True)
class Crop:
    """A square of the photo of number `photo`, `span` pixels wide, to be scaled to the size asked for.

    `flip` mirrors it left to right; `colour` (3, 4), if any, maps a pixel x to colour[:, :3] x + colour[:, 3].
    Where `drawing` is a seed, a drawing by it takes the place of the pixels.
    """

    photo: int
    top: int
    left: int
    span: int
    flip: bool
    colour: NDArray[np.float64] | None
    drawing: int | None = None


def _drawn(photo: int, sides: tuple[int, int], size: int, augment: Augment | None, rng: np.random.Generator) -> Crop:
    height, width = sides
    if augment is None:
        largest = min(height, width, 2 * size)
        span = int(rng.integers(min(size, largest), largest + 1)) if rng.random() < 0.5 else min(size, largest)
    else:
        span = min(height, width, round(size / rng.uniform(augment.scale, 1)))
    top, left = int(rng.integers(height - span + 1)), int(rng.integers(width - span + 1))
    colour = None
    if augment is None:
        flip = bool(rng.random() < 0.5)
        if rng.random() < 0.1:
            colour = np.eye(3, 4)[rng.permutation(3)]
    else:
        flip = augment.flip and bool(rng.random() < 0.5)
        if augment.colour:
            colour = _jitter(augment.colour, rng)
    return Crop(photo, top, left, span, flip, colour)


def _coloured(crop: Crop, shares: Colourful, rng: np.random.Generator) -> Crop:
    """The crop, or with the probabilities given a drawing, or the crop in stretched colours."""
    kind, seed = rng.random(), int(rng.integers(2**32))
    saturation, contrast = rng.uniform(*SATURATION), rng.uniform(*CONTRAST)
    if kind < shares.drawings:
        return replace(crop, drawing=seed)
    if kind < shares.drawings + shares.stretched:
        return replace(crop, colour=_stretch(saturation, contrast))
    return crop


def _stretch(saturation: float, contrast: float) -> NDArray[np.float64]:
    """Saturation and contrast about mid-grey as one map (3, 4)."""
    linear = saturation * np.eye(3) + (1 - saturation) * LUMA  # (3, 3): grey stays grey
    return np.hstack([contrast * linear, np.full((3, 1), 127.5 * (1 - contrast))])


def _jitter(amount: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Saturation, contrast about mid-grey, brightness and a gain a channel, each 1 +- `amount`, as one map (3, 4)."""
    saturation, contrast, brightness, *gain = rng.uniform(1 - amount, 1 + amount, 6)
    colour: NDArray[np.float64] = brightness * np.array(gain)[:, None] * _stretch(saturation, contrast)
    return colour


def _cut(photo: Photo, crop: Crop, size: int) -> Photo:
    if crop.drawing is not None:
        return graphics.draw(size, crop.drawing)
    pixels = photo[crop.top : crop.top + crop.span, crop.left : crop.left + crop.span]
    if crop.span != size:
        pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
    if crop.flip:
        pixels = pixels[:, ::-1]
    if crop.colour is not None:
        pixels = (pixels @ crop.colour[:, :3].T + crop.colour[:, 3]).round().clip(0, 255).astype(np.uint8)
    return pixels


def patches(photos: list[Photo], count: int, size: int = 16, seed: int = 0) -> Photo:
    """Random patches for the KLT: uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(seed)
    chosen = np.empty((count, size, size, 3), np.uint8)
    for patch in chosen:
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(side - size + 1) for side in photo.shape[:2])
        patch[:] = photo[top : top + size, left : left + size]
    return chosen
