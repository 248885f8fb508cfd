"""The figures of the README and of the pages are those in results/."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tables():
    return runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))


def test_every_table_and_figure_is_what_results_say(tables, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert tables["main"]() == 0


def test_a_stale_table_is_noticed(tables):
    stale = "<!-- table dial -->\n| stale |\n<!-- end -->"
    assert tables["rewritten"](stale) != stale


def test_a_stale_figure_is_noticed(tables):
    text = "It needs <!-- figure bd psnr bmshj2018-hyperprior low -->-99.9 %<!-- end --> beyond."
    fresh = tables["rewritten"](text)
    assert fresh != text and fresh == tables["rewritten"](fresh) and fresh.endswith(" %<!-- end --> beyond.")
    text = "<!-- figure json kodak/prefix.json psnr/0 .1f -->0<!-- end --> dB"
    assert tables["rewritten"](text).split("-->")[1].startswith("1")


def test_speeds_are_found_by_what_was_measured_wherever_it_stands(tables, monkeypatch):
    def run(features, units, **other):
        machine = {"cpu": "AMD EPYC", "features": features}
        return {"machine": machine, "isa": "all", "neighbours": 0, "units": {"12": {"pqmim compress": units}}} | other

    runs = [run(["avx2"], 3.5), run(["avx2", "avx512f"], 2.5), run(["avx2", "avx512f"], 9, neighbours=2)]
    lookup = tables["speed_units"].__globals__
    monkeypatch.setitem(lookup, "result", lambda name: {"runs": runs})
    text = "<!-- figure units AMD_EPYC,_AVX-512 12 pqmim_compress .1f -->0<!-- end -->"
    for _ in runs:
        assert tables["rewritten"](text) == text.replace("-->0<", "-->2.5<")
        runs.append(runs.pop(0))
    runs.append(run(["avx2", "avx512f", "avx512_vnni"], 2.7))
    with pytest.raises(ValueError, match="2 runs of the name AMD EPYC, AVX-512, where one is needed"):
        tables["rewritten"](text)


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_no_figure_of_a_sentence_is_loose(tables, page):
    assert tables["loose_figures"]((ROOT / page).read_text()) == []


def test_loose_figures_are_found(tables):
    text = "It saves -12.3 % and 0.5 dB.\n| 3 % |\n`4 %` and <!-- figure bd psnr AV1 low -->+5.0 %<!-- end -->"
    assert tables["loose_figures"](text) == ["-12.3 %", "0.5 dB"]
