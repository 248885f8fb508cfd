"""Folders: trees, resuming, processes, bad files."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

import pqmim
from pqmim.cli import workers
from pqmim.cli.options import digests
from pqmim.release import load


@pytest.fixture
def tree(here) -> Path:
    for name in ("a.png", "b.JPG", "deep/a.png", "deep/er/c.webp"):
        path = here / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), (200, 100, 50)).save(path)
    (here / "in" / "notes.txt").write_text("no picture")
    (here / "in" / "deep" / "bad.png").write_bytes(b"no picture")
    return here / "in"


def files(folder: str) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.*"))


def test_the_tree_is_mirrored(run, tree):
    status, _out, err = run("compress", "-r", "in", "-o", "out")
    assert status == 1
    assert files("out") == ["a.pqm", "b.pqm", "deep/a.pqm", "deep/er/c.pqm", "pqmim.jsonl"]
    assert err.startswith("pqmim: in/deep/bad.png: ") and "5 files in" in err and "4 done, 1 failed" in err
    rows = [json.loads(line) for line in Path("out/pqmim.jsonl").read_text().splitlines()]
    assert {row["file"] for row in rows} == {f"in/{name}" for name in files("in") if name != "notes.txt"}
    [bad] = [row for row in rows if "error" in row]
    assert bad["file"] == "in/deep/bad.png"
    for row in rows:
        if row is not bad:
            assert row["bytes"] == os.path.getsize(row["output"]) and len(row["sha256"]) == 64


def test_the_same_command_goes_on_where_it_stopped(run, tree, codec):
    (tree / "deep" / "bad.png").unlink()
    assert run("compress", "-r", "in", "-o", "out")[0] == 0
    (Path("out") / "deep" / "a.pqm").unlink()  # as if it had died before this one
    with open("out/pqmim.jsonl", "a") as manifest:
        manifest.write('{"file": "half a li')
    codec.encoded.clear()
    status, out, err = run("compress", "-r", "in", "-o", "out")
    assert (status, out.split(b":")[0], len(codec.encoded)) == (0, b"out/deep/a.pqm", 1)
    assert "1 done, 3 done before" in err
    assert run("compress", "-r", "in", "-o", "out")[0] == 0 and len(codec.encoded) == 1


@pytest.mark.parametrize("change", ["settings", "source"])
def test_what_was_done_otherwise_is_not_done(run, tree, change):
    (tree / "deep" / "bad.png").unlink()
    words = ["compress", "-r", "in", "-o", "out"]
    run(*words)
    if change == "source":
        Image.new("RGB", (99, 16)).save(tree / "a.png")
    status, _, err = run(*words, *(["-q", "9"] if change == "settings" else []))
    assert status == 1 and err.count("exists already") == (4 if change == "settings" else 1)


@pytest.mark.parametrize("verb", ["compress", "decompress"])
def test_other_weights_make_another_job(run, tree, monkeypatch, verb):
    assert run("compress", "in", "-o", "out")[0] == 0
    words = [verb, "in", "-o", "out"] if verb == "compress" else [verb, "out", "-o", "back", "--look", "vivid"]
    run(*words)
    assert run(*words) == (0, b"", "")
    monkeypatch.setattr("pqmim.cli.compress.digests", lambda weights, look: {"weights": "of a later release"})
    status, _, err = run(*words)
    assert status == 1 and err.count("exists already") == 2


def test_weights_are_named_by_what_they_hold():
    own, vivid = digests(None, look=False), digests(None, look=True)
    assert own == {"weights": load().digest[:16]}
    assert vivid.keys() == {"weights", "vivid"} and vivid["weights"] == own["weights"] != vivid["vivid"]


def test_a_photo_that_is_replaced_while_it_is_compressed_is_not_done(run, tree, codec, monkeypatch):
    encode = codec.encode

    def replacing(self, image, **options):
        encoded = encode(self, image, **options)
        Image.new("RGB", (99, 16)).save(image)
        return encoded

    with monkeypatch.context() as patch:
        patch.setattr(codec, "encode", replacing)
        assert run("compress", "in", "-o", "out")[0] == 0
    status, _, err = run("compress", "in", "-o", "out")
    assert status == 1 and err.count("exists already") == 2


def test_an_output_of_another_size_is_not_done(run, tree):
    assert run("compress", "in", "-o", "out")[0] == 0
    Path("out/a.pqm").write_bytes(b"")
    status, _, err = run("compress", "in", "-o", "out")
    assert status == 1 and err.startswith("pqmim: out/a.pqm: exists already") and err.count("exists already") == 1


def test_skip_existing(run, tree):
    Path("in/a.pqm").write_bytes(b"precious")
    status, out, _err = run("compress", "in", "--skip-existing")
    assert (status, out.split(b":")[0]) == (0, b"in/b.pqm")
    assert Path("in/a.pqm").read_bytes() == b"precious"


def test_json_tells_every_file(run, tree):
    status, out, _ = run("compress", "-r", "in", "-o", "out", "--json", "-q", "8")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and len(rows) == 5
    assert sum("error" in row for row in rows) == 1
    assert {row["quality"] for row in rows if "error" not in row} == {8}
    status, out, _ = run("decompress", "-r", "out", "-o", "back", "--json", "--format", "bmp")
    assert status == 0 and files("back") == ["a.bmp", "b.bmp", "deep/a.bmp", "deep/er/c.bmp", "pqmim.jsonl"]
    assert json.loads(out.splitlines()[0])["width"] == 24
    status, out, _ = run("check", "-r", "out", "--json")
    assert status == 0 and all(json.loads(line)["verified"] for line in out.splitlines())


def test_several_processes_write_the_same_files(run, tree, monkeypatch):
    monkeypatch.setattr(workers, "START_METHOD", "fork")  # so that they have the fake codec, too
    assert run("compress", "-r", "in", "-o", "one")[0] == 1
    status, out, err = run("compress", "-r", "in", "-o", "two", "--jobs", "3")
    assert status == 1 and "4 done, 1 failed" in err and out.count(b"\n") == 4
    assert files("one") == files("two")
    for name in files("one"):
        if name.endswith(".pqm"):
            assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()


def test_a_process_that_dies_is_told(run, tree, codec, monkeypatch):
    monkeypatch.setattr(workers, "START_METHOD", "fork")
    monkeypatch.setattr(codec, "encode", lambda self, image, **options: os._exit(9))
    status, _, err = run("compress", "-r", "in", "-o", "out", "--jobs", "2")
    assert status == 1 and "a process died" in err and "Traceback" not in err


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_leaves_every_finished_file_in_the_list(run, tree, monkeypatch, jobs):
    def interrupt(line, file=None):
        raise KeyboardInterrupt

    (tree / "deep" / "bad.png").unlink()
    words = ["compress", "-r", "in", "-o", "out", "--jobs", jobs]
    monkeypatch.setattr(workers, "START_METHOD", "fork")
    with monkeypatch.context() as patch:
        patch.setattr("pqmim.cli.work.say", interrupt)
        assert run(*words)[0] == 130
    rows = [json.loads(line) for line in Path("out/pqmim.jsonl").read_text().splitlines()]
    done = {f"out/{name}" for name in files("out") if name.endswith(".pqm")}
    assert {row["output"] for row in rows} == done
    status, _, err = run(*words)
    assert status == 0 and f"{len(done)} done before" in err


def test_the_row_after_half_a_line_counts(run, tree):
    Path("out").mkdir()
    Path("out/pqmim.jsonl").write_text('{"file": "half a li')
    assert run("compress", "in", "-o", "out")[0] == 0
    assert run("compress", "in", "-o", "out") == (0, b"", "")
    assert len(Path("out/pqmim.jsonl").read_text().splitlines()) == 3


def test_weights_that_no_process_can_open(run, tree, codec, monkeypatch):
    def __init__(self, weights=None, *, device="cpu", threads=None):
        raise pqmim.UnsupportedFile("no weights", weights)

    monkeypatch.setattr(workers, "START_METHOD", "fork")
    monkeypatch.setattr(codec, "__init__", __init__)
    status, _, err = run("compress", "in", "-o", "out", "--jobs", "2", "--weights", "w.bin")
    assert status == 1 and "pqmim: w.bin: no weights.\n" in err


def test_an_empty_tree_says_that_it_was_not_looked_into(run, here):
    (here / "in" / "deep").mkdir(parents=True)
    Image.new("RGB", (4, 4)).save("in/deep/a.png")
    assert "-r looks into its folders" in run("compress", "in")[2]


def test_check_tells_bare_from_damaged(run, tree):
    run("compress", "in/a.png", "whole.pqm")
    run("compress", "in/a.png", "bare.pqm", "--size", "40")
    data = bytearray(Path("whole.pqm").read_bytes())
    data[-1] ^= 1
    Path("damaged.pqm").write_bytes(data)
    assert [run("check", name)[0] for name in ("whole.pqm", "bare.pqm", "damaged.pqm")] == [0, 3, 1]
    assert run("check", "bare.pqm", "damaged.pqm")[0] == 1


@pytest.mark.parametrize("output", ["small.pqm", "-"])
def test_the_one_picture_of_a_folder_goes_to_a_file_without_a_list(run, here, output):
    (here / "in").mkdir()
    Image.new("RGB", (24, 16)).save("in/a.png")
    status, out, err = run("compress", "in", "-o", output)
    assert (status, err) == (0, "")
    (here / "one").mkdir()
    (here / "one" / "a.pqm").write_bytes(out if output == "-" else Path(output).read_bytes())
    assert run("decompress", "one", "-o", "back.png")[0] == 0
    assert not list(here.rglob("pqmim.jsonl"))


def test_an_error_leaves_what_was_done_before(run, tree):
    (tree / "deep" / "bad.png").unlink()
    words = ["compress", "-r", "in", "-o", "out"]
    assert run(*words)[0] == 0
    assert run(*words, "-q", "9")[0] == 1  # the outputs exist
    status, _, err = run(*words)
    assert status == 0 and "0 done, 4 done before" in err


@pytest.mark.parametrize("option", [["--weights", "w.bin"], ["--partial"], ["--show-invented"]])
def test_options_that_decide_results_make_another_job(run, tree, option):
    run("compress", "in", "-o", "out")
    assert run("decompress", "out", "-o", "back")[0] == 0
    status, _, err = run("decompress", "out", "-o", "back", *option)
    assert status == 1 and err.count("exists already") == 2 and "done before" not in err
    if "--weights" in option:
        assert run("compress", "in", "-o", "out", *option)[2].count("exists already") == 2


def test_two_folders_are_two_sources(run, tree):
    for folder in ("one", "two"):
        run("compress", "in", "-o", f"{folder}/")
    assert run("decompress", "one/", "two/")[0] == 0
    assert files("one") == files("two") == ["a.png", "a.pqm", "b.png", "b.pqm", "pqmim.jsonl"]


def test_a_folder_that_cannot_be_read_fails_as_a_file_would(run, tree, monkeypatch):
    (tree / "deep" / "bad.png").unlink()
    scandir = os.scandir

    def scan(path):
        if str(path).endswith(("er", "locked")):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    status, _, err = run("compress", "-r", "in", "-o", "out")
    assert status == 1 and "3 done, 1 failed" in err and err.startswith("pqmim: in/deep/er: ")
    Path("locked").mkdir()
    assert run("compress", "locked") == (1, b"", "pqmim: locked: Permission denied.\n")
