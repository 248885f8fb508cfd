"""Photos for training: decoded once, cropped and augmented at random, the same for the same seed and step."""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pqmim.bitstream.errors import InvalidImage

SUFFIXES = {".webp", ".png", ".jpg", ".jpeg", ".avif", ".bmp", ".tif", ".tiff", ".ppm"}


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
    its name alone.  ``limit`` reads only that many photos.  Raises ``InvalidImage`` if there are none.
    """

    def __init__(self, source: str | Path, *, held_back: float = 0.02, smallest: int = 64, limit: int | None = None):
        source = Path(source)
        items = list(_encoded(source))[:limit]
        with ThreadPoolExecutor() as pool:
            decoded = list(tqdm(pool.map(_decode, items), total=len(items), desc="decode photos", unit="photo"))
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

    def crops(self, count: int, size: int, seed: tuple[int, ...]) -> np.ndarray:
        """``count`` random crops, scaled by 0.5 to 1, flipped, brightened: uint8 (count, size, size, 3)."""
        rng = np.random.default_rng(seed)
        return np.stack([_crop(self.train[rng.integers(len(self.train))], size, rng) for _ in range(count)])


def _crop(photo: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    height, width = photo.shape[:2]
    largest = min(height, width, 2 * size)
    span = int(rng.integers(min(size, largest), largest + 1)) if rng.random() < 0.5 else min(size, largest)
    top, left = rng.integers(height - span + 1), rng.integers(width - span + 1)
    crop = photo[top : top + span, left : left + span]
    if span != size:
        crop = np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BICUBIC))
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if rng.random() < 0.1:
        crop = crop[..., rng.permutation(3)]
    return crop


def patches(photos: list[np.ndarray], count: int, size: int = 16, seed: int = 0) -> np.ndarray:
    """Random patches for the KLT: uint8 (count, size, size, 3)."""
    rng = np.random.default_rng(seed)
    chosen = np.empty((count, size, size, 3), np.uint8)
    for patch in chosen:
        photo = photos[rng.integers(len(photos))]
        top, left = (rng.integers(side - size + 1) for side in photo.shape[:2])
        patch[:] = photo[top : top + size, left : left + size]
    return chosen
