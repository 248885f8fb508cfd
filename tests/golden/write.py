"""Writes golden files for the packaged weights: `python tests/golden/write.py`, once a release, never again for it."""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from pqmim.codec import Codec

FOLDER = Path(__file__).parent
PHOTO = FOLDER.parents[1] / "demo" / "coffee.png"


def main() -> None:
    codec = Codec()
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    odd = photo[100:137, 200:253]
    alpha = np.tile(np.arange(53, dtype=np.uint8) * 4, (37, 1))
    pictures = {f"coffee-q{quality}": (photo, quality) for quality in (0, 20, 50, 90)}
    pictures |= {"pixel-q50": (photo[:1, :1], 50), "odd-q100": (odd, 100), "alpha-q40": (np.dstack([odd, alpha]), 40)}
    records = json.loads((FOLDER / "digests.json").read_text()) if (FOLDER / "digests.json").exists() else {}
    for name, (picture, quality) in pictures.items():
        data = codec.compress(picture, quality)
        decoded = np.asarray(codec.decompress(data))
        name = f"{codec.weights.id:03x}-{name}.pqm"
        (FOLDER / name).write_bytes(data)
        records[name] = {
            "file": hashlib.sha256(data).hexdigest(),
            "codes": hashlib.sha256(codec.codes(data).tobytes()).hexdigest(),
            "shape": list(decoded.shape),
            "mean": [round(float(value), 3) for value in decoded.mean((0, 1))],
        }
    (FOLDER / "digests.json").write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
