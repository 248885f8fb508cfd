"""The pictures of docs/realism.md.

    python benchmarks/realism_pictures.py KODAK --hific LOW.safetensors --out docs/realism

Which photos, rates, parts and seeds are shown was fixed here before the first of them was drawn. Of each photo it is the
square of 256 pixels in its middle, pixel for pixel. AVIF has at most as many bytes as our file, at the size and quality
whose picture has the least squared error. HiFiC has its own rate, and the row's pictures as many bytes as it takes.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from strip import RIVALS, best_file
from tqdm import tqdm

from pqmim import Codec
from pqmim.evaluation.metrics import psnr
from pqmim.image.contact_sheet import Cell, contact_sheet
from pqmim.rivals.hific.files import HificFiles

PHOTOS = (5, 8, 13, 20, 24)  # of Kodak, from 1
RATES = (0.05, 0.1, 0.2)  # bits a pixel
TINY = 200  # bytes
SEEDS = (1, 2, 3, 4)
SIDE = 256  # pixels of a square


def main() -> None:
    """Draw the sheets."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--hific", type=Path, metavar="FILE", help="weights of a HiFiC, which get a row")
    parser.add_argument("--out", type=Path, default=Path("docs/realism"), metavar="DIR")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    codec, hific = Codec(), HificFiles([args.hific]) if args.hific else None
    paths = sorted(path for path in args.folder.iterdir() if path.suffix.lower() == ".png")
    for number in tqdm(PHOTOS, desc="draw photos", unit="photo"):
        photo = Image.open(paths[number - 1]).convert("RGB")
        rows = [row(codec, photo, round(rate * photo.width * photo.height / 8), f"{rate} bpp") for rate in RATES]
        if hific:
            rows.append(beside(codec, photo, hific))
        contact_sheet(rows, args.out / f"kodak-{number:02}.jpg", force=True)
    photo = Image.open(paths[PHOTOS[0] - 1]).convert("RGB")
    contact_sheet(variants(codec, photo), args.out / "variants.jpg", force=True)
    tiny = [whole(codec, Image.open(paths[number - 1]).convert("RGB")) for number in PHOTOS]
    contact_sheet(tiny, args.out / "tiny.jpg", force=True)


def middle(picture: Image.Image) -> Image.Image:
    """The square in the middle."""
    left, top = (picture.width - SIDE) // 2, (picture.height - SIDE) // 2
    return picture.crop((left, top, left + SIDE, top + SIDE))


def cell(photo: Image.Image, picture: Image.Image, name: str, size: int) -> Cell:
    """The middle of a picture, with its bytes, and the PSNR of the whole."""
    fidelity = psnr(np.asarray(photo), np.asarray(picture))
    return Cell(middle(picture), f"{name}\n{size:,} bytes, {fidelity:.1f} dB")


def row(codec: Codec, photo: Image.Image, size: int, name: str) -> list[Cell]:
    """The photo, both looks of one file of `size` bytes, and AVIF."""
    data = codec.compress(photo, size=size)
    cells = [Cell(middle(photo), f"the photo\n{name}")]
    for look in ("faithful", "vivid"):
        cells.append(cell(photo, codec.decompress(data, look=look), look, len(data)))
    best = best_file(photo, *RIVALS["AVIF"], size)
    empty = Cell(Image.new("RGB", (SIDE, SIDE), "#eeeef2"), "AVIF\ndoes not fit")
    return [*cells, cell(photo, best[1], "AVIF", best[0]) if best else empty]


def beside(codec: Codec, photo: Image.Image, hific: HificFiles) -> list[Cell]:
    """HiFiC, and both looks and AVIF at as many bytes."""
    data = hific.encode(np.asarray(photo), hific.settings[0])
    _, *others = row(codec, photo, len(data), "")
    return [cell(photo, Image.fromarray(hific.decode(data)), "HiFiC, trained here", len(data)), *others]


def variants(codec: Codec, photo: Image.Image) -> list[list[Cell]]:
    """Four seeds of the vivid look of one file, and how far each departs from the faithful picture."""
    data = codec.compress(photo, bpp=RATES[1])
    drawn = [codec.decompress(data, look="vivid", seed=seed) for seed in SEEDS]
    plain = np.asarray(codec.decompress(data), float)
    apart = [np.abs(np.asarray(picture, float) - plain).max(-1) for picture in drawn]
    maps = [Image.fromarray((8 * far).clip(0, 255).astype(np.uint8)) for far in apart]
    return [
        [cell(photo, picture, f"vivid, seed {seed}", len(data)) for seed, picture in zip(SEEDS, drawn)],
        [Cell(middle(far), "its distance from faithful\nwhite: 32 levels or more") for far in maps],
    ]


def whole(codec: Codec, photo: Image.Image) -> list[Cell]:
    """The photo, and both looks of a tiny file, at half the size."""
    data = codec.compress(photo, size=TINY)
    cells = [Cell(photo.resize((photo.width // 2, photo.height // 2)), "the photo")]
    for look in ("faithful", "vivid"):
        picture = codec.decompress(data, look=look)
        fidelity = psnr(np.asarray(photo), np.asarray(picture))
        half = picture.resize((photo.width // 2, photo.height // 2))
        cells.append(Cell(half, f"{look}\n{len(data)} bytes, {fidelity:.1f} dB"))
    return cells


if __name__ == "__main__":
    main()
