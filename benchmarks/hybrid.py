"""Exact sizes, cut files, tiny files, completion: what one stream gives between compression and generation.

    python benchmarks/hybrid.py KODAK --features squeezenet1_1.safetensors --json results/kodak/hybrid.json

ThumbHash and BlurHash are measured where their packages are installed: pip install thumbhash blurhash.
"""

import argparse
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pqmim import Codec
from pqmim.bitstream.container import read
from pqmim.errors import PqmimError
from pqmim.evaluation.features import SqueezeNetDistance
from pqmim.evaluation.machine import machine, versions
from pqmim.evaluation.metrics import psnr
from pqmim.evaluation.results import write_results

PARTS = ("sizes", "tiny", "completion", "cuts")
SIZES = (100, 200, 500, 1000, 5000, 20000)
PREFIX_QUALITY = 50
CUT_QUALITY = 10
TINY = 200  # bytes

Photos = dict[str, np.ndarray]
Distance = Callable[[np.ndarray, np.ndarray], float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--features", type=Path, required=True, metavar="FILE", help="SqueezeNet 1.1 weights")
    parser.add_argument("--json", type=Path, default=Path("results/kodak/hybrid.json"), metavar="FILE")
    parser.add_argument("--cuts", type=int, default=200, metavar="N", help="random cuts a photo (default: 200)")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure these anew, keep the rest of the JSON")
    parser.add_argument("--threads", type=int, metavar="N")
    args = parser.parse_args()
    codec, distance = Codec(threads=args.threads), SqueezeNetDistance(args.features)
    paths = sorted(path for path in args.folder.iterdir() if path.suffix.lower() in {".png", ".webp"})
    photos = {path.name: np.asarray(Image.open(path).convert("RGB")) for path in paths}
    parts: dict[str, Callable[[], object]] = {
        "sizes": lambda: [exact_size(codec, photos, size) for size in SIZES],
        "tiny": lambda: tiny(codec, photos, distance),
        "completion": lambda: completion(codec, photos, distance),
        "cuts": lambda: cuts(codec, photos, args.cuts),
    }
    results = json.loads(args.json.read_text()) if args.only else {}
    results |= {"dataset": args.folder.resolve().name, "images": len(photos), "weights": f"{codec.release.id:03x}"}
    results |= {"machine": machine(args.threads), "versions": versions()}
    for name in args.only or PARTS:  # what is measured is kept, should the rest be cut short
        results[name] = parts[name]()
        write_results(results, args.json, force=True)


def exact_size(codec: Codec, photos: Photos, size: int) -> dict:
    """Files of a size: what is left of it, how good they are, how many trials and seconds the search takes."""
    unused, fidelity, seconds, scales, trials, over = [], [], [], [], [], 0
    for rgb in tqdm(photos.values(), desc=f"{size} bytes", unit="photo"):
        start = time.perf_counter()
        encoded = codec.encode(rgb, size=size)
        seconds.append(time.perf_counter() - start)
        data = encoded.data
        trials.append(encoded.trials)
        over += len(data) > size
        unused.append(size - len(data))
        fidelity.append(psnr(rgb, _decoded(codec, data)))
        scales.append(encoded.scale)
    return _rounded(
        {
            "bytes": size,
            "over": over,
            "unused_bytes": np.mean(unused),
            "psnr": np.mean(fidelity),
            "trials": np.mean(trials),
            "seconds": np.mean(seconds),
            "scale": np.mean(scales),
        }
    )


def tiny(codec: Codec, photos: Photos, distance: Distance) -> dict:
    """A whole photo in 200 bytes, beside whatever else fits there."""
    ways: dict[str, Callable[[np.ndarray], tuple[int, np.ndarray] | None]] = {
        "pqmim": lambda rgb: _sized(codec, rgb, "expect"),
        "pqmim, sampled": lambda rgb: _sized(codec, rgb, "sample"),
        "webp, shrunk": lambda rgb: _shrunk(rgb, "WEBP", {"method": 6}),
        "jpeg, shrunk": lambda rgb: _shrunk(rgb, "JPEG", {"optimize": True}),
        "avif, shrunk": lambda rgb: _shrunk(rgb, "AVIF", {"speed": 4}),
        "jxl, shrunk": lambda rgb: _shrunk(rgb, "JXL", {"effort": 9}),
        "thumbhash": _thumbhash,
        "blurhash": _blurhash,
    }
    found = {}
    for name, way in ways.items():
        rows = []
        for rgb in tqdm(photos.values(), desc=name, unit="photo"):
            made = way(rgb)
            if made is None:
                break
            rows.append((made[0], psnr(rgb, made[1]), distance(rgb, made[1])))
        found[name] = (
            _rounded(dict(zip(("bytes", "psnr", "squeezenet"), np.mean(rows, 0)))) if len(rows) == len(photos) else None
        )
    files = [codec.compress(rgb, size=TINY) for rgb in photos.values()]
    start = time.perf_counter()
    for data in files:
        codec.decompress(data)
    return {"bytes": TINY, "ways": found, "decode_s": round((time.perf_counter() - start) / len(files), 4)}


def _sized(codec: Codec, rgb: np.ndarray, complete: str) -> tuple[int, np.ndarray]:
    data = codec.compress(rgb, size=TINY)
    return len(data), _decoded(codec, data, complete=complete)


def _shrunk(rgb: np.ndarray, form: str, options: dict) -> tuple[int, np.ndarray] | None:
    """The best of all sizes and a few qualities whose file fits, enlarged again; None if none does."""
    best = None
    height, width = rgb.shape[:2]
    try:
        if form == "JXL":
            import pillow_jxl  # noqa: F401
        for part in range(6, 97, 2):
            small = Image.fromarray(rgb).resize((part, max(1, part * height // width)), Image.Resampling.LANCZOS)
            for quality in (0, 10, 30, 50):
                buffer = io.BytesIO()
                small.save(buffer, form, quality=quality, **options)
                if len(buffer.getvalue()) <= TINY:
                    large = Image.open(buffer).convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
                    fidelity = psnr(rgb, np.asarray(large))
                    if best is None or fidelity > best[0]:
                        best = fidelity, len(buffer.getvalue()), np.asarray(large)
            if best is None and part > 12:
                return None  # not even these few pixels fit
    except (ImportError, KeyError):
        return None
    return best and best[1:]


def _thumbhash(rgb: np.ndarray) -> tuple[int, np.ndarray] | None:
    try:
        import thumbhash
    except ImportError:
        return None
    small = Image.fromarray(rgb)
    small.thumbnail((100, 100))
    pixels = np.asarray(small.convert("RGBA")).ravel().tolist()
    hashed = thumbhash.rgba_to_thumb_hash(small.width, small.height, pixels)
    image = Image.fromarray(thumbhash_pixels(bytes(hashed), *small.size))
    return len(hashed), np.asarray(image.resize(rgb.shape[1::-1], Image.Resampling.BICUBIC))


def thumbhash_pixels(data: bytes, width: int, height: int) -> np.ndarray:
    """An opaque ThumbHash as pixels (height, width, 3); the package's own decoder (0.1.2) draws one column for all.

    Fields after evanw.github.io/thumbhash: brightness and two colour differences, each a mean and a triangle of
    cosine coefficients of four bits.
    """
    head, more = int.from_bytes(data[:3], "little"), int.from_bytes(data[3:5], "little")
    means = (head & 63) / 63, (head >> 6 & 63) / 31.5 - 1, (head >> 12 & 63) / 31.5 - 1
    scales = (head >> 18 & 31) / 31, (more >> 3 & 63) / 63 * 1.25, (more >> 9 & 63) / 63 * 1.25
    terms = (7, max(3, more & 7)) if more >> 15 else (max(3, more & 7), 7)
    nibbles = iter([(byte >> shift & 15) / 7.5 - 1 for byte in data[5:] for shift in (0, 4)])
    x, y = (np.pi * (np.arange(side) + 0.5) / side for side in (width, height))
    planes = []
    for mean, scale, (nx, ny) in zip(means, scales, (terms, (3, 3), (3, 3))):
        plane = np.full((height, width), mean)
        for cy in range(ny):
            for cx in range(0 if cy else 1, -(-nx * (ny - cy) // ny)):
                plane += 2 * scale * next(nibbles) * np.outer(np.cos(cy * y), np.cos(cx * x))
        planes.append(plane)
    light, p, q = planes
    blue = light - 2 / 3 * p
    red = (3 * light - blue + q) / 2
    return (np.stack([red, red - q, blue], -1) * 255).round().clip(0, 255).astype(np.uint8)


def _blurhash(rgb: np.ndarray) -> tuple[int, np.ndarray] | None:
    """At its largest, 9 x 9 components."""
    try:
        import blurhash
    except ImportError:
        return None
    small = Image.fromarray(rgb)
    small.thumbnail((64, 64))
    hashed = blurhash.encode(np.asarray(small).tolist(), components_x=9, components_y=9)
    image = Image.fromarray(np.array(blurhash.decode(hashed, *small.size)).clip(0, 255).astype(np.uint8))
    return len(hashed), np.asarray(image.resize(rgb.shape[1::-1], Image.Resampling.BICUBIC))


def completion(codec: Codec, photos: Photos, distance: Distance) -> dict:
    """Half of the codes sent: what the prior makes of the rest, against leaving it at its codebook's mean.

    The half is the first one in coding order, or every other position like the fields of a chessboard.
    """
    rows: dict[str, dict[str, list]] = {
        half: {way: [] for way in ("expect", "sample", "none")} for half in ("first", "chessboard")
    }
    for rgb in tqdm(photos.values(), desc="completion", unit="photo"):
        data = codec.compress(rgb, PREFIX_QUALITY)
        low, high = read(data).header_size + 2, len(data)
        while high - low > 1:  # the shortest prefix that determines half of the codes
            middle = (low + high) // 2
            low, high = (middle, high) if codec.receive(data[:middle]).share < 0.5 else (low, middle)
        received = codec.receive(data)
        fields = np.indices(received.shape).sum(0).ravel() % 2
        chessboard = received.without(fields == 1)
        for way in ("expect", "none", "sample"):
            decoded = _decoded(codec, data[:high], complete=way)
            rows["first"][way].append((psnr(rgb, decoded), distance(rgb, decoded)))
            decoded = np.asarray(codec.render(chessboard, complete=way).image)
            rows["chessboard"][way].append((psnr(rgb, decoded), distance(rgb, decoded)))
    return {
        half: {way: _rounded(dict(zip(("psnr", "squeezenet"), np.mean(found, 0)))) for way, found in ways.items()}
        for half, ways in rows.items()
    }


def cuts(codec: Codec, photos: Photos, count: int) -> dict:
    """Cut files decode to the codes of whole ones: every byte of a 2 kB file, random places of every photo's."""
    rng = np.random.default_rng(0)
    tried = wrong = 0
    for number, rgb in enumerate(tqdm(photos.values(), desc="cuts", unit="photo")):
        files = [(codec.compress(rgb, CUT_QUALITY), count)]
        if number == 0:
            files.append((codec.compress(rgb, size=2000), None))
        for data, places in files:
            whole = codec.receive(data)
            every = range(read(data).header_size, len(data))
            for end in every if places is None else rng.choice(every, min(places, len(every)), replace=False):
                tried += 1
                try:
                    found = codec.receive(data[:end])
                    wrong += not np.array_equal(found.codes[found.known], whole.codes[found.known])
                except PqmimError:
                    wrong += 1
    return {"tried": tried, "wrong": wrong}


def _decoded(codec: Codec, data: bytes, **options: str) -> np.ndarray:
    return np.asarray(codec.decompress(data, **options))


def _rounded(row: dict) -> dict:
    return {key: round(float(value), 4) for key, value in row.items()}


if __name__ == "__main__":
    main()
