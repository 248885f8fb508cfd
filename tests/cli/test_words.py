"""What words mean: options anywhere, and verbs that names of files stand for."""

import os

import pytest
from PIL import Image

import pqmim
from pqmim.cli.parser import build, inferred


def test_options_stand_anywhere(run, photo):
    assert run("compress", "photo.png", "-q", "20", "small.pqm")[0] == 0
    assert pqmim.info("small.pqm")["quality"] == 20
    assert run("decompress", "--partial", "small.pqm", "--seed", "3", "back.png", "--force")[0] == 0
    assert run("info", "small.pqm", "--json", "small.pqm")[1].count(b"\n") == 2


def test_the_verb_is_inferred(run, photo):
    assert run("photo.png", "out.pqm", "-q", "7")[0] == 0
    assert run("out.pqm", "back.png")[1] == b"back.png: 24x16\n"
    assert b"quality 7" in run("out.pqm")[1]
    assert run("-q", "9", "photo.png")[0] == 0
    assert pqmim.info("photo.pqm")["quality"] == 9


@pytest.mark.parametrize(
    "words, verb",
    [
        ("a.jpg b.pqm", "compress"),
        ("- b.pqm", "compress"),
        ("a.pqm b.jpg", "decompress"),
        ("a.pqm -", "decompress"),
        ("a.pqm -o folder", "decompress"),
        ("a.pqm b.pqm --json", "info"),
        ("-", None),
        ("none", None),
        ("--size 200 a.JPG", "compress"),
        ("-o out.png a.pqm", "decompress"),
        ("--output out.png a.pqm", "decompress"),
        ("-o small.pqm a.png", "compress"),
        ("--weights w.png a.pqm", "info"),
        ("--wei w.png a.pqm", "info"),
        ("--json a.pqm", "info"),
        ("-- a.pqm", "info"),
    ],
)
def test_inference(here, words, verb):
    assert inferred(words.split(), build().get_default("verbs")) == verb


def test_the_output_may_come_first(run, photo):
    assert run("-o", "small.pqm", "photo.png")[0] == 0
    assert run("-o", "back.png", "small.pqm")[1] == b"back.png: 24x16\n"


def test_a_folder_or_a_file_without_an_ending(run, photo):
    os.rename("photo.png", "scan")
    assert run("scan", "scan.pqm")[0] == 0
    os.mkdir("in")
    os.rename("scan", "in/scan.png")
    assert run("in", "-o", "out/")[0] == 0
    assert os.path.exists("out/scan.pqm")


@pytest.mark.parametrize("words, hint", [("compres a.png", "did you mean `pqmim compress`?"), ("xyz", "the verbs are")])
def test_no_verb(run, here, words, hint, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run(*words.split())
    assert stop.value.code == 2 and hint in capsysbinary.readouterr().err.decode()


def test_output_is_a_file_or_a_folder(run, photo):
    for output, made in (("a.pqm", "a.pqm"), ("sub/", "sub/photo.pqm"), ("new", "new/photo.pqm")):
        assert run("compress", "photo.png", "-o", output)[0] == 0
        assert os.path.isfile(made)
    assert run("preview", "a.pqm", "-o", "new/")[0] == 0
    assert run("generate", "-o", "new/", "--size", "8x8")[0] == 0
    assert sorted(os.listdir("new")) == ["a-preview.png", "generated.png", "photo.pqm"]


@pytest.mark.parametrize(
    "words, complaint",
    [
        ("compress photo.png out", "out: there is no such file; to write to it, name it out.pqm"),
        ("compress photo.png -o out.xyz", "out.xyz: does not end in .pqm"),
        ("compress photo.png photo.png -o one.pqm", "one.pqm: 2 results need a folder"),
        ("compress photo.png -o photo.png", "photo.png: a file that does not end in .pqm"),
        ("compress a.pqm", "a.pqm: a .pqm file already"),
        ("compress photo.pqm --force", "photo.pqm: a .pqm file already"),
        ("text --read photo.png a.png", "photo.png: not text"),
    ],
)
def test_hints(run, photo, words, complaint):
    status, out, err = run(*words.split())
    assert (status, out, err.count("\n")) == (1, b"", 1)
    assert complaint in err


def test_control_characters_in_a_name_do_not_reach_the_terminal(run, here):
    name = "bad\x1b[2J\udcff.png"
    status, _, err = run("compress", name)
    assert status == 1 and "\x1b" not in err and r"bad\x1b[2J" in err


def test_a_name_with_a_zero_byte(run, here):
    status, _, err = run("info", "a\0.pqm")
    assert (status, err.count("\n")) == (1, 1)


def test_completion(run):
    pytest.importorskip("shtab")
    status, out, _ = run("completion", "bash")
    assert status == 0 and b"compress" in out and b"--quality" in out


def test_view_in_a_terminal(run, photo, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    run("compress", "photo.png")
    status, out, _ = run("open", "photo.pqm")
    lines = out.decode().splitlines()
    assert status == 0 and lines[-1] == "photo.pqm: 24x16"
    assert lines[0].count("▀") == 24 and "48;2;200;100;50m" in lines[0] and len(lines) == 9


def test_the_map_of_what_is_invented(run, photo):
    run("compress", "photo.png")
    assert run("decompress", "photo.pqm", "a.png", "--show-invented", "--look", "vivid", "--variants", "2")[0] == 0
    with Image.open("a-2-invented.png") as image:
        assert (image.mode, image.size, image.getpixel((0, 0))) == ("L", (24, 16), 128)


def test_a_usage_error_names_the_verb_in_one_line(run, here, capsysbinary):
    with pytest.raises(SystemExit) as stop:
        run("view")
    assert stop.value.code == 2
    assert capsysbinary.readouterr().err.decode() == (
        "usage: pqmim view PHOTO.pqm [options]\npqmim view: error: the following arguments are required: PHOTO.pqm\n"
    )


@pytest.mark.parametrize(
    "words",
    [
        "view packed.pqm --terminal",
        "preview packed.pqm",
        "decompress packed.pqm a.png",
        "check packed.pqm",
        "text --read packed.txt a.png",
        "packets --join packets a.png",
    ],
)
def test_verbs_that_decode_take_a_limit(run, photo, codec, words):
    run("compress", "photo.png", "packed.pqm", "--size", "200")
    run("text", "packed.pqm", "-o", "packed.txt")
    run("packets", "packed.pqm", "packets/")
    codec.asked.clear()
    run(*words.split(), "--max-pixels", "30M")
    assert any(asked.get("max_pixels") == 30_000_000 for asked in codec.asked)


def test_verbs_that_make_take_a_limit(run, photo, codec):
    run("text", "photo.png", "--max-pixels", "30M")
    assert codec.encoded == [{"max_pixels": 30_000_000}]
    run("compress", "photo.png", "packed.pqm")
    Image.new("L", (24, 16), 255).save("mask.png")
    run("generate", "-o", "new.png", "--keep", "packed.pqm", "--mask", "mask.png", "--max-pixels", "30M")
    assert codec.asked[-1]["max_pixels"] == 30_000_000
    with pytest.raises(SystemExit):
        run("generate", "-o", "new.png", "--max-pixels", "30M")


def test_after_two_dashes_all_words_are_names(run, photo):
    photo.rename("-q.png")
    assert run("compress", "--", "-q.png")[:2] == (0, run("compress", "./-q.png", "--force")[1])
    assert run("compress", "-q", "20", "-o", "a.pqm", "--", "-q.png")[0] == 0 and pqmim.info("a.pqm")["quality"] == 20
