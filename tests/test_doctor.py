"""What the doctor finds on this machine."""

import json

import pytest

from pqmim import doctor
from pqmim.codec import Codec
from pqmim.doctor import examine
from pqmim.errors import DamagedFile, UnsupportedFile
from pqmim.models.prior import compiled, selftest


@pytest.fixture(scope="module")
def codec():
    return Codec()


@pytest.mark.slow
def test_this_machine_is_healthy(codec):
    facts = json.loads(json.dumps(examine(codec, speed=False)))
    assert facts["healthy"] and "speed" not in facts
    assert facts["tests"]["digest of a small pass in NumPy"] is True
    assert facts["tests"]["a small file decodes to the codes that were written"] is True
    assert facts["prior"]["form"] in ("compiled", "torch", "numpy") and facts["prior"]["why"]


@pytest.mark.slow
def test_a_wrong_digest_is_told(codec, monkeypatch):
    again = compiled.passes.cache_clear
    again()
    monkeypatch.setattr(selftest, "EXPECTED", "another")
    try:
        facts = examine(codec, speed=False)
    finally:
        again()
    assert not facts["healthy"]
    assert facts["tests"]["digest of a small pass in NumPy"] is False


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_the_prior_is_that_of_the_codec(form, tiny_weights):
    found = doctor._prior(Codec(tiny_weights, prior=form))
    assert (found["form"], found["level"]) == (form, None) and found["why"]


def test_a_prior_that_was_asked_for_is_told_as_such(codec, monkeypatch):
    asked = doctor._prior(Codec(prior="numpy"))
    monkeypatch.setattr(compiled, "chosen_level", unavailable)
    without = doctor._prior(Codec(prior="numpy"))
    assert without == {"form": "numpy", "level": None, "why": "no library"}
    if doctor._prior(codec)["form"] == "compiled":
        assert asked["why"] == "this codec was asked for it, or for another device"


def unavailable():
    raise compiled.Unavailable("no library")


class Refusing:
    """A codec that finds a fault in every file."""

    def __init__(self, error):
        self._error = error

    def receive(self, data):
        raise self._error


def test_a_file_that_does_not_decode_is_a_failed_test_whatever_its_fault():
    for message in ("the file is damaged: its check fails", "the file is damaged: its bytes end before its codes do"):
        assert doctor._small_file(Refusing(DamagedFile(message))) is False


def test_a_file_of_other_weights_gives_no_verdict():
    verdict = doctor._small_file(Refusing(UnsupportedFile("the file needs weights 000, which are not installed")))
    assert verdict == "it was written with other weights: the file needs weights 000, which are not installed"
