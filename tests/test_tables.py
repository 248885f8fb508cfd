"""The figures of the README and of the pages are those in results/."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_table_is_what_results_say(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    tables = runpy.run_path(str(ROOT / "benchmarks" / "tables.py"))
    assert tables["main"]() == 0
    assert (
        tables["rewritten"]("<!-- table dial -->\n| stale |\n<!-- end -->")
        != "<!-- table dial -->\n| stale |\n<!-- end -->"
    )
