"""QR codes, text and packets by the command line."""

import io
import json
import os
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

import pqmim
from pqmim.cli import main


@pytest.fixture
def packed(run, photo):
    run("compress", "photo.png", "packed.pqm", "--size", "200")
    return (photo.parent / "packed.pqm").read_bytes()


def test_text_and_back(run, photo, packed):
    for words in ([], ["--base2048"], ["--link", "https://example.org/view"]):
        status, out, err = run("text", "packed.pqm", *words)
        assert (status, err) == (0, "")
        assert run("text", "--read", "-", "back.pqm", "--force", stdin=out)[0] == 0
        assert Path("back.pqm").read_bytes() == packed
    assert run("text", "--read", "-", "-", stdin=out)[1] == packed
    assert run("text", "--read", "-", "back.png", stdin=out)[:2] == (0, b"back.png: from text of 200 bytes\n")


@pytest.mark.parametrize("output", ["out.pqm", "-"])
def test_text_of_something_else_is_not_written(run, here, output):
    Path("words.txt").write_text("aGVsbG8gd29ybGQ")
    status, out, err = run("text", "--read", "words.txt", output)
    assert (status, out) == (1, b"") and err.startswith("pqmim: words.txt: this is not a .pqm file")
    assert os.listdir() == ["words.txt"]


def test_a_photo_becomes_a_post(run, photo):
    status, out, _ = run("text", "photo.png", "--base2048", "--json")
    facts = json.loads(out)
    assert (status, facts["bytes"], facts["characters"], len(facts["text"])) == (0, 385, 280, 280)
    assert json.loads(run("text", "photo.png", "--base2048", "--json", "--size", "200")[1])["bytes"] == 200
    assert run("text", "photo.png", "-o", "post.txt")[0] == 0
    assert os.path.getsize("post.txt") == 267 + 1


def test_qr_and_back(run, photo, packed):
    pytest.importorskip("segno")
    pytest.importorskip("zxingcpp")
    for words in ([], ["--raw"], ["--base45"], ["--link", "https://example.org/view"]):
        assert run("qr", "packed.pqm", "code.png", "--force", *words)[0] == 0
        assert run("qr", "--read", "code.png", "-o", "back.pqm", "--force")[0] == 0
        assert Path("back.pqm").read_bytes() == packed
    assert run("qr", "--read", "code.png")[:2] == (0, b"code-photo.png: from a QR code of 200 bytes\n")
    assert run("qr", "photo.png", "code.svg", "--json")[0] == 0
    assert len(run("qr", "packed.pqm")[1].splitlines()) > 30
    status, _, err = run("qr", "--read", "photo.png")
    assert status == 1 and err.startswith("pqmim: photo.png: there is no QR code") and err.count("\n") == 1


@pytest.mark.parametrize("output", ["sent", "sent.txt"])
def test_packets_and_back(run, photo, packed, output):
    assert run("packets", "packed.pqm", output, "--mtu", "51")[:2] == (
        0,
        f"{output}: 200 bytes in 5 packets\n".encode(),
    )
    assert run("packets", "--join", output, "back.pqm")[0] == 0
    assert Path("back.pqm").read_bytes() == packed


def test_lost_packets_are_told(run, photo, packed):
    _, out, _ = run("packets", "packed.pqm", "--mtu", "51")
    lines = out.split(b"\n")
    lines[2] = b"ff" + lines[2]
    status, out, err = run("packets", "--join", "-", "back.pqm", "--json", stdin=b"\n".join(lines))
    assert status == 0 and json.loads(out)["missing"] == [2]
    assert "4 of 5 packets arrived; 92 bytes before the first gap" in err and "missing: 2" in err
    assert packed.startswith(Path("back.pqm").read_bytes()) and pqmim.info("back.pqm")["width"] == 24
    status, _, err = run("packets", "--join", "-", "back.png", stdin=b"\n".join(lines[1:]))
    assert status == 1 and "packet 0 is missing" in err


def test_damaged_lines_are_counted(run, photo, packed):
    _, out, _ = run("packets", "packed.pqm", "--mtu", "51")
    first, second, *rest = out.splitlines()
    lines = b"\r\n".join([first, second[:-1], b"", b"no packet \xff", *rest, b"", b""])
    status, _, err = run("packets", "--join", "-", "back.pqm", stdin=lines)
    assert status == 0 and "4 of 5 packets arrived" in err and "2 packets were damaged" in err
    status, _, err = run("packets", "--join", "-", "other.pqm", stdin=b"\n".join([second[:-2], *out.splitlines()]))
    assert (status, err) == (0, "pqmim: standard input: 1 packet was damaged\n")
    assert Path("other.pqm").read_bytes() == packed
    assert "no packet whose check holds" in run("packets", "--join", "-", "none.pqm", stdin=b"\n")[2]


def test_packets_of_two_files_do_not_mix(run, photo, packed):
    assert run("packets", "packed.pqm", "-o", "sent/")[0] == 0
    assert "not empty" in run("packets", "packed.pqm", "-o", "sent/")[2]


