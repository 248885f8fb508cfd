"""benchmarks/speed.py: what it makes of what it measured. No figure of time is asserted."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "speed.py"


@pytest.fixture(scope="module")
def module():
    return runpy.run_path(str(SCRIPT))


def rows() -> list[dict]:
    """Seconds by codec, size and direction: pqmim takes 1.5 times as long a pixel at 12 megapixels as at 0.4."""
    seconds = {
        ("pqmim", "compress"): 4.0,
        ("pqmim", "decompress"): 2.0,
        ("avif", "compress"): 0.5,
        ("avif", "decompress"): 0.1,
    }
    return [
        {
            "codec": c,
            "direction": d,
            "megapixels": size,
            "cpu_s": s * size / 0.4 * (1.5 if c == "pqmim" and size > 1 else 1),
        }
        for size in (0.4, 12)
        for (c, d), s in seconds.items()
    ]


def test_seconds_are_told_in_units_of_avif_s_encoding(module):
    found = module["units"](rows())
    assert found["0.4"] == {"pqmim compress": 8, "pqmim decompress": 4, "avif compress": 1, "avif decompress": 0.2}
    assert found["12"]["pqmim compress"] == 12
    assert module["units"]([row for row in rows() if row["codec"] == "pqmim"]) == {}


def test_growth_is_that_of_seconds_a_pixel(module):
    found = module["growth"](rows())
    assert found["pqmim compress"] == 1.5 and found["avif decompress"] == 1
    assert module["growth"](rows()[:4]) == {}


def test_the_picture_of_a_size(module, tmp_path):
    for megapixels, size in ((0.4, (768, 512)), (0.01, (120, 80)), (1, (1224, 816))):
        module["make_picture"](tmp_path / "a.png", megapixels)
        with Image.open(tmp_path / "a.png") as image:
            assert image.size == size


def test_the_quickest_of_a_few_calls_counts(module):
    calls = []
    result, times = module["steady"](lambda: calls.append(1) or len(calls))
    assert result == len(calls) == 6 and times["peak_mb"] > 1
    assert 0 <= times["cpu_s"] <= 1 and set(times) == {"cpu_s", "wall_s", "peak_mb"}


@pytest.mark.slow
def test_a_run_takes_the_place_of_one_like_it(tmp_path):
    out = tmp_path / "speed.json"
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1] / "src")}
    words = [sys.executable, SCRIPT, "--json", out, "--codec", "jpeg", "--codec", "avif", "--megapixels", "0.01"]
    for more in ([], [], ["--isa", "avx2"], ["--neighbours", "1"]):
        done = subprocess.run([*words, *more], capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
    runs = json.loads(out.read_text())["runs"]
    assert [(run["isa"], run["neighbours"]) for run in runs] == [("all", 0), ("avx2", 0), ("all", 1)]
    for run in runs:
        assert [(row["codec"], row["direction"]) for row in run["rows"]] == [
            *(("jpeg", "compress"), ("jpeg", "decompress")),
            *(("avif", "compress"), ("avif", "decompress")),
        ]
        assert run["units"]["0.01"]["avif compress"] == 1 and run["machine"]["cpu"]
