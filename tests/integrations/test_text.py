import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pqmim.errors import DamagedFile
from pqmim.integrations import text


def test_the_alphabet_survives_normalisation_and_counts_once():
    assert len(set(text.LONG + text.SHORT)) == 2048 + 8
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert unicodedata.normalize(form, text.LONG) == text.LONG
    assert max(map(ord, text.LONG)) <= 0x10FF  # posts count later characters twice


def test_known_base2048():
    data = bytes([1, 2, 4, 8, 16, 32, 64, 128])
    assert text.to_base2048(data) == "GƸOʜeҩ"
    assert text.from_base2048("GƸOʜeҩ") == data


@given(st.binary(max_size=60))
def test_base2048_back(data):
    coded = text.to_base2048(data)
    assert text.from_base2048(coded) == data
    assert len(coded) == -(-8 * len(data) // 11)


def test_a_post_holds_385_bytes():
    assert len(text.to_base2048(bytes(385))) == 280
    assert len(text.to_base2048(bytes(386))) == 281


@given(st.binary(min_size=1, max_size=60))
def test_every_form_is_told_apart(data):
    link = text.to_link(data, "https://example.org/view#old")
    assert link.startswith("https://example.org/view#") and text.from_text(link) == data
    assert text.from_text(text.to_base64url(data) + "\n") == data


def test_a_file_is_told_from_either_alphabet():
    data = b"\xd1" + bytes(range(100))
    assert text.from_text(text.to_base2048(data)) == text.from_text(text.to_base64url(data)) == data


@pytest.mark.parametrize("bad", ["", "https://example.org/", "AAAAA", "GƸOʜe!", "GƸ0Oʜ", "GƸOʜeҨ"])
def test_other_text_is_refused(bad):
    with pytest.raises(DamagedFile):
        text.from_text(bad)


@pytest.mark.parametrize("length", [*range(41), 385, 4001])
def test_base2048_is_one_number_in_eleven_bits_a_character(length):
    data = bytes(i * 37 % 256 for i in range(length))
    bits = "".join(f"{byte:08b}" for byte in data)
    whole, left = divmod(len(bits), 11)
    expected = [text.LONG[int(bits[11 * i : 11 * i + 11], 2)] for i in range(whole)]
    if left:
        alphabet, width = (text.SHORT, 3) if left <= 3 else (text.LONG, 11)
        expected.append(alphabet[int(bits[11 * whole :].ljust(width, "1"), 2)])
    assert text.to_base2048(data) == "".join(expected)
    assert text.from_base2048("".join(expected)) == data


def test_links_need_no_scheme():
    assert text.from_text(text.to_link(b"some bytes", "example.org/view")) == b"some bytes"
