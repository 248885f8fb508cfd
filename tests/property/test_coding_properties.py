"""Properties of the range coder over tables, sequences and bytes of all kinds."""

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pqmim.coding.range_coder import RangeDecoder, RangeEncoder

bounded = settings(max_examples=60, derandomize=True, deadline=None, database=None)


@st.composite
def rows(draw, k: int) -> list[int]:
    """Cumulative frequencies of k symbols: even, skewed, at the least frequency, or cut anywhere."""
    kind = draw(st.sampled_from(["even", "one likely", "powers", "any"]))
    spare = 65536 - k
    if kind == "even":
        cuts = [spare * i // k for i in range(1, k)]
    elif kind == "one likely":
        likely = draw(st.integers(0, k - 1))
        cuts = [0 if i <= likely else spare for i in range(1, k)]
    elif kind == "powers":
        cuts = [spare - (spare >> min(i, 20)) for i in range(1, k)]
    else:
        cuts = sorted(draw(st.lists(st.integers(0, spare), min_size=k - 1, max_size=k - 1)))
    return [0, *(cut + i for i, cut in enumerate(cuts, 1)), 65536]


@st.composite
def sequences(draw, longest: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Tables (n, k + 1) and symbols (n,), not drawn by their probabilities: rare ones are as welcome."""
    k = draw(st.sampled_from([1, 2, 3, 5, 17, 256]))
    kinds = np.array(draw(st.lists(rows(k), min_size=1, max_size=3)))
    n = draw(st.integers(0, longest))
    choice = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=n, max_size=n))
    symbols = draw(st.lists(st.integers(0, k - 1), min_size=n, max_size=n))
    return kinds[np.array(choice, int)], np.array(symbols, int)


def encode(table: np.ndarray, symbols: np.ndarray) -> bytes:
    starts = table[np.arange(len(symbols)), symbols]
    encoder = RangeEncoder()
    encoder.encode(starts, table[np.arange(len(symbols)), symbols + 1] - starts)
    return encoder.finish()


def decode(data: bytes, table: np.ndarray) -> tuple[list[int], bool]:
    decoder = RangeDecoder(data)
    symbols = decoder.decode(table).tolist()
    return symbols, decoder.exhausted


@bounded
@given(sequences(), st.binary(max_size=8))
def test_round_trip_whatever_follows(sequence, rest):
    table, symbols = sequence
    data = encode(table, symbols)
    for continued in (data, data + rest, data + bytes(8), data + b"\xff" * 8):
        assert decode(continued, table) == (symbols.tolist(), False)


@bounded
@given(sequences())
def test_fewest_bytes_within_a_byte_and_a_bit_of_the_ideal(sequence):
    table, symbols = sequence
    sizes = [int(row[symbol + 1] - row[symbol]) for row, symbol in zip(table, symbols)]
    ideal = sum(16 - math.log2(size) for size in sizes)
    data = encode(table, symbols)
    assert ideal - 0.01 <= 8 * len(data) <= ideal + 9.01
    if data:  # the strings one byte shorter that lie next to it will not do, so none will
        shorter = int.from_bytes(data[:-1], "big")
        for number in (shorter, min(shorter + 1, 256 ** (len(data) - 1) - 1)):
            assert decode(number.to_bytes(len(data) - 1, "big"), table) != (symbols.tolist(), False)


@bounded
@given(sequences())
def test_every_cut_gives_a_prefix_that_grows(sequence):
    table, symbols = sequence
    data = encode(table, symbols)
    known = 0
    for end in range(len(data) + 1):
        found, exhausted = decode(data[:end], table)
        assert found == symbols[: len(found)].tolist()
        assert exhausted == (len(found) < len(symbols))
        assert len(found) >= known
        known = len(found)
    assert known == len(symbols)


@bounded
@given(sequences(longest=20), st.binary(max_size=6))
def test_determined_means_that_every_continuation_agrees(sequence, data):
    """Against the definition: the common prefix of what the lowest and the highest long continuation give."""
    table, _ = sequence
    found, _ = decode(data, table)
    lowest, _ = decode(data + bytes(60), table)
    highest, _ = decode(data + b"\xff" * 60, table)
    agreed = 0
    while agreed < min(len(lowest), len(highest)) and lowest[agreed] == highest[agreed]:
        agreed += 1
    assert found == lowest[:agreed]


@bounded
@given(sequences(), st.binary(max_size=60))
def test_any_bytes_decode_to_some_symbols(sequence, data):
    table, _ = sequence
    found, exhausted = decode(data, table)
    assert all(0 <= symbol < table.shape[1] - 1 for symbol in found)
    assert exhausted == (len(found) < len(table))
    again = encode(table[: len(found)], np.array(found, int))
    assert len(again) <= len(data) and decode(again, table[: len(found)])[0] == found


@bounded
@given(st.lists(st.integers(0, 2), max_size=200), st.sampled_from([1, 2, 255, 256, 20000]))
def test_carries_against_exact_fractions(choices, width):
    """Slices that hug one half keep the carry open for long; the code must lie in the exact interval all the same."""
    table = np.tile([0, 32768 - width, 32768 + width, 65536], (len(choices), 1))
    low, size = Fraction(0), Fraction(1)
    for symbol in choices:
        low += size * int(table[0, symbol]) / 65536
        size *= Fraction(int(table[0, symbol + 1] - table[0, symbol]), 65536)
    data = encode(table, np.array(choices, int))
    code = Fraction(int.from_bytes(data, "big"), 1 << 8 * len(data))
    slack = size / 2**10 + Fraction(len(choices), 2**30) * size  # rounding of the range moves bounds a little
    assert low - slack <= code <= low + size + slack
    assert decode(data, table) == (choices, False)


def decode_as_documented(data: bytes, table: np.ndarray) -> list[int]:
    """Section 4 of docs/FORMAT.md word for word, with its bounds."""
    padded, known = data + bytes(2 * len(table) + 8), len(data)
    position = offset = slack = 0

    def next_word() -> None:
        nonlocal position, offset, slack
        unknown = [0xFFFF, 0xFF, 0][min(max(known - position, 0), 2)]
        offset = offset << 16 | padded[position] << 8 | padded[position + 1]
        slack = slack << 16 | unknown
        position += 2

    next_word()
    next_word()
    range_, symbols = 1 << 32, []
    for c in table.tolist():
        assert 1 << 32 <= range_ < 1 << 48 and offset + slack < range_ and (offset + 1) << 16 < 1 << 64
        target = (((offset + 1) << 16) - 1) // range_
        s = next(s for s in range(len(c) - 1) if c[s] <= target < c[s + 1])
        low, high = range_ * c[s] >> 16, range_ * c[s + 1] >> 16
        assert low <= offset < high
        if offset - low + slack >= high - low:
            break
        symbols.append(s)
        offset, range_ = offset - low, high - low
        if range_ < 1 << 32:
            range_ <<= 16
            next_word()
    return symbols


@bounded
@given(sequences(), st.binary(max_size=60))
def test_decoder_of_the_document_agrees(sequence, noise):
    table, symbols = sequence
    for data in (encode(table, symbols), noise):
        assert decode(data, table)[0] == decode_as_documented(data, table)
