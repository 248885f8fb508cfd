"""Seconds and peak memory of pqmim and of Pillow's codecs, in one run, in units of AVIF's encoding.

    python benchmarks/speed.py --json results/speed.json
    python benchmarks/speed.py --json results/speed.json --isa avx2         # as on a processor with no more than AVX2
    python benchmarks/speed.py --json results/speed.json --neighbours 2     # beside two processes that never rest

Each figure comes from a process of its own, so that its peak memory is its own. That is also why this file imports what
is heavy only where such a process runs it: on Linux a child's peak starts at that of its parent. A run takes the place of
earlier ones of the same processor, instructions and neighbours in the JSON; other runs stay.
"""

import argparse
import json
import math
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PHOTO = Path(__file__).parents[1] / "demo" / "coffee.png"
MEGAPIXELS = (0.4, 12)
SETTINGS = {"pqmim": 50, "pqmim-fast": 50, "pqmim-vivid": 50, "jpeg": 50, "webp": 50, "avif": 50, "avif-444": 50}
DEFAULT = ("pqmim", "avif", "avif-444")
UNIT = ("avif", "compress")  # what the CPU seconds of one thread are told in
DIRECTIONS = ("compress", "decompress")
MOST_CALLS, MOST_SECONDS = 5, 10.0
POOLS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
HELD = {  # to the instructions of a plainer processor; set before anything is loaded
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "PQMIM_NATIVE": "avx2"},
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("results/speed.json"), metavar="FILE")
    parser.add_argument("--codec", action="append", choices=SETTINGS, help=f"default: {', '.join(DEFAULT)}")
    parser.add_argument("--megapixels", type=float, nargs="+", default=MEGAPIXELS, metavar="N")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the wall seconds")
    parser.add_argument("--isa", choices=HELD, help="hold all libraries to these instructions")
    parser.add_argument("--neighbours", type=int, default=0, metavar="N", help="busy processes beside")
    args = parser.parse_args()
    if args.isa and any(os.environ.get(key) != value for key, value in HELD[args.isa].items()):
        os.environ.update(HELD[args.isa])  # the processes that measure inherit it
    rows = []
    print(f"{'codec':12}{'direction':12}{'Mpx':>6}{'bytes':>11}{'CPU s':>9}{'wall s':>9}{'peak MB':>9}")
    with tempfile.TemporaryDirectory() as folder, busy(args.neighbours):
        for megapixels in args.megapixels:
            picture = Path(folder) / "picture.png"
            alone(make_picture, picture, megapixels)
            for codec in args.codec or DEFAULT:
                for row in measure(codec, picture, args.threads):
                    rows.append({"codec": row.pop("codec"), "megapixels": megapixels, **row})
                    print(table_line(rows[-1]), flush=True)
    run = {
        "isa": args.isa or "all",
        "neighbours": args.neighbours,
        "machine": alone(described, args.threads),
        "versions": alone(used),
        "units": units(rows),
        "growth": growth(rows),
        "rows": rows,
    }
    write(run, args.json)


def measure(codec: str, picture: Path, threads: int) -> list[dict[str, Any]]:
    """Both directions of one codec: CPU seconds of one thread, wall seconds of one and of several, peak memory."""
    file = picture.with_suffix(f".{codec}")
    rows = []
    for direction, work in zip(DIRECTIONS, (compress, decompress), strict=True):
        one, several = (on(count, work, codec, picture, file) for count in (1, threads))
        row = {"codec": codec, "direction": direction, "bytes": one["bytes"], "cpu_s": one["cpu_s"]}
        row |= {"wall_s_1": one["wall_s"], "wall_s": several["wall_s"], "peak_mb": several["peak_mb"]}
        if codec == "pqmim":
            own = picture.with_suffix(".pqm")
            words = (picture, own) if direction == "compress" else (own, picture.with_name("back.png"))
            row |= run_command(direction, *words, "--threads", threads, "--force")
        rows.append(row)
    return rows


def compress(codec: str, picture: Path, file: Path, threads: int) -> dict[str, float]:
    """One codec's encoding, in this process."""
    from pqmim.evaluation.codecs import make_codec
    from pqmim.image.picture import read_picture

    coder, rgb = make_codec(codec, threads=threads), read_picture(picture).rgb
    data, times = steady(lambda: coder.encode(rgb, SETTINGS[codec]))
    file.write_bytes(data)
    return {"bytes": len(data)} | times


def decompress(codec: str, picture: Path, file: Path, threads: int) -> dict[str, float]:
    """One codec's decoding, in this process."""
    from pqmim.evaluation.codecs import make_codec

    coder, data = make_codec(codec, threads=threads), file.read_bytes()
    _, times = steady(lambda: coder.decode(data))
    return {"bytes": len(data)} | times


