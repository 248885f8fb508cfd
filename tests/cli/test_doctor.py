"""What the machine makes of the codec, on one screen."""

import json

import pytest

from pqmim import doctor
from pqmim.cli import main
from pqmim.cli.doctor import sheet

FACTS = {
    "versions": {"pqmim": "1.2", "python": "3.12", "system": "Plan 9", "torch": "not installed"},
    "processor": {"name": "Z80", "machine": "z80", "features": [], "count": 2, "free": 1},
    "weights": "02a",
    "native": {"library": None, "why": "it was not built", "levels": {}},
    "prior": {"form": "numpy", "level": None, "why": "there is no compiled prior"},
    "encoder": {"form": None, "why": "torch is not installed"},
    "products": {"torch": None, "why": "torch is not installed"},
    "tests": {"one": True, "two": "not on this processor"},
    "speed": {"decompress": 0.25, "decompress_cpu": 0.5, "why": "no torch"},
    "healthy": True,
}


def test_the_sheet_says_what_was_chosen_and_why():
    lines = sheet(FACTS).splitlines()
    assert lines[0] == "pqmim 1.2, weights 02a"
    assert "  library    none: it was not built" in lines
    assert "  prior      numpy: there is no compiled prior" in lines
    assert "  encoder    none: torch is not installed" in lines
    assert "    passed one" in lines and "    -      two (not on this processor)" in lines
    assert "  decompress 0.25 megapixels a second, 0.50 a second of one processor, at quality 50" in lines
    assert not any("compress 0" in line and "decompress" not in line for line in lines)
    assert lines[-1] == "All is well."


def test_a_test_that_fails_is_plain():
    lines = sheet(FACTS | {"tests": {"one": False}, "healthy": False}).splitlines()
    assert "    FAILED one" in lines
    assert lines[-1] == "A test fails: files may be wrong on this machine."


@pytest.mark.parametrize("healthy", [True, False])
def test_facts_as_json_and_the_exit_status(capsys, monkeypatch, healthy):
    asked = []
    monkeypatch.setattr(doctor, "examine", lambda codec, speed: asked.append(speed) or FACTS | {"healthy": healthy})
    assert main(["doctor", "--quick", "--json"]) == (not healthy)
    assert json.loads(capsys.readouterr().out) == FACTS | {"healthy": healthy}
    assert main(["doctor"]) == (not healthy)
    assert capsys.readouterr().out == sheet(FACTS | {"healthy": healthy}) + "\n"
    assert asked == [False, True]
