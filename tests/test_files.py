"""Output files are whole or not there, whoever is killed, and whoever else writes."""

import os
import stat
import subprocess
import sys

import pytest

from pqmim import files
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


def test_a_full_device_is_one_sentence():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(OutputError, match="^/dev/full: cannot be written: No space left on device$"):
        write_atomically("/dev/full", b"abc")


def test_a_name_with_a_nul_is_one_sentence(tmp_path):
    with pytest.raises(OutputError, match=r"a\\0b: cannot be written: embedded null") as error:
        write_atomically(f"{tmp_path}/a\0b", b"abc")
    assert "\0" not in str(error.value)


@pytest.mark.parametrize("links", [True, False])
def test_of_two_writers_one_fails(tmp_path, monkeypatch, links):
    """The other writer comes between the look at the target and the renaming."""
    target = tmp_path / "a.bin"
    fsync = os.fsync

    def slow(descriptor):
        fsync(descriptor)
        target.write_bytes(b"the other's")

    monkeypatch.setattr(os, "fsync", slow)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OutputError, match="exists already"):
        write_atomically(target, b"ours")
    assert target.read_bytes() == b"the other's" and os.listdir(tmp_path) == ["a.bin"]


def no_links(source, destination):
    raise PermissionError(1, "Operation not permitted")


def test_file_systems_without_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", no_links)
    write_atomically(tmp_path / "a.bin", b"abc")
    assert (tmp_path / "a.bin").read_bytes() == b"abc" and os.listdir(tmp_path) == ["a.bin"]

    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_atomically(tmp_path / "b.bin", b"abc")
    assert os.listdir(tmp_path) == ["a.bin"]


def test_bytes_reach_the_disk_before_the_name_does(tmp_path, monkeypatch):
    calls = []
    for name in ("fsync", "link", "replace"):
        call = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, name=name, call=call: (calls.append(name), call(*args))[1])
    write_atomically(tmp_path / "a.bin", b"abc")
    write_atomically(tmp_path / "a.bin", b"abc", force=True)
    assert calls == ["fsync", "link", "fsync", "replace"]


def test_new_files_have_the_permissions_of_any_other(tmp_path):
    before = os.umask(0o027)
    try:
        write_atomically(tmp_path / "a.bin", b"abc")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640


KILLED = """
import os, signal, sys
from pqmim import files
files.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomically(sys.argv[1], b"abc")
"""


def test_what_a_killed_writer_left_is_swept(tmp_path, monkeypatch):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.bin"], env=environment, check=False)
    assert killed.returncode == -9
    [part] = os.listdir(tmp_path)
    assert part.startswith(".pqmim-") and part.endswith(".part")
    other = tmp_path / ".other.part"
    other.write_bytes(b"")
    os.utime(other, (0, 0))
    write_atomically(tmp_path / "a.bin", b"abc")
    assert part in os.listdir(tmp_path)  # it may be a writer at work
    os.utime(tmp_path / part, (0, 0))
    write_atomically(tmp_path / "b.bin", b"abc")
    assert part in os.listdir(tmp_path)  # this process has looked already
    monkeypatch.setattr(files, "swept", set())
    write_atomically(tmp_path / "c.bin", b"abc")
    assert sorted(os.listdir(tmp_path)) == [".other.part", "a.bin", "b.bin", "c.bin"]


TERMINATED = """
import os, signal, sys
from pqmim import cli, files
class Args:
    def run(self):
        files.os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGTERM)
        files.write_atomically(sys.argv[1], b"abc")
cli.parse = lambda parser, argv: type("Args", (), {"run": staticmethod(lambda args: Args().run())})()
sys.exit(cli.main([]))
"""


def test_a_terminated_command_leaves_nothing(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", TERMINATED, tmp_path / "a.bin"], env=environment, check=False)
    assert (done.returncode, os.listdir(tmp_path)) == (143, [])


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="there are no such names here")
def test_a_pipe_behind_a_link_is_written_to():
    reading, writing = os.pipe()
    try:
        write_atomically(f"/dev/fd/{writing}", b"some bytes")
        assert os.read(reading, 100) == b"some bytes"
    finally:
        os.close(reading)
        os.close(writing)
