"""The pictures of docs/hybrid.md.

python benchmarks/hybrid_pictures.py KODAK --out docs/hybrid
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pqmim import Codec
from pqmim.decoder import frames
from pqmim.evaluation.metrics import psnr
from pqmim.image.contact_sheet import Cell, contact_sheet

COFFEE = Path(__file__).parents[1] / "demo" / "coffee.png"
SIZES = (100, 200, 500, 1000)
SHOWN = (2, 3, 12, 14, 20, 22)  # of Kodak, from 0
WIDTH = 384  # pixels of a picture on a sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/hybrid"), metavar="DIR")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    codec = Codec()
    paths = sorted(path for path in args.folder.iterdir() if path.suffix.lower() == ".png")
    kodak = [Image.open(paths[number]).convert("RGB") for number in SHOWN]
    own = [Image.open(COFFEE).convert("RGB"), landscape()]

    def sheet(name: str, rows: list[list[Cell]]) -> None:
        contact_sheet(rows, args.out / f"{name}.jpg", force=True)

    sheet("kodak", [sizes(codec, photo) for photo in tqdm(kodak, desc="kodak", unit="photo")])
    sheet("own", [sizes(codec, photo) for photo in own])
    sheet("variants", variants(codec, kodak[1]))
    sheet("strip", strip(codec, kodak[5]))
    sheet("repaint", [repaint(codec, own[0])])
    sheet("nothing", nothing(codec))


def cell(image: Image.Image, caption: str) -> Cell:
    return Cell(image.resize((WIDTH, WIDTH * image.height // image.width), Image.Resampling.LANCZOS), caption)


def sizes(codec: Codec, photo: Image.Image) -> list[Cell]:
    cells = [cell(photo, f"the photo\n{photo.width}x{photo.height}")]
    for size in SIZES:
        decoded = codec.decompress(codec.compress(photo, size=size))
        cells.append(cell(decoded, f"{size:,} bytes\n{psnr(np.asarray(photo), np.asarray(decoded)):.1f} dB"))
    return cells


def variants(codec: Codec, photo: Image.Image) -> list[list[Cell]]:
    """A third of a file: what the rest is expected to be, and what it may be."""
    data = codec.compress(photo, 20)
    cut = data[: len(data) // 3]
    first = [cell(codec.decompress(data), f"the whole file\n{len(data):,} bytes, quality 20")]
    first += [
        cell(codec.decompress(cut, complete=how), f"its first {len(cut):,} bytes\n{how}") for how in ("none", "expect")
    ]
    drawn = [
        cell(codec.decompress(cut, complete="sample", seed=seed, temperature=1.0), f"sample\nseed {seed}")
        for seed in range(3)
    ]
    return [first, drawn]


def strip(codec: Codec, photo: Image.Image) -> list[list[Cell]]:
    data = codec.compress(photo, 50)
    cells = [cell(image, f"{length:,} bytes\n{length / len(data):.1%}") for length, image in frames(codec, data, 8)]
    return [cells[:4], cells[4:]]


def repaint(codec: Codec, photo: Image.Image) -> list[Cell]:
    mask = np.zeros((photo.height, photo.width), bool)
    mask[photo.height // 3 : 2 * photo.height // 3, photo.width // 3 : 2 * photo.width // 3] = True
    data = codec.compress(photo, 30)
    masked = Image.fromarray(np.where(mask[..., None], 255, np.asarray(photo)).astype(np.uint8))
    cells = [cell(masked, "the mask\n")]
    return cells + [cell(codec.repaint(data, mask, seed=seed), f"painted anew\nseed {seed}") for seed in range(3)]


def nothing(codec: Codec) -> list[list[Cell]]:
    return [
        [
            cell(codec.generate(384, 256, quality=quality, seed=seed), f"quality {quality}\nseed {seed}")
            for seed in range(4)
        ]
        for quality in (10, 30, 50)
    ]


def landscape(width: int = 768, height: int = 512) -> Image.Image:
    """Evening over a lake, rendered: a sky, ridges of summed waves, and their reflection."""
    rng = np.random.default_rng(5)
    x = np.linspace(0, 1, width)
    y = np.linspace(0, 1, height)[:, None, None]
    picture = (1 - y) * np.array([60.0, 90, 150]) + y * np.array([255.0, 190, 130]) + np.zeros((height, width, 1))
    sun = np.exp(-((x[None, :, None] - 0.68) ** 2 + ((y - 0.42) * height / width) ** 2) / 0.004)
    picture += sun * np.array([90.0, 70, 20])
    rows = np.arange(height)[:, None]
    for depth, base in enumerate((0.42, 0.5, 0.58)):
        ridge = base + sum(
            rng.normal(0, 0.05 / k) * np.sin(2 * np.pi * k * (x + rng.random())) for k in (1, 2, 3, 5, 8, 13, 21, 34)
        )
        below = rows > ridge * height
        shade = np.array([70.0, 75, 100]) * (0.9 - 0.28 * depth) + rng.normal(0, 2, (height, width, 1))
        picture = np.where(below[..., None], shade, picture)
    shore = round(0.68 * height)
    mirrored = picture[shore - 1 : 2 * shore - height - 1 : -1] * 0.75
    waves = (3 * np.sin(np.arange(height - shore) ** 1.3 / 3)).astype(int)
    picture[shore:] = np.stack([np.roll(row, shift, 0) for row, shift in zip(mirrored, waves)])
    return Image.fromarray(picture.round().clip(0, 255).astype(np.uint8))


if __name__ == "__main__":
    main()
