"""What goes to standard output and error: JSON alone where it is asked for, and nothing where the shell closed them."""

import json
import sys
from pathlib import Path

import pytest

from pqmim.cli import main
from pqmim.cli.messages import is_terminal, say, warn


@pytest.fixture
def packed(run, photo):
    run("compress", "photo.png", "packed.pqm", "--size", "200")


def test_view_prints_json_alone(run, packed, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    status, out, _ = run("view", "packed.pqm", "--json")
    assert (status, json.loads(out)) == (0, {"file": "packed.pqm", "width": 24, "height": 16})


def test_qr_prints_json_alone(run, packed):
    pytest.importorskip("segno")
    pytest.importorskip("zxingcpp")
    drawing = run("qr", "packed.pqm")[1].decode()
    facts = json.loads(run("qr", "packed.pqm", "--json")[1])
    assert (facts["bytes"], facts["form"], facts["code"] + "\n") == (200, "text", drawing)


@pytest.mark.parametrize(
    "words",
    [
        "view packed.pqm --terminal",
        "compress photo.png -",
        "text --read - -",
        "packets --join - -",
        "qr packed.pqm -",
        "qr --read code.png -",
    ],
)
def test_json_and_a_file_cannot_both_go_to_standard_output(run, packed, words, capsysbinary):
    pytest.importorskip("segno")
    pytest.importorskip("zxingcpp")
    with pytest.raises(SystemExit) as stop:
        run(*words.split(), "--json")
    assert stop.value.code == 2
    assert "cannot both go to standard output" in capsysbinary.readouterr().err.decode()


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
@pytest.mark.parametrize(
    "words", ["view packed.pqm --terminal", "info packed.pqm", "text packed.pqm", "decompress packed.pqm a.png"]
)
def test_a_closed_stream_is_not_missed(run, packed, monkeypatch, closed, words):
    monkeypatch.setattr(sys, closed, None)
    assert main(words.split()) == 0


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_evaluate_with_a_closed_stream(run, photo, monkeypatch, closed):
    monkeypatch.setattr(sys, closed, None)
    assert main(["evaluate", str(photo.parent), "--codec", "pqmim", "--json", "a.json"]) == 0
    assert "pqmim" in json.loads(Path("a.json").read_text())["codecs"]


def test_without_standard_error_nothing_is_told_on_standard_output(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    warn("a note")
    say("a result")
    assert capsys.readouterr().out == "a result\n"
    assert not is_terminal(None) and not is_terminal(sys.stdout)


@pytest.mark.parametrize("verb", ["view", "preview", "info", "decompress"])
def test_errors_of_a_damaged_header_name_the_file(run, photo, verb):
    run("compress", "photo.png", "packed.pqm", "-q", "10")
    data = bytearray(Path("packed.pqm").read_bytes())
    data[2] ^= 0xFF
    Path("damaged.pqm").write_bytes(data)
    status, _, err = run(verb, "damaged.pqm")
    assert status == 1
    assert err.startswith("pqmim: damaged.pqm: the ")
