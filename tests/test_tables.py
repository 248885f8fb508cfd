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


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_no_figure_of_a_sentence_is_loose(tables, page):
    path = ROOT / page
    assert not path.exists() or tables["loose_figures"](path.read_text()) == []


def test_loose_figures_are_found(tables):
    text = "It saves -12.3 % and 0.5 dB.\n| 3 % |\n`4 %` and <!-- figure bd psnr AV1 low -->+5.0 %<!-- end -->"
    assert tables["loose_figures"](text) == ["-12.3 %", "0.5 dB"]
