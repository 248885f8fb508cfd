"""What files under 2 kB cost at worst: CPU seconds and peak memory under the default limits.

    python benchmarks/bombs.py --json results/bombs.json

Each file claims as many pixels as its bytes may, at each scale, in several forms and shapes. Payloads are random bytes,
or *likely*: the codes that the prior expects most, of which the most fit into the bytes. Each file is decoded in
processes of their own, by `pqmim.decompress` and by `pqmim decompress` to PNG; the seconds are user and system time of
the whole process, the least of some runs. This file imports what is heavy only where files are made, in another
process: on Linux a child's peak of memory starts at that of its parent.
"""

import argparse
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BYTES = 999
SHAPES = {"square": 1.0, "wide": 90.0, "tall": 1 / 90}
BY_CALL = "import sys, pqmim; pqmim.decompress(open(sys.argv[1], 'rb').read())"
WAYS = {"call": ("-c", BY_CALL, "{file}"), "command": ("-m", "pqmim", "decompress", "{file}", "{picture}", "--force")}


def made() -> Iterator[tuple[str, bytes]]:
    """Names of files, and the files."""
    import numpy as np

    from pqmim import Codec
    from pqmim.bitstream import Header, Kind, Tag, write
    from pqmim.image.alpha import encode_alpha

    codec = Codec()
    id_ = codec.release.id
    noise = random.Random(0).randbytes(BYTES)
    largest = sides(BYTES, 1.0)
    yield "nothing: 16x16", write(Header(16, 16, 50, id_, framed=False), b"\0", {}, b"")
    for scale in range(4):
        for quality in (0, 100):
            header = Header(*largest, quality, id_, scale, framed=False)
            yield f"scale {scale}, quality {quality}", (header.pack() + noise)[:BYTES]
    for scale, quality in ((2, 0), (3, 50)):
        header = Header(*largest, quality, id_, scale, framed=False)
        payload = likely(codec, header, BYTES - len(header.pack()))
        yield f"scale {scale}, quality {quality}, likely", (header.pack() + payload).ljust(BYTES, b"\0")
    for name, side, scale in (("whole", 3456, 2), ("half", 2848, 1)):  # as many positions as are rendered so
        header = Header(side, side, 100, id_, scale, framed=False)
        yield f"scale {scale}, quality 100, {name}", (header.pack() + noise)[:BYTES]
    for shape in ("wide", "tall"):
        header = Header(*sides(BYTES, SHAPES[shape]), 0, id_, 3, framed=False)
        yield f"scale 3, quality 0, {shape}", (header.pack() + noise)[:BYTES]
    grey = Header(*largest, 0, id_, 3, framed=False, kind=Kind.GREY)
    yield "scale 3, quality 0, grey", (grey.pack() + noise)[:BYTES]
    framed = Header(*largest, 0, id_, 3)
    yield "scale 3, quality 0, framed and cut", write(framed, noise + noise, {}, b"")[:BYTES]
    framed = Header(*sides(BYTES - 60, 1.0), 0, id_, 3)  # the files below are somewhat shorter
    alpha = encode_alpha(np.tile(np.arange(framed.width, dtype=np.uint8) // 128, (framed.height, 1)))
    for name, plane in (("one alpha", b"\0\x80"), ("VP8L alpha", alpha)):
        yield (
            f"scale 3, quality 0, {name}",
            write(framed, noise[: BYTES - 60 - len(plane)], {Tag.ALPHA: plane}, b"")[:-4],
        )
    yield "flat", write(Header(*sides(9, 1.0), 0, 0, framed=False, kind=Kind.FLAT), b"abc", {}, b"")


def sides(size: int, ratio: float) -> tuple[int, int]:
    """Width and height of the largest picture of about a ratio that a file of `size` bytes may claim."""
    from pqmim.dial import most_pixels

    width = min(65536, int((most_pixels(size) * ratio) ** 0.5))
    return width, most_pixels(size) // width


def likely(codec: Any, header: Any, room: int) -> bytes:
    """The payload of the codes that the prior expects most, as many as fit into `room` bytes."""
    import numpy as np

    from pqmim.coding.loop import fill, turns
    from pqmim.coding.range_coder import PRECISION, RangeEncoder

    grid = codec.empty_grid(header)
    engine = codec.engine_of(codec.empty(16, 16))
    encoder, left = RangeEncoder(), 8.0 * room

    def choose(m: int, positions: Any, frequencies: Any) -> Any:
        nonlocal left
        codes = np.diff(frequencies.cumulative()).argmax(1).astype(np.uint8)
        intervals = frequencies.intervals(codes)
        encoder.encode(*intervals)
        left -= float((PRECISION - np.log2(intervals[1])).sum())
        if left < 0:
            raise StopIteration
        return codes

    context = engine.reception.prior.context(grid.height, grid.width, header.quality)
    with contextlib.suppress(StopIteration):
        fill(grid, context, turns(codec.release.record.groups, grid), choose)
    return encoder.finish()[:room]


def cost(words: list[str]) -> tuple[float, float]:
    """CPU seconds, user and system, and peak megabytes of a process."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words} failed")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6


def row(file: Path, runs: int) -> dict[str, Any]:
    """What one file costs in each way."""
    found: dict[str, Any] = {"bytes": file.stat().st_size}
    picture = file.with_suffix(".png")
    for way, words in WAYS.items():
        costs = [cost([word.format(file=file, picture=picture) for word in words]) for _ in range(runs)]
        found[f"{way}_cpu_s"] = round(min(seconds for seconds, _ in costs), 2)
        found[f"{way}_peak_mb"] = round(max(peak for _, peak in costs))
    found["png_mb"] = round(picture.stat().st_size / 1e6, 1)
    picture.unlink()
    return found


def make(folder: Path) -> None:
    """Write the files, and what they are called and claim."""
    from pqmim.bitstream import read
    from pqmim.evaluation.machine import cpu_model, versions

    files = {}
    for number, (name, data) in enumerate(made()):
        (folder / f"{number}.pqm").write_bytes(data)
        header = read(data).header
        files[name] = round(header.width * header.height / 1e6, 1)
    (folder / "made.json").write_text(json.dumps({"cpu": cpu_model(), "versions": versions(), "files": files}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write")
    parser.add_argument("--runs", type=int, default=2, help="of each file in each way")
    parser.add_argument("--make", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.make:
        make(args.make)
        return
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, __file__, "--make", name], check=True)
        known = json.loads((Path(name) / "made.json").read_text())
        rows = {}
        for number, (file, megapixels) in enumerate(known["files"].items()):
            rows[file] = {"megapixels": megapixels, **row(Path(name) / f"{number}.pqm", args.runs)}
            print(f"{file:36}{rows[file]}", flush=True)
    keys = [f"{way}_{what}" for way in WAYS for what in ("cpu_s", "peak_mb")]
    record = {
        "command": f"python benchmarks/bombs.py --json results/bombs.json --runs {args.runs}",
        "cpu": known["cpu"],
        "versions": known["versions"],
        "most": {key: max(row[key] for row in rows.values()) for key in keys},
        "files": rows,
    }
    print(json.dumps(record["most"]))
    if args.json:
        args.json.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
