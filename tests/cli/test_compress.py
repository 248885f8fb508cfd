import os
import sys
import threading
import types
from pathlib import Path

import pytest
from PIL import Image

import pqmim


def test_names_the_output_after_the_input(run, photo):
    status, out, err = run("compress", "photo.png")
    data = (photo.parent / "photo.pqm").read_bytes()
    assert (status, err) == (0, "")
    assert out.decode() == f"photo.pqm: {len(data)} bytes, {8 * len(data) / (24 * 16):.3f} bpp\n"
    facts = pqmim.info(data)
    assert (facts["width"], facts["height"], facts["quality"]) == (24, 16, 50)


def test_a_second_name_in_pqm_is_the_output(run, photo):
    assert run("compress", "photo.png", "small.pqm", "-q", "7")[0] == 0
    assert sorted(os.listdir()) == ["photo.png", "small.pqm"]
    with open("small.pqm", "rb") as file:
        assert pqmim.info(file.read())["quality"] == 7


def test_a_second_picture_is_an_input(run, photo):
    Image.new("L", (5, 4)).save("other.png")
    assert run("compress", "photo.png", "other.png")[0] == 0
    assert sorted(os.listdir()) == ["other.png", "other.pqm", "photo.png", "photo.pqm"]


def test_pipes(run, photo):
    status, out, err = run("compress", "-", "-", stdin=photo.read_bytes())
    assert (status, err) == (0, "")
    assert pqmim.info(out)["width"] == 24
    assert run("compress", "-", stdin=photo.read_bytes())[1] == out
    assert run("compress", photo, "-")[1] == out
    assert run("compress", "-", "new.pqm", stdin=photo.read_bytes())[0] == 0
    assert (photo.parent / "new.pqm").read_bytes() == out


def test_a_folder_is_walked_one_level(run, here):
    (here / "in" / "deeper").mkdir(parents=True)
    for name in ("in/a.PNG", "in/b.jpg", "in/deeper/c.png"):
        Image.new("RGB", (8, 8)).save(here / name)
    (here / "in" / "notes.txt").write_text("no picture")
    status, out, err = run("compress", "in", "-o", "out")
    assert (status, err) == (0, "")
    assert sorted(os.listdir("out")) == ["a.pqm", "b.pqm", "pqmim.jsonl"]
    assert [line.split(b":")[0] for line in out.splitlines()] == [b"out/a.pqm", b"out/b.pqm"]


def test_a_bad_file_does_not_stop_the_others(run, photo):
    (photo.parent / "bad.png").write_bytes(b"no picture")
    status, out, err = run("compress", "bad.png", "missing.png", "photo.png")
    assert status == 1
    assert out.startswith(b"photo.pqm: ")
    assert [line.split()[1] for line in err.splitlines()] == ["bad.png:", "missing.png:", "3"]
    assert "1 done, 2 failed" in err.splitlines()[-1]
    assert sorted(os.listdir()) == ["bad.png", "photo.png", "photo.pqm"]


def test_an_existing_output_is_kept_and_costs_no_work(run, photo, codec):
    (photo.parent / "photo.pqm").write_bytes(b"precious")
    status, out, err = run("compress", "photo.png")
    assert (status, out) == (1, b"")
    assert err == "pqmim: photo.pqm: exists already: choose another name, or overwrite it with --force.\n"
    assert codec.opened == []
    assert (photo.parent / "photo.pqm").read_bytes() == b"precious"


def test_force_overwrites(run, photo):
    (photo.parent / "photo.pqm").write_bytes(b"old")
    assert run("compress", "photo.png", "--force")[0] == 0
    assert pqmim.info((photo.parent / "photo.pqm").read_bytes())["width"] == 24


def test_names_that_collide_are_kept_apart(run, photo):
    os.mkdir("other")
    for name in ("photo.jpg", "other/photo.png", "photo.png-2.bmp"):
        Image.new("RGB", (9, 9)).save(name)
    assert run("compress", "photo.png", "photo.jpg", "other", "photo.png-2.bmp", "-o", "out")[0] == 0
    names = ["photo.jpg.pqm", "photo.png-2-2.pqm", "photo.png-2.pqm", "photo.png.pqm"]
    assert sorted(name for name in os.listdir("out") if name.endswith(".pqm")) == names
    assert pqmim.info("out/photo.png.pqm")["width"] == 24


@pytest.mark.parametrize(
    "target, complaint",
    [
        ("photo.png/a.pqm", "pqmim: photo.png: cannot be made: a file is in its place.\n"),
        ("folder.pqm", "pqmim: folder.pqm: cannot be written: it is a folder; to write into it, use -o.\n"),
    ],
)
def test_a_place_that_cannot_be_written(run, photo, codec, target, complaint):
    (photo.parent / "folder.pqm").mkdir()
    assert run("compress", "photo.png", target) == (1, b"", complaint)
    assert codec.opened == []


def test_the_folder_of_a_result_is_made(run, photo):
    assert run("compress", "photo.png", "new/a.pqm")[0] == run("compress", "photo.png", "-o", "other/a.pqm")[0] == 0
    assert os.listdir("new") == os.listdir("other") == ["a.pqm"]


