"""Writes golden files for the packaged weights: `python tests/golden/write.py`, once a release, never again for it."""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from pqmim.codec import Codec

FOLDER = Path(__file__).parent
DOCTORS = FOLDER.parents[1] / "src" / "pqmim" / "weights"  # `pqmim doctor` decodes the file there
PHOTO = FOLDER.parents[1] / "demo" / "coffee.png"


def main() -> None:
    codec = Codec()
    photo = np.asarray(Image.open(PHOTO).convert("RGB"))
    odd = photo[100:137, 200:253]
    alpha = np.tile(np.arange(53, dtype=np.uint8) * 4, (37, 1))
    files = {f"coffee-q{quality}": codec.compress(photo, quality) for quality in (0, 20, 50, 90)}
    files |= {f"coffee-{size}-bytes": codec.compress(photo, size=size) for size in (60, 200, 2000)}
    files |= {
        "flat-q50": codec.compress(photo[:1, :1], 50),
        "pixels-q50": codec.compress(photo[:2, 1:2], 50),
        "odd-q100": codec.compress(odd, 100),
        "alpha-q40": codec.compress(np.dstack([odd, alpha]), 40),
    }
    (DOCTORS / "default.pqm").write_bytes(codec.compress(photo[100:164, 200:264], 40))
    records = json.loads((FOLDER / "digests.json").read_text()) if (FOLDER / "digests.json").exists() else {}
    for name, data in files.items():
        decoded = np.asarray(codec.decompress(data))
        received = codec.receive(data)
        name = f"{codec.release.id:03x}-{name}.pqm"
        (FOLDER / name).write_bytes(data)
        records[name] = {
            "file": hashlib.sha256(data).hexdigest(),
            "codes": hashlib.sha256(received.codes.tobytes()).hexdigest(),
            "shape": list(decoded.shape),
            "mean": [round(float(value), 3) for value in decoded.mean((0, 1))],
        }
        if name.endswith("-q20.pqm"):
            records[name]["drawn"] = {str(steps or "plan"): drawn(codec, data, steps) for steps in (None, 3)}
    (FOLDER / "digests.json").write_text(json.dumps(records, indent=1, sort_keys=True) + "\n")


def drawn(codec: Codec, data: bytes, steps: int | None) -> str:
    received = codec.receive(data[: len(data) // 2])
    return hashlib.sha256(codec.draw(received, seed=1, temperature=1.0, steps=steps).codes.tobytes()).hexdigest()


if __name__ == "__main__":
    main()
