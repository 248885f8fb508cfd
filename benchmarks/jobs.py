"""How many photos a second a folder takes: processes of one thread each, beside one process of as many threads.

    python benchmarks/jobs.py photos/ --photos 200 --json results/batch.json

Compresses copies of the first photos by name, by `pqmim compress -r`, once with `--jobs N` and once with `--threads N`. Seconds are
of the wall clock, of whole commands, the better of two runs each, in turns.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pqmim.evaluation.machine import machine
from pqmim.evaluation.results import write_results
from pqmim.evaluation.run import find_photos

RUNS = 2


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, default=200, metavar="N")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes, and threads of the one process")
    parser.add_argument("--json", type=Path, default=Path("results/batch.json"), metavar="FILE")
    args = parser.parse_args()
    ways: dict[str, list[float]] = {f"--jobs {args.jobs}": [], f"--jobs 1 --threads {args.jobs}": []}
    with tempfile.TemporaryDirectory() as name:
        photos = Path(name) / "photos"
        photos.mkdir()
        found = find_photos(args.folder)[: args.photos]
        for path in found:
            shutil.copy(path, photos)
        for run in range(RUNS):
            for way, seconds in ways.items():
                seconds.append(timed(photos, Path(name) / f"{run}{way.replace(' ', '')}", way.split()))
                print(f"{way}: {len(found) / seconds[-1]:.2f} photos a second", flush=True)
    rates = {way: round(len(found) / min(seconds), 3) for way, seconds in ways.items()}
    several, one = rates.values()
    record = {
        "command": f"python benchmarks/jobs.py photos/ --photos {args.photos} --jobs {args.jobs}",
        "machine": machine(args.jobs),
        "photos": len(found),
        "photos_a_second": rates,
        "times": round(several / one, 3),
    }
    earlier = json.loads(args.json.read_text()) if args.json.exists() else {}
    write_results({**earlier, "jobs": record}, args.json, force=True)


def timed(photos: Path, target: Path, options: list[str]) -> float:
    """Wall seconds of a command that compresses all photos of a folder."""
    words = [sys.executable, "-m", "pqmim", "compress", "-r", str(photos), "-o", str(target), *options]
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
