"""The notebook runs from its first cell to its last."""

import json
import runpy
from pathlib import Path

import matplotlib
import pytest

NOTEBOOK = Path(__file__).parents[1] / "examples" / "inside.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(NOTEBOOK.parent)
    matplotlib.use("Agg")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells)  # outputs would go stale
    script = tmp_path / "inside.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in cells))
    space = runpy.run_path(str(script))
    on_disk, ideal, decibels = zip(*[row[1:] for row in space["rows"]])
    assert list(on_disk) == sorted(on_disk) and list(decibels) == sorted(decibels)
    assert all(0.5 * real < bits < real for real, bits in zip(on_disk, ideal))
    assert 0 < space["ideal"].sum() < space["static"].sum()
    assert "the prior saves" in capsys.readouterr().out
    assert len(space["axes"]) == 3
