"""Seconds and peak memory of pqmim and of Pillow's codecs, from small pictures to large ones.

    python benchmarks/speed.py --json results/speed.json --plot results/speed.svg

Each figure comes from a process of its own, so that its peak memory is its own. That is also why this file imports
what is heavy only where such a process runs it: on Linux a child's peak starts at that of its parent.
"""

import argparse
import io
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

PHOTO = Path(__file__).parents[1] / "demo" / "coffee.png"
MEGAPIXELS = (0.1, 0.4, 1, 4, 12)
SETTINGS = {"pqmim": 50, "pqmim-fast": 50, "pqmim-refined": 50, "jpeg": 50, "webp": 50, "avif": 50}
DIRECTIONS = ("compress", "decompress")
HEAD = f"{'codec':14}{'direction':12}{'Mpx':>6}{'bytes':>12}{'seconds':>9}{'peak MB':>9}{'command s':>11}{'peak MB':>9}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, default=Path("results/speed.json"), metavar="FILE")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="also draw the results: .svg or .png")
    parser.add_argument("--codec", action="append", choices=SETTINGS, help="default: all of them")
    parser.add_argument("--megapixels", type=float, nargs="+", default=MEGAPIXELS, metavar="N")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N")
    args = parser.parse_args()

    rows = []
    print(HEAD)
    with tempfile.TemporaryDirectory() as folder:
        for megapixels in args.megapixels:
            picture = Path(folder) / "picture.png"
            alone(make_picture, picture, megapixels)
            for codec in args.codec or SETTINGS:
                for row in measure(codec, picture, args.threads):
                    rows.append({"codec": row.pop("codec"), "megapixels": megapixels, **row})
                    print(table_line(rows[-1]), flush=True)
    alone(write_record, {"machine": machine(args.threads), "growth": growth(rows), "rows": rows}, args.json)
    if args.plot:
        alone(draw, rows, args.plot)


def measure(codec: str, picture: Path, threads: int) -> list[dict[str, Any]]:
    """Both directions of one codec on one picture, with weights loaded; for pqmim the whole commands too."""
    file = picture.with_suffix(f".{codec}")
    rows = []
    for direction, work in zip(DIRECTIONS, (compress, decompress)):
        row = {"codec": codec, "direction": direction} | alone(work, codec, picture, file, threads)
        if codec == "pqmim":
            own = picture.with_suffix(".pqm")
            words = (picture, own) if direction == "compress" else (own, picture.with_name("back.png"))
            row |= run_command(direction, *words, "--threads", threads, "--force")
        rows.append(row)
    return rows


def compress(codec: str, picture: Path, file: Path, threads: int) -> dict[str, float]:
    from pqmim.evaluation.codecs import make_codec
    from pqmim.image.picture import read_picture

    coder, rgb = make_codec(codec, threads=threads), read_picture(picture).rgb
    data, seconds = steady(lambda: coder.encode(rgb, SETTINGS[codec]))
    file.write_bytes(data)
    return {"bytes": len(data), "seconds": seconds, "peak_mb": megabytes(resource.getrusage(resource.RUSAGE_SELF))}


def decompress(codec: str, picture: Path, file: Path, threads: int) -> dict[str, float]:
    from pqmim.evaluation.codecs import make_codec

    coder, data = make_codec(codec, threads=threads), file.read_bytes()
    _, seconds = steady(lambda: coder.decode(data))
    return {"bytes": len(data), "seconds": seconds, "peak_mb": megabytes(resource.getrusage(resource.RUSAGE_SELF))}


def run_command(*words: object) -> dict[str, float]:
    """A whole `pqmim` command, as a person waits for it: from the start of Python to its end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "pqmim", *map(str, words)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"pqmim {' '.join(map(str, words))} failed")
    return {"command_seconds": round(seconds, 4), "command_peak_mb": megabytes(usage)}


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


def alone(function: Callable[..., Any], *args: object) -> Any:
    """The function's result from a fresh process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *args).result()


