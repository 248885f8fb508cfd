"""The sample photo at several qualities: a table, and one picture that shows them side by side."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from PIL import Image

HERE = Path(__file__).parent
OUT = HERE / "out"
QUALITIES = (5, 25, 50, 80)
JPEG_BESIDE = 50  # the quality that a JPEG of the same size stands beside


class Trial(NamedTuple):
    """One way through the codec and back."""

    name: str
    size: int  # bytes of the file
    bpp: float
    psnr: float  # dB over RGB
    compress_s: float
    decompress_s: float
    image: Image.Image

    def row(self) -> str:
        """A line of the table."""
        return (
            f"{self.name:16}{self.size:>8,}{self.bpp:>8.3f}{self.psnr:>8.2f}"
            f"{self.compress_s:>12.2f}{self.decompress_s:>9.2f}"
        )

    def caption(self) -> str:
        """Words under the picture."""
        return f"{self.name}\n{self.size:,} bytes, {self.bpp:.3f} bpp, {self.psnr:.1f} dB"


def main() -> None:
    print("pqmim: a photo of 600x400 pixels, coffee.png, at four qualities and back.")
    print("Loading PyTorch and the weights ...", flush=True)
    from PIL import Image

    from pqmim import Codec
    from pqmim.image.contact_sheet import Cell, contact_sheet

    photo = Image.open(HERE / "coffee.png").convert("RGB")
    codec = Codec()
    codec.decompress(
        codec.compress(photo.crop((0, 0, 64, 64)), 50)
    )  # the first call pays for what later ones find ready
    OUT.mkdir(exist_ok=True)

    trials = []
    print(f"\n{'coffee.png':16}{'bytes':>8}{'bpp':>8}{'PSNR':>8}{'compress s':>12}{'back s':>9}", flush=True)
    for quality in QUALITIES:
        trials.append(run(f"pqmim, -q {quality}", photo, partial(codec.compress, photo, quality), codec.decompress))
        print(trials[-1].row(), flush=True)
        if quality == QUALITIES[0]:
            first = OUT / f"coffee-q{quality}.png"
            trials[-1].image.save(first)
            print(f"  ... which looks like this: {opening(first)}", flush=True)
    beside = trials[QUALITIES.index(JPEG_BESIDE)]
    quality = min(range(1, 96), key=lambda quality: abs(len(jpeg(photo, quality)) - beside.size))
    trials.append(run(f"JPEG, quality {quality}", photo, partial(jpeg, photo, quality), read))
    print(trials[-1].row())

    cells = [Cell(photo, f"the photo\n{photo.width}x{photo.height} pixels")]
    cells += [Cell(trial.image, trial.caption()) for trial in trials]
    contact_sheet([cells[:3], cells[3:]], OUT / "coffee.png", force=True)
    print(f"\nAll side by side: {opening(OUT / 'coffee.png')}")
    print("Your own photo:   .venv/bin/pqmim photo.jpg photo.pqm")
    print("A page to try:    .venv/bin/pip install '.[serve,qr]' && .venv/bin/pqmim serve --open")


def opening(path: Path) -> str:
    """How to open a picture on this machine."""
    command = {"darwin": "open", "win32": "start"}.get(sys.platform, "xdg-open")
    return f"{command} {path}"


def run(name: str, photo: Image.Image, compress: Callable[[], bytes], back: Callable[[bytes], Image.Image]) -> Trial:
    start = time.perf_counter()
    data = compress()
    compressed = time.perf_counter()
    image = back(data)
    end = time.perf_counter()
    bpp = 8 * len(data) / (photo.width * photo.height)
    return Trial(name, len(data), bpp, psnr(photo, image), compressed - start, end - compressed, image)


def jpeg(photo: Image.Image, quality: int) -> bytes:
    import io

    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality, progressive=True, optimize=True, subsampling="4:2:0")
    return buffer.getvalue()


def read(data: bytes) -> Image.Image:
    import io

    from PIL import Image

    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def psnr(a: Image.Image, b: Image.Image) -> float:
    import math

    import numpy as np

    error = np.mean((np.asarray(a, np.float64) - np.asarray(b, np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


if __name__ == "__main__":
    main()