def steady(function: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """A result, and the least CPU and wall seconds of up to five calls, fewer where they take long.

    One call before them, which does not count, pays for what they find ready.
    """
    result, wall, cpu = function(), [], []
    while len(wall) < MOST_CALLS and sum(wall) < MOST_SECONDS:
        start = time.perf_counter(), time.process_time()
        result = function()
        wall.append(time.perf_counter() - start[0])
        cpu.append(time.process_time() - start[1])
    peak = megabytes(resource.getrusage(resource.RUSAGE_SELF))
    return result, {"cpu_s": round(min(cpu), 4), "wall_s": round(min(wall), 4), "peak_mb": peak}


def run_command(*words: object) -> dict[str, float]:
    """A whole `pqmim` command, as a person waits for it: from the start of Python to its end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pqmim", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"pqmim {' '.join(map(str, words))} failed")
    return {"command_s": round(seconds, 4), "command_peak_mb": megabytes(usage)}


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes beside this one that never rest."""
    neighbours = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(count)]
    for neighbour in neighbours:
        neighbour.start()
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.terminate()
            neighbour.join()


def spin() -> None:
    """Keep one core busy, until this process or its parent is ended."""
    while multiprocessing.parent_process() is None or multiprocessing.parent_process().is_alive():
        sum(range(10**6))


def make_picture(path: Path, megapixels: float) -> None:
    """The sample photo in the format 3:2, made smaller, or continued by its mirror images at its own scale.

    Heights are multiples of 16, as most photos': 0.4 megapixels are Kodak's 768x512.
    """
    import numpy as np
    from PIL import Image

    height = 16 * round(math.sqrt(megapixels * 1e6 / 1.5) / 16)
    width = round(1.5 * height)
    with Image.open(PHOTO) as photo:
        if width < photo.width:
            rgb = np.asarray(photo.convert("RGB").resize((width, height), Image.Resampling.LANCZOS))
        else:
            rgb = np.asarray(photo.convert("RGB"))
    missing = (height - rgb.shape[0], width - rgb.shape[1])
    rgb = np.pad(rgb, [(0, missing[0]), (0, missing[1]), (0, 0)], mode="symmetric")  # (height, width, 3)
    Image.fromarray(rgb).save(path, compress_level=1)


def units(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """CPU seconds of one thread in units of AVIF's encoding at the same size: {megapixels: {"pqmim compress": ...}}."""
    found: dict[str, dict[str, float]] = {}
    for size in dict.fromkeys(row["megapixels"] for row in rows):
        here = {(row["codec"], row["direction"]): row["cpu_s"] for row in rows if row["megapixels"] == size}
        if UNIT in here:
            found[f"{size:g}"] = {" ".join(key): round(value / here[UNIT], 3) for key, value in here.items()}
    return found


def growth(rows: list[dict[str, Any]]) -> dict[str, float]:
    """CPU seconds a pixel at the largest size, as a multiple of those at the smallest: {"pqmim compress": ...}."""
    sizes = sorted({row["megapixels"] for row in rows})
    found = {}
    for row in rows:
        if row["megapixels"] != sizes[-1] or len(sizes) < 2:
            continue
        key = row["codec"], row["direction"]
        (small,) = (r for r in rows if (r["codec"], r["direction"], r["megapixels"]) == (*key, sizes[0]))
        found[" ".join(key)] = round(row["cpu_s"] / sizes[-1] / (small["cpu_s"] / sizes[0]), 3)
    return found


def alone(function: Callable[..., Any], *args: object) -> Any:
    """The function's result from a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *args).result()


def on(threads: int, function: Callable[..., Any], *args: object) -> Any:
    """The function's result from a fresh process whose libraries use no more threads than the codec is given."""
    before = dict(os.environ)
    os.environ.update(dict.fromkeys(POOLS, str(threads)))  # read when a library is loaded
    try:
        return alone(function, *args, threads)
    finally:
        os.environ.clear()
        os.environ.update(before)


def megabytes(usage: resource.struct_rusage) -> float:
    """Peak resident memory in units of 10^6 bytes; macOS counts in bytes, Linux in KiB."""
    return round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def described(threads: int) -> dict[str, Any]:
    """The machine of this run."""
    from pqmim.evaluation.machine import machine

    return machine(threads)


def used() -> dict[str, str]:
    """Versions of what was measured."""
    from PIL import features

    from pqmim import Codec
    from pqmim.evaluation.machine import versions

    found = versions() | {"weights": f"{Codec().release.id:03x}"}
    return found | {
        name: features.version(part) or "unknown" for name, part in (("libavif", "avif"), ("libwebp", "webp"))
    }


def table_line(row: dict[str, Any]) -> str:
    """A row as it is printed while the benchmark runs."""
    line = f"{row['codec']:12}{row['direction']:12}{row['megapixels']:>6g}{row['bytes']:>11,}"
    return line + f"{row['cpu_s']:>9.3f}{row['wall_s']:>9.3f}{row['peak_mb']:>9,.0f}"


def write(run: dict[str, Any], path: Path) -> None:
    """The JSON with this run in the place of one like it."""
    runs = json.loads(path.read_text(encoding="utf-8")).get("runs", []) if path.exists() else []
    kept = [other for other in runs if kind(other) != kind(run)]
    alone(write_record, {"runs": [*kept, run]}, path)


def kind(run: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two runs of one kind."""
    return run["machine"]["cpu"], tuple(run["machine"]["features"]), run["isa"], run["neighbours"]


def write_record(record: dict[str, Any], path: Path) -> None:
    """Write the JSON."""
    from pqmim.evaluation.results import write_results

    write_results(record, path, force=True)


if __name__ == "__main__":
    main()
