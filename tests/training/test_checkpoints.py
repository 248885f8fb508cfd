import math
import os
from pathlib import Path

import pytest
import torch

from pqmim.training import checkpoints

STATE = {"step": 3, "weights": torch.arange(5000.0)}


@pytest.mark.parametrize("megabytes", [float("inf"), 0.01, 16])
def test_what_is_saved_is_loaded(tmp_path, megabytes):
    path = tmp_path / "stage.start.pt"
    assert checkpoints.load(path) is None and not checkpoints.exists(path)
    checkpoints.save(STATE, path, megabytes)
    assert checkpoints.exists(path)
    found = checkpoints.load(path)
    assert found["step"] == 3 and torch.equal(found["weights"], STATE["weights"])


def test_parts_are_replaced_as_a_whole(tmp_path):
    path = tmp_path / "stage.pt"
    for step in range(3):
        checkpoints.save(STATE | {"step": step}, path, 0.01)
        assert checkpoints.load(path)["step"] == step
        files = list(tmp_path.iterdir())
        assert len(files) == 3 and all(file.stat().st_size <= 10_000 for file in files)
    checkpoints.save(STATE | {"step": 7}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["stage.pt"]
    checkpoints.save(STATE | {"step": 8}, path, 0.01)
    assert not path.exists() and checkpoints.load(path)["step"] == 8


def test_an_interrupted_save_leaves_the_old_checkpoint(tmp_path):
    path = tmp_path / "stage.pt"
    checkpoints.save(STATE, path, 0.01)
    (tmp_path / "stage.pt.2-0of3").write_bytes(b"the first part of the next")
    assert checkpoints.load(path)["step"] == 3
    checkpoints.save(STATE | {"step": 4}, path, 0.01)
    assert checkpoints.load(path)["step"] == 4
    assert len(list(tmp_path.iterdir())) == 3


def test_of_a_file_and_parts_the_newer_one_is_loaded(tmp_path, monkeypatch):
    """As a save leaves them that is stopped before it removes what it replaces."""
    path = tmp_path / "stage.pt"
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    for step, megabytes in ((1, 0.01), (2, math.inf), (3, 0.01), (4, math.inf)):
        checkpoints.save(STATE | {"step": step}, path, megabytes)
        for file in tmp_path.iterdir():  # all older by a second
            os.utime(file, ns=(0, file.stat().st_mtime_ns - 10**9))
        assert checkpoints.load(path)["step"] == step


@pytest.mark.parametrize("megabytes", [math.inf, 0.01])
def test_bytes_are_on_the_disk_before_they_get_the_name(tmp_path, monkeypatch, megabytes):
    path, events = tmp_path / "stage.pt", []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: (events.append("disk"), fsync(number)))
    monkeypatch.setattr(Path, "replace", lambda file, name: (events.append("name"), replace(file, name)))
    checkpoints.save(STATE, path, megabytes)
    assert events and events == ["disk", "name"] * (len(events) // 2)


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "stage.pt.bak").write_bytes(b"")
    (tmp_path / "other.pt.1-0of1").write_bytes(b"")
    checkpoints.save(STATE, tmp_path / "stage.pt", 16)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["other.pt.1-0of1", "stage.pt.1-0of1", "stage.pt.bak"]
