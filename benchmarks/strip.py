"""The README's picture: one photo at 200, 1,000 and 10,000 bytes, beside WebP and AVIF of at most as many.

    python benchmarks/strip.py --out docs/strip.jpg

The photo is the demo's. WebP and AVIF get it at the size, of some, whose best file that fits has the least squared error once the
picture is enlarged again. A rival that fits at no size leaves its place empty.
"""

import argparse
import io
from bisect import bisect_right
from pathlib import Path

import numpy as np
from PIL import Image

from pqmim import Codec
from pqmim.evaluation.metrics import psnr
from pqmim.image.contact_sheet import Cell, contact_sheet

PHOTO = Path(__file__).parents[1] / "demo" / "coffee.png"
SIZES = (200, 1_000, 10_000)  # bytes
SHARES = (1.0, 0.75, 0.5, 0.35, 0.25, 0.18, 0.125, 0.09, 0.06, 0.04)  # of the width
QUALITIES = range(0, 100, 3)
RIVALS = {"WebP": ("WEBP", {"method": 6}), "AVIF": ("AVIF", {"speed": 6})}
WIDTH = 360  # of a picture in the strip, pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photo", type=Path, default=PHOTO)
    parser.add_argument("--look", default="faithful", help="faithful, vivid, or a number between 0 and 1")
    parser.add_argument("--out", type=Path, default=Path("docs/strip.jpg"))
    args = parser.parse_args()
    photo = Image.open(args.photo).convert("RGB")
    codec = Codec()
    rows = [[ours(codec, photo, size, args.look) for size in SIZES]]
    for name, (form, options) in RIVALS.items():
        rows.append([rival(photo, name, form, options, size) for size in SIZES])
    contact_sheet(rows, args.out, force=True)


def ours(codec: Codec, photo: Image.Image, size: int, look: str) -> Cell:
    """The photo through a file of exactly that size."""
    data = codec.compress(photo, size=size)
    picture = codec.decompress(data, look=look if look in ("faithful", "vivid") else float(look))
    return cell(photo, picture, "pqmim", len(data))


def rival(photo: Image.Image, name: str, form: str, options: dict, size: int) -> Cell:
    """The photo through the rival's best file of at most that size."""
    best = best_file(photo, form, options, size)
    if best is None:
        return Cell(Image.new("RGB", (WIDTH, WIDTH * photo.height // photo.width), "#eeeef2"), f"{name}\ndoes not fit")
    return cell(photo, best[1], name, best[0])


def best_file(photo: Image.Image, form: str, options: dict, size: int) -> tuple[int, Image.Image] | None:
    """Bytes and picture of the file of at most `size` bytes that has the least squared error; None where none fits."""
    best: tuple[float, int, Image.Image] | None = None
    for share in SHARES:
        small = photo.resize([max(1, round(side * share)) for side in photo.size], Image.Resampling.LANCZOS)

        def coded(quality: int, small: Image.Image = small) -> bytes:
            buffer = io.BytesIO()
            small.save(buffer, form, quality=quality, **options)
            return buffer.getvalue()

        fitting = bisect_right(QUALITIES, size, key=lambda quality: len(coded(quality)))  # higher ones are longer
        if fitting == 0:
            continue
        data = coded(QUALITIES[fitting - 1])
        with Image.open(io.BytesIO(data)) as decoded:
            picture = decoded.convert("RGB").resize(photo.size, Image.Resampling.BICUBIC)
        fidelity = psnr(np.asarray(photo), np.asarray(picture))
        if best is None or fidelity > best[0]:
            best = fidelity, len(data), picture
    return best[1:] if best else None


def cell(photo: Image.Image, picture: Image.Image, name: str, size: int) -> Cell:
    """A picture of the strip, with its bytes and its PSNR."""
    fidelity = psnr(np.asarray(photo), np.asarray(picture))
    small = picture.resize((WIDTH, WIDTH * photo.height // photo.width), Image.Resampling.LANCZOS)
    return Cell(small, f"{name}\n{size:,} bytes, {fidelity:.1f} dB")


if __name__ == "__main__":
    main()