@pytest.mark.parametrize(
    "words",
    [
        "text --read a.txt",
        "packets --join a.txt",
        "text a.png b.txt -o c.txt",
        *(f"text --read a.txt a.png {option}" for option in ("--size 99", "--base2048", "--link there")),
        *(f"qr --read a.png b.png {option}" for option in ("--size 99", "--raw", "--base45", "--link there")),
        *(f"packets --join a.txt a.png {option}" for option in ("--size 99", "--mtu 51")),
        *(f"{verb} a.pqm --order 3" for verb in ("view", "preview")),
    ],
)
def test_usage_errors(run, here, words):
    with pytest.raises(SystemExit) as stop:
        run(*words.split())
    assert stop.value.code == 2


def test_packets_of_a_longer_file_go_away_when_forced(run, photo, packed):
    assert run("packets", "packed.pqm", "-o", "sent/", "--mtu", "20")[0] == 0
    Path("sent/notes.txt").write_text("kept")
    assert run("packets", "packed.pqm", "-o", "sent/", "--mtu", "51", "--force")[0] == 0
    assert sorted(os.listdir("sent")) == [*(f"{number:04}.bin" for number in range(5)), "notes.txt"]
    assert run("packets", "--join", "sent", "back.pqm")[0] == 0
    assert Path("back.pqm").read_bytes() == packed


@pytest.mark.parametrize("words", ["text photo.png", "packets photo.png", "compress photo.png --device cuda"])
def test_without_torch_it_is_one_sentence(run, photo, codec, monkeypatch, words):
    def encode(self, image, **options):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(codec, "encode", encode)
    monkeypatch.setitem(sys.modules, "torch", None)
    status, out, err = run(*words.split())
    assert (status, out, err) == (
        1,
        b"",
        "pqmim: this needs PyTorch, which is not installed: pip install torch.\n",
    )


def test_a_terminal_without_half_blocks_shows_something(run, photo, packed, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["view", "packed.pqm", "--terminal"]) == 0
    terminal.flush()
    assert b"m?" in terminal.buffer.getvalue()


def test_text_may_begin_with_a_byte_order_mark(run, photo, packed):
    _, out, _ = run("text", "packed.pqm")
    assert run("text", "--read", "-", "back.pqm", stdin=b"\xef\xbb\xbf" + out)[0] == 0
    assert Path("back.pqm").read_bytes() == packed


def test_a_code_from_standard_input_has_a_plain_name(run, photo, packed):
    pytest.importorskip("segno")
    pytest.importorskip("zxingcpp")
    assert run("qr", "packed.pqm", "code.png")[0] == 0
    os.unlink("photo.png")
    assert run("qr", "--read", "-", stdin=Path("code.png").read_bytes())[0] == 0
    assert sorted(os.listdir()) == ["code.png", "packed.pqm", "photo.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_photo_may_come_through_a_named_pipe(run, photo):
    data = photo.read_bytes()
    os.mkfifo("pipe")
    writer = threading.Thread(target=Path("pipe").write_bytes, args=(data,))
    writer.start()
    status, out, _ = run("text", "pipe")
    writer.join()
    assert (status, out) == run("text", "photo.png")[:2] and status == 0


def test_endless_input_is_refused(run, here, monkeypatch):
    monkeypatch.setattr("pqmim.image.limits.MAX_PIXELS", 1)
    endless = bytes((1 << 24) + 20)
    for words in (["text", "-"], ["compress", "-", "out.pqm"]):
        status, out, err = run(*words, stdin=endless)
        assert (status, out) == (1, b"") and "standard input: too large a file: more than 16,777,232 bytes" in err
    assert os.listdir() == []


def test_a_code_on_clear_ground_is_read(run, photo, packed):
    pytest.importorskip("segno")
    pytest.importorskip("zxingcpp")
    assert run("qr", "packed.pqm", "code.png")[0] == 0
    with Image.open("code.png") as code:
        black = code.convert("L").point(lambda level: 255 * (level < 128))
        clear = Image.new("RGBA", code.size)
        clear.paste("black", mask=black)
    clear.save("clear.png")
    assert run("qr", "--read", "clear.png", "-o", "back.pqm")[0] == 0
    assert Path("back.pqm").read_bytes() == packed


def test_packets_go_to_a_file_that_is_there(run, photo, packed):
    Path("lines").write_text("before")
    assert run("packets", "packed.pqm", "-o", "lines")[0] == 1
    assert run("packets", "packed.pqm", "-o", "lines", "--force")[0] == 0
    assert run("packets", "--join", "lines", "back.pqm")[0] == 0
    assert Path("back.pqm").read_bytes() == packed


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_packets_go_through_a_named_pipe(run, photo, packed):
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        assert run("packets", "packed.pqm", "-o", "pipe")[0] == 0
        assert os.read(reader, 10**4) == run("packets", "packed.pqm")[1]
    finally:
        os.close(reader)


@pytest.mark.parametrize("words", ["no file: ?!", "AAAA", ""])
def test_text_that_cannot_be_read_is_named(run, here, words):
    Path("words.txt").write_text(words)
    status, _, err = run("text", "--read", "words.txt", "a.png")
    assert status == 1 and err.startswith("pqmim: words.txt: ")