def steady(function: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the seconds of the quickest of up to five calls, fewer where they take long: the least disturbed.

    One before them, which does not count, pays for what they find ready.
    """
    result, times = function(), []
    while len(times) < 5 and sum(times) < 10:
        start = time.perf_counter()
        result = function()
        times.append(time.perf_counter() - start)
    return result, round(min(times), 4)


def megabytes(usage: resource.struct_rusage) -> float:
    """Peak resident memory in units of 10^6 bytes; macOS counts in bytes, Linux in KiB."""
    return round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)


def growth(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """How seconds grow with the size: the exponent of a power law fitted from 1 megapixel on; 1 is linear."""
    exponents: dict[str, dict[str, float]] = {}
    for codec in dict.fromkeys(row["codec"] for row in rows):
        for direction in DIRECTIONS:
            mine = [row for row in rows if row["codec"] == codec and row["direction"] == direction]
            points = [(math.log(row["megapixels"]), math.log(row["seconds"])) for row in mine if row["megapixels"] >= 1]
            if len(points) > 1:
                slope = statistics.linear_regression(*zip(*points)).slope
                exponents.setdefault(codec, {})[direction] = round(slope, 2)
    return exponents


def machine(threads: int) -> dict[str, Any]:
    cpus = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpus.read_text(encoding="utf-8")) if cpus.exists() else None
    cpu = found[1] if found else platform.processor() or platform.machine()
    return {"cpu": cpu, "cores": os.cpu_count(), "threads": threads} | alone(versions)


def versions() -> dict[str, str]:
    from importlib.metadata import version

    from PIL import features

    import pqmim

    libraries = {"libjpeg_turbo": "libjpeg_turbo", "libwebp": "webp", "libavif": "avif"}
    found = {"python": platform.python_version(), "pqmim": pqmim.__version__}
    found |= {name: version(name) for name in ("torch", "numpy", "pillow")}
    return found | {library: features.version(name) or "unknown" for library, name in libraries.items()}


def table_line(row: dict[str, Any]) -> str:
    line = f"{row['codec']:14}{row['direction']:12}{row['megapixels']:>6g}{row['bytes']:>12,}"
    line += f"{row['seconds']:>9.3f}{row['peak_mb']:>9,.0f}"
    if "command_seconds" in row:
        line += f"{row['command_seconds']:>11.2f}{row['command_peak_mb']:>9,.0f}"
    return line


def write_record(record: dict[str, Any], path: Path) -> None:
    from pqmim.evaluation.results import write_results

    write_results(record, path, force=True)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds each way and peak memory over the size, both axes logarithmic."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    from pqmim.evaluation.report.plots import COLOURS, GRID, INK, NAMES
    from pqmim.files import write_atomically

    panels = (
        ("seconds to compress", "compress", "seconds"),
        ("seconds to decompress", "decompress", "seconds"),
        ("peak memory to compress, MB", "compress", "peak_mb"),
    )
    figure = Figure(figsize=(11, 3.8), layout="constrained", facecolor="white")
    for axes, (title, direction, key) in zip(figure.subplots(1, len(panels)), panels):
        for codec in dict.fromkeys(row["codec"] for row in rows):
            mine = [row for row in rows if row["codec"] == codec and row["direction"] == direction]
            style = {"linewidth": 2.8 if codec == "pqmim" else 1.6, "marker": "o", "markersize": 4}
            sizes, values = [row["megapixels"] for row in mine], [row[key] for row in mine]
            axes.loglog(sizes, values, color=COLOURS[codec], label=NAMES.get(codec, codec), **style)
        axes.set_title(title, loc="left", color=INK, fontsize=11)
        axes.set_xlabel("megapixels", color=INK)
        axes.minorticks_off()
        axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.grid(color=GRID)
        axes.tick_params(length=0, colors=INK)
        axes.spines[:].set_visible(False)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside center right", frameon=False)
    buffer = io.BytesIO()
    ending = path.suffix.lower().lstrip(".")
    figure.savefig(buffer, format=ending, dpi=160, metadata={"Date": None} if ending == "svg" else None)
    write_atomically(path, buffer.getvalue(), force=True)


if __name__ == "__main__":
    main()
