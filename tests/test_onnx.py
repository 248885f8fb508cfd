import json
import sys

import numpy as np
import pytest
import torch

from pqmim.errors import OutputError, PqmimError
from pqmim.models.prior.numpy import NumpyPrior
from pqmim.onnx.prior import OnnxPrior, geometry
from pqmim.onnx.trunk import Trunk
from pqmim.release import load

pytestmark = pytest.mark.slow


class TorchPrior(OnnxPrior):
    """The module that the graph is made of, in the graph's place."""

    def __init__(self, tensors):
        self.around, self.trunk = NumpyPrior(tensors), Trunk(tensors).eval()

    def tokens(self, stream, shape, blocks):
        with torch.inference_mode():
            arrays = (stream.reshape(*shape, -1), *geometry(*shape))
            return self.trunk(*map(torch.from_numpy, arrays))[blocks].numpy()


@pytest.mark.parametrize("shape", [(1, 1), (9, 11), (8, 17)])
def test_the_trunk_gives_numpys_numbers(shape):
    tensors = load().part("prior")
    forms = NumpyPrior(tensors), TorchPrior(tensors)
    rng = np.random.default_rng(1)
    contexts = [form.context(*shape, 70) for form in forms]
    cells = np.arange(shape[0] * shape[1])
    for m in range(0, forms[0].size, 5):
        known = cells[rng.random(len(cells)) < 0.6]
        codes = rng.integers(0, 256, len(known)).astype(np.uint8)
        for context in contexts:
            context.reveal(m, known, codes)
    for blocks in (0, 2, None):
        rows = [list(context.frequencies(range(3), cells, blocks)) for context in contexts]
        for (_, _, one), (_, _, other) in zip(*rows):
            assert np.array_equal(one.cumulative(), other.cumulative())


def test_cells_find_their_way_back():
    for shape in ((1, 1), (5, 9), (16, 8)):
        even, even_back, odd, odd_back = geometry(*shape)
        for windows, back in ((even, even_back), (odd, odd_back)):
            assert np.array_equal(windows.ravel()[back], np.arange(shape[0] * shape[1]))


@pytest.mark.parametrize("stops", [PqmimError("other numbers"), KeyboardInterrupt()])
def test_an_export_that_fails_leaves_the_folder_as_it_was(tmp_path, monkeypatch, stops):
    (tmp_path / "prior.onnx").write_bytes(b"before")

    def check(*_):
        raise stops

    module = sys.modules["pqmim.onnx.export"]
    for name in ("_export_prior", "_export_synthesis"):
        monkeypatch.setattr(module, name, lambda *words: words[-1].write_bytes(b"graph"))
    monkeypatch.setattr(module, "check_prior", lambda *_: None)
    monkeypatch.setattr(module, "check_synthesis", check)
    with pytest.raises(type(stops)):
        module.export(load(), tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("prior.onnx", b"before")]
    paths = module.export(load(), tmp_path, test=False)
    assert [path.read_bytes() for path in paths.values()] == [b"graph"] * 2
    assert sorted(tmp_path.iterdir()) == sorted(paths.values())


def test_exported_graphs_are_exact(tmp_path, capsys):
    """By the command, whose own test compares them in ONNX Runtime."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from pqmim.cli import main

    assert main(["export", "onnx", str(tmp_path / "graphs"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert facts["exact"] and facts["bytes"]["prior"] > 1e6
    assert main(["export", "onnx", str(tmp_path / "graphs")]) == 1
    assert "exists already" in capsys.readouterr().err


def test_a_folder_in_the_way_keeps_both_graphs(tmp_path, monkeypatch):
    (tmp_path / "prior.onnx").write_bytes(b"before")
    (tmp_path / "synthesis.onnx").mkdir()
    module = sys.modules["pqmim.onnx.export"]
    for name in ("_export_prior", "_export_synthesis"):
        monkeypatch.setattr(module, name, lambda *words: words[-1].write_bytes(b"graph"))
    with pytest.raises(OutputError, match=r"synthesis\.onnx: .*folder"):
        module.export(load(), tmp_path, test=False)
    assert (tmp_path / "prior.onnx").read_bytes() == b"before"
