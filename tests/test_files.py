import os
import stat

import pytest

from pqmim.errors import OutputError
from pqmim.files import write_atomically


def test_it_writes(tmp_path):
    write_atomically(tmp_path / "a.bin", b"abc")
    assert (tmp_path / "a.bin").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_an_existing_file_is_kept_unless_forced(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with pytest.raises(OutputError, match=r"a\.bin: exists already"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    write_atomically(target, b"new", force=True)
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("name", ["none/a.bin", ".", "x" * 300])
def test_unwritable_targets(tmp_path, name):
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / name, b"abc", force=True)
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    target = tmp_path / "a.bin"
    target.write_bytes(b"old")

    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(target, b"new", force=True)
    assert os.listdir(tmp_path) == ["a.bin"] and target.read_bytes() == b"old"


def test_a_link_stays_a_link(tmp_path):
    target, link = tmp_path / "a.bin", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new", force=True)
    assert link.is_symlink() and target.read_bytes() == b"new"


def test_a_device_is_written_to_and_not_replaced():
    write_atomically(os.devnull, b"abc")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