def test_pictures_that_are_not_read_are_told(run, here):
    (here / "in" / "deeper").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(here / "in" / "a.jfif", "JPEG")
    for name in ("in/b.HEIC", "in/c.heic", "in/deeper/d.cr2", "in/notes.txt"):
        (here / name).write_bytes(b"")
    told = "pqmim: pictures of kinds that are not read are passed over: "
    assert run("compress", "in", "-o", "out") == (0, b"out/a.pqm: 17 bytes, 2.125 bpp\n", told + "2 .heic\n")
    assert run("compress", "-r", "in", "-o", "more")[2] == told + "2 .heic, 1 .cr2\n"


def test_output_folder(run, photo):
    assert run("compress", "photo.png", "-o", "photo.png")[0] == 1
    status, _, err = run("compress", "-", "-o", "out", stdin=photo.read_bytes())
    assert (status, err.count("\n")) == (1, 1)
    assert os.listdir() == ["photo.png"]


def test_a_folder_without_pictures(run, here):
    (here / "empty").mkdir()
    status, out, err = run("compress", "empty")
    assert (status, out) == (1, b"")
    assert err.startswith("pqmim: empty: a folder without a file that ends in .png, ") and err.count("\n") == 1


def test_notes_go_to_standard_error(run, here):
    Image.new("CMYK", (8, 8)).save("print.tif")
    status, _, err = run("compress", "print.tif")
    assert (status, err) == (0, "pqmim: print.tif: converted from CMYK to RGB\n")


def test_options_reach_the_codec(run, photo, codec):
    assert run("compress", "photo.png", "--threads", "3", "--weights", "w.safetensors", "--effort", "8")[0] == 0
    assert [str(value) for value in codec.opened[0].values()] == ["w.safetensors", "cpu", "3"]
    assert codec.encoded == [{"effort": 8}]


@pytest.mark.parametrize("available", [True, False])
def test_cuda_only_where_there_is_one(run, photo, codec, monkeypatch, available):
    torch = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: available))
    monkeypatch.setitem(sys.modules, "torch", torch)
    status, _, err = run("compress", "photo.png", "--device", "cuda")
    assert [call["device"] for call in codec.opened] == (["cuda"] if available else [])
    assert (status, err.count("\n")) == (0, 0) if available else (1, 1)


@pytest.mark.parametrize(
    "words", ["-q 101", "-q -1", "-q 2.5", "--threads 0", "--device abacus", "--effort 100", "--effort best"]
)
def test_usage_errors(run, photo, words):
    with pytest.raises(SystemExit) as stop:
        run("compress", "photo.png", *words.split())
    assert stop.value.code == 2
    assert os.listdir() == ["photo.png"]


@pytest.mark.parametrize("text, size", [("200", 200), ("1kB", 1000), ("0.5KB", 500)])
def test_exact_size(run, photo, text, size):
    status, out, _ = run("compress", photo, "--size", text)
    assert status == 0 and f"{size:,} bytes" in out.decode()
    assert len(photo.with_suffix(".pqm").read_bytes()) == size


@pytest.mark.parametrize("text", ["0", "-5", "11", "many", "nan", "1e400"])
def test_absurd_sizes_are_refused(run, photo, text):
    with pytest.raises(SystemExit) as stop:
        run("compress", photo, "--size", text)
    assert stop.value.code == 2


def test_size_in_bits_a_pixel(run, photo):
    assert run("compress", photo, "--bpp", "2")[0] == 0
    assert len(photo.with_suffix(".pqm").read_bytes()) == 24 * 16 * 2 // 8


@pytest.mark.parametrize("text", ["0", "-1", "much", "nan", "inf"])
def test_absurd_rates_are_refused(run, photo, text):
    with pytest.raises(SystemExit) as stop:
        run("compress", photo, "--bpp", text)
    assert stop.value.code == 2


def test_a_rate_without_room_for_a_header(run, photo):
    status, _, err = run("compress", photo, "--bpp", "0.01")
    assert (status, err.count("\n")) == (1, 1) and "no room" in err and str(photo) in err
    assert os.listdir() == ["photo.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_verify_does_not_read_devices_and_pipes_back(run, photo):
    assert run("compress", photo, "-o", os.devnull, "--verify")[0] == 0
    os.mkfifo("pipe")
    received = []
    reader = threading.Thread(target=lambda: received.append(Path("pipe").read_bytes()), daemon=True)
    reader.start()
    assert run("compress", photo, "-o", "pipe", "--verify")[0] == 0
    reader.join(60)
    assert run("compress", photo, "-o", "whole.pqm", "--verify")[0] == 0
    assert received == [Path("whole.pqm").read_bytes()]


def test_verify_reads_files_back(run, photo, monkeypatch):
    monkeypatch.setattr("pqmim.cli.compress.read", lambda name: b"something else")
    status, _, err = run("compress", photo, "--verify")
    assert status == 1 and "does not read back" in err
