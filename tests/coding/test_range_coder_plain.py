"""The range decoder in Python, which serves where no compiled library does: the same symbols from the same bytes."""

import numpy as np
import pytest

from pqmim import native
from pqmim.coding.range_coder import RangeDecoder, RangeEncoder

LIBRARY = native.library


@pytest.fixture(autouse=True)
def no_library(monkeypatch):
    monkeypatch.setattr(native, "library", lambda: None)


def tables(count: int, codewords: int, seed: int) -> np.ndarray:
    """Cumulative frequencies (count, codewords + 1), most of them steep."""
    chance = np.random.default_rng(seed)
    weights = chance.random((count, codewords)) ** chance.integers(1, 30, (count, 1))
    shares = np.floor(weights / weights.sum(1, keepdims=True) * (65536 - codewords)).astype(int) + 1
    shares[np.arange(count), shares.argmax(1)] += 65536 - shares.sum(1)
    return np.concatenate([np.zeros((count, 1), int), shares.cumsum(1)], 1).astype(np.int32)


def encoded(table: np.ndarray, symbols: np.ndarray) -> bytes:
    rows = np.arange(len(symbols))
    encoder = RangeEncoder()
    encoder.encode(table[rows, symbols], table[rows, symbols + 1] - table[rows, symbols])
    return encoder.finish()


@pytest.mark.parametrize("codewords", [1, 2, 17, 256])
@pytest.mark.parametrize("seed", range(4))
def test_round_trip_in_parts_and_from_every_cut(codewords, seed):
    table = tables(200, codewords, seed)
    symbols = np.random.default_rng(seed).integers(0, codewords, 200)
    data = encoded(table, symbols)
    decoder, found = RangeDecoder(data), []
    for start in range(0, 200, 33):
        found += decoder.decode(table[start : start + 33]).tolist()
    assert found == symbols.tolist() and not decoder.exhausted
    before = 0
    for end in range(0, len(data), 3):
        decoder = RangeDecoder(data[:end])
        part = decoder.decode(table)
        assert part.tolist() == symbols[: len(part)].tolist() and len(part) >= before
        assert decoder.exhausted == (len(part) < 200) and not len(decoder.decode(table))
        before = len(part)


def test_certain_symbols_take_no_bytes():
    """Each leaves the range as it is, at its lower bound, which is not below the bound."""
    table = np.tile(np.array([0, 65536], np.int32), (100, 1))
    encoder = RangeEncoder()
    encoder.encode(np.zeros(100, int), np.full(100, 65536))
    encoder.encode([32768], [32768])
    assert encoder.finish() == b"\x80"
    assert RangeDecoder(b"").decode(table).tolist() == [0] * 100


def test_the_example_of_the_format():
    table = np.array([[0, 32768, 65000, 65536], [0, 1, 65000, 65536], [0, 1, 2, 65536]], np.int32)
    assert encoded(table, np.array([0, 2, 1])).hex() == "7ef4010c"
    assert RangeDecoder(bytes.fromhex("7ef4010c")).decode(table).tolist() == [0, 2, 1]


@pytest.mark.parametrize(("short", "found"), [(0, [0, 0]), (1, [0, 0, 0])])
def test_a_symbol_is_open_where_the_highest_continuation_is_the_next_ones_lowest(short, found):
    """Three symbols of 65535 in 65536 reach up to 65535**3 of 2**48, five bytes and ff to that number, or short of it."""
    table = np.array([[0, 65535, 65536]] * 3, np.int32)
    data = ((65535**3 - 0xFF >> 8) - short).to_bytes(5, "big")
    decoder = RangeDecoder(data)
    assert decoder.decode(table).tolist() == found and decoder.exhausted == (len(found) < 3)


def test_it_agrees_with_the_library(monkeypatch):
    chance = np.random.default_rng(9)
    for seed in range(6):
        table, data = tables(60, 40, seed), chance.bytes(int(chance.integers(0, 90)))
        with monkeypatch.context() as patch:
            patch.setattr(native, "library", LIBRARY)
            expected = RangeDecoder(data).decode(table)
        assert np.array_equal(RangeDecoder(data).decode(table), expected)
