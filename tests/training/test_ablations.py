"""The script of the ablations, on the tiny recipe with as few variants as every comparison needs."""

import json
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script():
    return runpy.run_path(str(ROOT / "benchmarks" / "ablations.py"))


def test_every_comparison_runs(script, recipe, folder, run, tmp_path, monkeypatch):
    names = script["main"].__globals__
    wanted = {"QUANTIZERS": ("base", "nearest", "uniform"), "PRIORS": ("passes-12", "passes-1", "tied", "free")}
    for part, kept in wanted.items():
        monkeypatch.setitem(names, part, tuple(v for v in script[part] if v.name in kept))
    short = recipe.read_text()
    for steps in ("steps: 40", "steps: 60", "steps: 10"):
        short = short.replace(steps, "steps: 5")
    path = tmp_path / "short.yaml"
    path.write_text(short.replace("evaluate_every: 10", "evaluate_every: 5"))
    found = tmp_path / "ablations.json"
    options = {"--run": run, "--out": tmp_path / "out", "--recipe": path, "--json": found}
    monkeypatch.setattr(sys, "argv", ["ablations.py", str(folder), *(str(x) for pair in options.items() for x in pair)])
    script["main"]()

    rows = json.loads(found.read_text())
    assert [row["name"] for row in rows["start"]] == ["klt", "random"]
    klt, random = (row["psnr"][-1] for row in rows["start"])
    assert klt > random + 3
    base, nearest, uniform = rows["quantizer"]
    assert all(n > 1.05 * b for n, b in zip(nearest["bpp"], base["bpp"])) and base["widest"] > 2 == uniform["widest"]
    assert uniform["sub_quantizers"] == 20
    shares = {row["name"]: row["share_of_static"] for row in rows["prior"]}
    assert set(shares) == {"fixed", "static", *wanted["PRIORS"]} and shares["fixed"] > 1 == shares["static"]
    assert len({shares[name] for name in wanted["PRIORS"]}) == 4 and all(
        0 < s < 2 for n, s in shares.items() if n != "fixed"
    )
    assert [row["name"] for row in rows["joint"]] == ["separate", "joint"] and "bd_rate" in rows["joint"][1]


def test_a_point_that_costs_more_than_a_better_one_is_left_out(script):
    assert script["rising"](([0.1, 0.2, 0.3, 0.4], [20, 25, 24, 26])) == ([0.1, 0.2, 0.4], [20, 25, 26])
