import json
import os
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from pqmim.errors import UnsupportedFile
from pqmim.training.run import Unfinished

RECIPES = Path(__file__).parents[2] / "recipes"


def test_without_a_verb_it_shows_its_help(run):
    status, out, err = run()
    assert (status, out) == (2, b"")
    for verb in ("compress", "decompress", "info", "check", "evaluate", "report", "train"):
        assert f"\n    {verb} " in err


def test_version(run, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run("--version")
    assert stop.value.code == 0
    assert capsysbinary.readouterr().out.startswith(b"pqmim 0.")


@pytest.mark.parametrize("verb", ["compress", "decompress", "info", "check", "evaluate", "report", "train"])
def test_every_verb_has_examples(run, verb, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run(verb, "--help")
    assert stop.value.code == 0
    assert f"examples:\n  pqmim {verb} " in capsysbinary.readouterr().out.decode()


def test_interrupted(run, photo, codec, monkeypatch):
    def encode(self, image, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(codec, "encode", encode)
    assert run("compress", "photo.png") == (130, b"", "")
    assert os.listdir() == ["photo.png"]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    ],
)
def test_out_of_memory_is_one_sentence(run, photo, codec, monkeypatch, error):
    def encode(self, image, **options):
        raise error

    monkeypatch.setattr(codec, "encode", encode)
    assert run("compress", "photo.png") == (1, b"", "pqmim: photo.png: not enough memory.\n")


def test_a_bug_is_not_hidden(run, photo, codec, monkeypatch):
    def encode(self, image, **options):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(codec, "encode", encode)
    with pytest.raises(RuntimeError, match="shapes"):
        run("compress", "photo.png")


def test_weights_that_do_not_open_are_told_once(run, photo, codec, monkeypatch):
    def __init__(self, weights=None, *, device="cpu", threads=None):
        raise UnsupportedFile(f"{weights} holds no weights")

    monkeypatch.setattr(codec, "__init__", __init__)
    status, _, err = run("compress", "photo.png", "other.png", "--weights", "w.bin")
    assert (status, err) == (1, "pqmim: w.bin holds no weights.\n")


def test_a_reader_that_left_early(run, photo):
    run("compress", "photo.png")
    read_end, write_end = os.pipe()
    os.close(read_end)
    command = [sys.executable, "-m", "pqmim", "info", "photo.pqm"]
    path = os.pathsep.join(sys.path)
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, stdout=write_end, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


def test_train_passes_its_options_on(run, here, monkeypatch):
    calls = []
    os.mkdir("in")
    pipeline = types.ModuleType("pqmim.training.pipeline")
    pipeline.train = lambda *args: calls.append(args)
    monkeypatch.setitem(sys.modules, "pqmim.training.pipeline", pipeline)
    words = "--minutes 1.5 --stage prior --split-checkpoints 16 --features squeeze.safetensors"
    assert run("train", "r.yaml", "--data", "in", "--out", "out", *words.split())[0] == 0
    recipe, data, where, last = calls[0]
    assert (recipe.name, data.name, where.folder.name, last) == ("r.yaml", "in", "out", "prior")
    assert (where.device.type, where.split, where.features) == ("cpu", 16, Path("squeeze.safetensors"))
    assert 0 < where.deadline - time.monotonic() <= 90


def test_train_evaluates_what_it_trained(run, photo, codec, monkeypatch):
    pipeline = types.ModuleType("pqmim.training.pipeline")
    pipeline.train = lambda *args: Path("new.safetensors")
    monkeypatch.setitem(sys.modules, "pqmim.training.pipeline", pipeline)
    os.mkdir("out")
    words = ["--data", photo.parent, "--out", "out", "--evaluate", photo.parent]
    status, out, _ = run("train", RECIPES / "tiny.yaml", *words)
    assert (status, out.split(b":")[0]) == (0, b"out/evaluation.json")
    assert str(codec.opened[0]["weights"]) == "new.safetensors"
    assert "pqmim" in json.loads(Path("out/evaluation.json").read_text())["codecs"]


@pytest.mark.parametrize(
    ("recipe", "data", "folder", "complaint"),
    [
        ("tiny", ".", "none", "none: not a folder"),
        ("tiny", ".", "empty", "empty: holds no photos"),
        ("vivid", ".", ".", "vivid.yaml: --evaluate is for recipes of kind pqmim, not vivid"),
        ("vq", ".", ".", "vq.yaml: --evaluate is for recipes of kind pqmim, not vq"),
        ("tiny", "none", ".", "none: no such file or folder"),
    ],
)
def test_what_train_cannot_do_is_told_before_training(run, photo, recipe, data, folder, complaint):
    os.mkdir("empty")
    words = ["--data", data, "--out", "out", "--evaluate", folder]
    status, out, err = run("train", RECIPES / f"{recipe}.yaml", *words)
    assert (status, out, err.count("\n")) == (1, b"", 1) and complaint in err
    assert sorted(os.listdir()) == ["empty", "photo.png"]


def test_a_training_that_stops_in_time_has_not_failed(run, here, monkeypatch):
    os.mkdir("in")

    def train(*args):
        raise Unfinished("stopped; run it again to resume.")

    pipeline = types.ModuleType("pqmim.training.pipeline")
    pipeline.train = train
    monkeypatch.setitem(sys.modules, "pqmim.training.pipeline", pipeline)
    status, out, _ = run("train", "r.yaml", "--data", "in", "--out", "out", "--minutes", "1")
    assert (status, out) == (0, b"stopped; run it again to resume.\n")


def test_missing_extras_say_how_to_get_them(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    for name in ("pqmim.training.run", "pqmim.training.pipeline", "pqmim.training.recipe"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    status, out, err = run("train", "r.yaml", "--data", "in", "--out", "out")
    assert (status, out) == (1, b"")
    assert "pip install '.[train]'" in err and err.count("\n") == 1
