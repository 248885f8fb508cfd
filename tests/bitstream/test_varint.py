"""Numbers in base 128: one spelling each, and a bound on their length."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqmim.bitstream import varint
from pqmim.errors import DamagedFile


@pytest.mark.parametrize(
    ("value", "packed"),
    [(0, "00"), (127, "7f"), (128, "80 01"), (300, "ac 02"), (16384, "80 80 01"), (2**35 - 1, "ff ff ff ff 7f")],
)
def test_known_spellings(value, packed):
    assert varint.pack(value) == bytes.fromhex(packed)
    assert varint.parse(b"x" + bytes.fromhex(packed) + b"rest", 1) == (value, 1 + len(bytes.fromhex(packed)))


@given(st.integers(0, varint.LIMIT - 1))
def test_round_trip(value):
    packed = varint.pack(value)
    assert varint.parse(packed) == (value, len(packed))
    for end in range(len(packed)):
        with pytest.raises(EOFError):
            varint.parse(packed[:end])


@pytest.mark.parametrize("value", [-1, varint.LIMIT])
def test_numbers_out_of_range(value):
    with pytest.raises(ValueError, match="is not in 0"):
        varint.pack(value)


@pytest.mark.parametrize("spelled", ["80 00", "ff 80 00", "ff ff ff ff ff 01", "80 80 80 80 80", "ff ff ff ff 80"])
def test_other_spellings_are_damage(spelled):
    with pytest.raises(DamagedFile):
        varint.parse(bytes.fromhex(spelled))
