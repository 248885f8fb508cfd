"""Photos for training: decoded once, cropped and augmented at random, the same for the same seed and step."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pqmim.errors import InvalidImage
from pqmim.training.recipe import Augment

SUFFIXES = {".webp", ".png", ".jpg", ".jpeg", ".avif", ".bmp", ".tif", ".tiff", ".ppm"}
LUMA = np.array([0.299, 0.587, 0.114])  # BT.601


def _encoded(source: Path) -> Iterator[tuple[str, bytes]]:
    if source.is_dir():
        for path in sorted(source.iterdir()):
            if path.suffix == ".tar":
                yield from _encoded(path)
            elif path.suffix.lower() in SUFFIXES:
                yield path.name, path.read_bytes()
    else:
        with tarfile.open(source) as shard:
            for member in shard:
                if Path(member.name).suffix.lower() in SUFFIXES:
                    yield member.name, shard.extractfile(member).read()


def _decode(item: tuple[str, bytes]) -> tuple[str, np.ndarray]:
    name, data = item
    return name, np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


class Photos:
    """Decoded photos of tar shards or of a folder (of photos or of shards), some held back for validation.

    ``train`` and ``held_back`` are lists of uint8 arrays (H, W, 3); which photo is held back depends on
    its name alone.  ``limit`` reads only that many photos; ``augment`` is what crops go through (see
    ``Recipe``).  Raises ``InvalidImage`` if there are none.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        held_back: float = 0.02,
        smallest: int = 64,
        limit: int | None = None,
        augment: Augment | None = None,
        progress: bool = True,
    ):
        self.augment = augment
        source = Path(source)
        items = list(_encoded(source))[:limit]
        with ThreadPoolExecutor() as pool:
            decoded = list(
                tqdm(
                    pool.map(_decode, items), total=len(items), desc="decode photos", unit="photo", disable=not progress
                )
            )
        self.train: list[np.ndarray] = []
        self.held_back: list[np.ndarray] = []
        for name, photo in decoded:
            if min(photo.shape[:2]) >= smallest:
                mark = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
                (self.held_back if mark < held_back else self.train).append(photo)
        if not self.train and self.held_back:  # a handful, all marked
            self.train = self.held_back[:]
        if not self.train:
            raise InvalidImage(f"{source} holds no photo of at least {smallest}x{smallest} pixels to train on.")
        if not self.held_back:  # too few to spare one: figures on a photo that was trained on are better than none
            self.held_back = self.train[-1:]

    def draw(self, count: int, size: int, seed: tuple[int, ...], part: slice = slice(None)) -> list["Crop"]:
        """What ``crops`` cuts: ``part`` of ``count`` random squares."""
        rng = np.random.default_rng(seed)
        return [_draw(self.train, size, self.augment, rng) for _ in range(count)][part]

    def crops(self, count: int, size: int, seed: tuple[int, ...], part: slice = slice(None)) -> np.ndarray:
        """``part`` of ``count`` random crops, augmented, which depend on ``seed`` alone: uint8 (B, size, size, 3)."""
        return np.stack([_cut(self.train[crop.photo], crop, size) for crop in self.draw(count, size, seed, part)])


@dataclass(frozen=True)
class Crop:
    """A square of the photo of number ``photo``, ``span`` pixels wide, to be scaled to the size asked for.

    ``flip`` mirrors it left to right; ``colour`` (3, 4), if any, maps a pixel x to colour[:, :3] x + colour[:, 3].
    """

    photo: int
    top: int
    left: int
    span: int
    flip: bool
    colour: np.ndarray | None


def _draw(photos: list[np.ndarray], size: int, augment: Augment | None, rng: np.random.Generator) -> Crop:
    photo = int(rng.integers(len(photos)))
    height, width = photos[photo].shape[:2]
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


def _jitter(amount: float, rng: np.random.Generator) -> np.ndarray:
    """Saturation, contrast about mid-grey, brightness and a gain a channel, each 1 +- ``amount``, as one map (3, 4)."""
    saturation, contrast, brightness, *gain = rng.uniform(1 - amount, 1 + amount, 6)
    linear = saturation * np.eye(3) + (1 - saturation) * LUMA  # (3, 3): grey stays grey
    gain = brightness * np.array(gain)[:, None]  # (3, 1)
    return gain * np.hstack([contrast * linear, np.full((3, 1), 127.5 * (1 - contrast))])


def _cut(photo: np.ndarray, crop: Crop, size: int) -> np.ndarray:
    pixels = photo[crop.top : crop.top + crop.span, crop.left : crop.left + crop.span]
    if crop.span != size:
        pixels = np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC))
    if crop.flip:
        pixels = pixels[:, ::-1]
    if crop.colour is not None:
        pixels = (pixels @ crop.colour[:, :3].T + crop.colour[:, 3]).round().clip(0, 255).astype(np.uint8)
    return pixels


def patches(photos: list[np.ndarray], count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    """Random patches for the KLT: uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(seed)
    chosen = np.empty((count, size, size, 3), np.uint8)
    for patch in chosen:
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(side - size + 1) for side in photo.shape[:2])
        patch[:] = photo[top : top + size, left : left + size]
    return chosen
