"""What the light doors cost: `python benchmarks/doors.py results/doors.json`. CPU seconds, the least of five runs."""

import argparse
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIGHT = ("numpy", "pillow", "safetensors")
GONE = "import sys; sys.modules['torch'] = None; "
RUN = "from pqmim.cli import main; main({})"
OPEN = """
import time, pqmim.pillow
from PIL import Image
start = time.process_time()
for _ in range(100): Image.open({!r}).size
print((time.process_time() - start) / 100 * 1000)
import sys
assert "torch" not in sys.modules
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    file = str(next(ROOT.glob("tests/golden/*coffee-200-bytes.pqm")))
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        unit = seconds("import numpy, PIL")
        costs = {
            "import numpy, PIL": unit,
            "pqmim --help": seconds("from pqmim.cli.parser import build; build().format_help()"),
            "pqmim info": seconds(RUN.format(["info", file])),
            "pqmim decompress, 200 bytes, without torch": seconds(
                GONE + RUN.format(["decompress", file, "a.png", "--force"])
            ),
        }
        opening = float(python(OPEN.format(file)).stdout)
    packages = {name: megabytes(name) for name in LIGHT}
    own = sum(path.stat().st_size for path in (ROOT / "src").rglob("*") if "__pycache__" not in path.parts) / 1e6
    record = {
        "command": "python benchmarks/doors.py results/doors.json",
        "machine": f"{processor()}, Python {platform.python_version()}",
        "cpu_seconds": {name: round(cost, 3) for name, cost in costs.items()},
        "in units of import numpy, PIL": {name: round(cost / unit, 2) for name, cost in costs.items()},
        "Image.open of a .pqm, milliseconds": round(opening, 3),
        "megabytes installed, without torch": packages | {"pqmim": round(own, 1)},
        "megabytes in all": round(sum(packages.values()) + own, 1),
    }
    args.target = ROOT / args.target
    args.target.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


def seconds(code: str) -> float:
    """CPU seconds of a whole process."""
    costs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        python(code)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        costs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(costs)


def python(code: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)


def megabytes(name: str) -> float:
    places = [Path(str(path.locate())) for path in importlib.metadata.files(name) or []]
    return round(sum(place.stat().st_size for place in places if place.is_file()) / 1e6, 1)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


if __name__ == "__main__":
    main()
