"""What the first bytes of a file show: the PSNR of its prefixes, beside files made for that size, and their colours.

    pip install -e '.[eval]'
    python benchmarks/prefix.py KODAK --json results/kodak/prefix.json

One file a photo at quality 50 is cut at several shares of its bytes and decoded. At some shares, a file made for exactly
that many bytes stands beside. Colours are compared on pictures made 16 times smaller each way, by CIEDE2000: below that
a prefix has no detail to be right about.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

import pqmim
from pqmim import Codec
from pqmim.evaluation.machine import machine, versions
from pqmim.evaluation.metrics import colour_error, psnr
from pqmim.evaluation.results import write_results
from pqmim.evaluation.run import find_photos

QUALITY = 50
SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MADE = (0.05, 0.2, 0.5)  # shares beside which a file is made for that size


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path, default=Path("results/kodak/prefix.json"), metavar="FILE")
    parser.add_argument("--weights", type=Path, metavar="FILE")
    parser.add_argument("--threads", type=int, metavar="N")
    args = parser.parse_args()
    codec, photos = Codec(args.weights, threads=args.threads), find_photos(args.folder)
    facts = {
        "dataset": args.folder.resolve().name,
        "images": len(photos),
        "weights": f"{codec.release.id:03x}",
        "machine": machine(args.threads),
        "versions": versions(),
    }
    write_results(facts | measure(codec, photos), args.json, force=True)


def measure(codec: Codec, photos: list[Path]) -> dict[str, object]:
    """Means over photos, by share of the file's bytes; CIEDE2000 of prefixes and of the files made for their size."""
    rows = [one(codec, Image.open(path).convert("RGB")) for path in tqdm(photos, desc="prefixes", unit="photo")]
    fidelity, colour = (np.mean([row[key] for row in rows], 0) for key in ("psnr", "colour"))
    made, made_colour = (np.mean([row[key] for row in rows], 0) for key in ("made", "made_colour"))
    return {
        "quality": QUALITY,
        "shares": list(SHARES),
        "psnr": [round(float(value), 3) for value in fidelity],
        "ciede2000": [round(float(value), 3) for value in colour],
        "largest_step_down": round(float(max(0, (fidelity[:-1] - fidelity[1:]).max())), 4),
        "made_for_size": {str(share): round(float(value), 3) for share, value in zip(MADE, made, strict=True)},
        "made_ciede2000": {str(share): round(float(value), 3) for share, value in zip(MADE, made_colour, strict=True)},
    }


def one(codec: Codec, photo: Image.Image) -> dict[str, list[float]]:
    """The figures of one photo."""
    rgb = np.asarray(photo)
    data = codec.encode(photo, QUALITY).data
    header = int(pqmim.info(data)["header_bytes"])
    cut = {share: max(header + 1, round(share * len(data))) for share in SHARES}
    prefixes = [decoded(codec, data[: cut[share]]) for share in SHARES]
    made = [decoded(codec, codec.encode(photo, size=cut[share]).data) for share in MADE]
    return {
        "psnr": [psnr(rgb, picture) for picture in prefixes],
        "colour": [colour_error(rgb, picture) for picture in prefixes],
        "made": [psnr(rgb, picture) for picture in made],
        "made_colour": [colour_error(rgb, picture) for picture in made],
    }


def decoded(codec: Codec, data: bytes) -> NDArray[np.uint8]:
    """The picture of a file or of its beginning."""
    return np.asarray(codec.render(codec.receive(data)).image.convert("RGB"))


if __name__ == "__main__":
    main()
