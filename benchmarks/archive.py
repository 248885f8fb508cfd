"""Does an engine's recipe finish an archive that was killed on the way, with no photo lost or doubled?

    pip install 'ray[data]' . && python benchmarks/archive.py photos/ --engine ray --json results/batch.json

Runs `examples/batch_ray.py` (or `batch_dask.py`) with some workers, kills all its processes once a share of the shards is
done, gives the same command again, and reads the whole archive: every photo must be there once, and every file sound.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from pqmim import check
from pqmim.batch import Compress, CompressShard, plan
from pqmim.errors import PqmimError
from pqmim.evaluation.machine import machine
from pqmim.evaluation.results import write_results

EXAMPLES = Path(__file__).parents[1] / "examples"
KILLED_AFTER = 0.4  # of the shards
CHECKED = 10  # one file in so many is decoded and verified


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--engine", choices=("ray", "dask"), required=True)
    parser.add_argument("--workers", type=int, default=2, metavar="N")
    parser.add_argument("--shard", type=int, default=100, metavar="N", help="photos of a shard")
    parser.add_argument("-q", "--quality", type=int, default=40)
    parser.add_argument("--json", type=Path, default=Path("results/batch.json"), metavar="FILE")
    args = parser.parse_args()

    if not any(args.photos.iterdir()):
        parser.error(f"{args.photos} holds no photo")
    with tempfile.TemporaryDirectory() as archive:
        script = EXAMPLES / f"batch_{args.engine}.py"
        options = ["-q", str(args.quality), "--workers", str(args.workers), "--shard", str(args.shard)]
        command = [sys.executable, str(script), str(args.photos), archive, *options]
        shards = plan(args.photos, args.shard)
        work = CompressShard(args.photos, archive, Compress(args.quality, effort=0))  # as the recipe does it
        first, done = killed(command, lambda: len(shards) - len(work.left(shards)), KILLED_AFTER * len(shards))
        print(f"killed after {first:.0f} s, {done} of {len(shards)} shards done", flush=True)
        start = time.monotonic()
        subprocess.run(command, check=True)
        second = time.monotonic() - start
        found = verdict(args.photos, Path(archive), work.manifest(shards))
    run = {
        "command": f"python benchmarks/archive.py photos/ --engine {args.engine} --workers {args.workers} --shard {args.shard}",
        "machine": machine(1),
        "quality": args.quality,
        "effort": 0,
        "workers": args.workers,
        "shards": len(shards),
        "shards_done_when_killed": done,
        "wall_seconds_until_killed": round(first),
        "wall_seconds_of_the_rest": round(second),
        **found,
    }
    earlier = json.loads(args.json.read_text()) if args.json.exists() else {}
    write_results({**earlier, args.engine: run}, args.json, force=True)
    print({name: run[name] for name in ("photos", "lost", "doubled", "checked", "unsound", "rows_with_an_error")})


def killed(command: list[str], done: Any, enough: float) -> tuple[float, int]:
    """Start a command, kill it and all that it started once `done()` reaches `enough`: seconds, and what was done."""
    start = time.monotonic()
    process = subprocess.Popen(command, start_new_session=True)
    while done() < enough:
        if process.poll() is not None:
            raise SystemExit("the command ended before it could be killed")
        time.sleep(0.5)
    doomed = [process.pid, *descendants(process.pid)]
    for pid in doomed:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:  # it went with another
            continue
    process.wait()
    seconds = time.monotonic() - start
    time.sleep(5)  # what the engine left behind notices that its head is gone
    return seconds, done()


def descendants(pid: int) -> list[int]:
    """All processes that come from one, on Linux."""
    children = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it ended
            continue
        if int(fields[1]) == pid:
            children.append(int(status.parent.name))
    return children + [below for child in children for below in descendants(child)]


def verdict(photos: Path, archive: Path, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What the archive and the rows of its lists hold, beside what they should."""
    listed = Counter(row["path"] for row in rows)
    stored: Counter[str] = Counter()
    checked = unsound = 0
    for shard in sorted(archive.glob("shard-*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                stored[member.name.removesuffix(".pqm")] += 1
                file = tar.extractfile(member)
                if file is not None and stored.total() % CHECKED == 1:
                    checked += 1
                    unsound += not sound(file.read())
    wanted = {path for shard in plan(photos) for path in shard.paths}
    errors = {row["path"] for row in rows if row["error"]}
    pixels = 0
    for path in wanted - errors:
        with Image.open(photos / path) as image:
            pixels += image.width * image.height
    size = sum(row["bytes"] for row in rows)
    return {
        "photos": len(wanted),
        "megapixels": round(pixels / 1e6, 1),
        "lost": len(wanted - listed.keys()) + len(wanted - errors - stored.keys()),
        "doubled": sum(count > 1 for count in listed.values()) + sum(count > 1 for count in stored.values()),
        "checked": checked,
        "unsound": unsound,
        "rows_with_an_error": len(errors),
        "bytes": size,
        "bpp": round(8 * size / max(1, pixels), 4),
    }


def sound(data: bytes) -> bool:
    """Whether a file decodes and verifies."""
    try:
        check(data)
    except PqmimError:
        return False
    return True


if __name__ == "__main__":
    main()
