"""What the doctor finds on this machine."""

import json

import pytest

from pqmim.codec import Codec
from pqmim.doctor import examine
from pqmim.models.prior import compiled, selftest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def codec():
    return Codec()


def test_this_machine_is_healthy(codec):
    facts = json.loads(json.dumps(examine(codec, speed=False)))
    assert facts["healthy"] and "speed" not in facts
    assert facts["tests"]["digest of a small pass in NumPy"] is True
    assert facts["tests"]["a small file decodes to the codes that were written"] is True
    assert facts["prior"]["form"] in ("compiled", "torch", "numpy") and facts["prior"]["why"]


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
