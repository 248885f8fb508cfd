"""The range coder on sequences picked by hand, where the right bytes or symbols are known."""

import doctest
import hashlib
import math

import numpy as np
import pytest

from pqmim.coding import range_coder
from pqmim.coding.range_coder import RangeDecoder, RangeEncoder

HALVES = np.array([0, 32768, 65536])


def tables(rng: np.random.Generator, n: int, k: int, concentration: float) -> np.ndarray:
    """Random cumulative frequencies, (n, k + 1): the smaller the concentration, the more skewed."""
    shares = rng.dirichlet(np.full(k, concentration), size=n)
    frequencies = 1 + np.floor(shares * (65536 - k)).astype(np.int64)  # (n, k)
    frequencies[np.arange(n), frequencies.argmax(1)] += 65536 - frequencies.sum(1)
    return np.pad(np.cumsum(frequencies, 1), ((0, 0), (1, 0)))


def draw(rng: np.random.Generator, table: np.ndarray) -> np.ndarray:
    """One symbol a row, with the probabilities of the table."""
    return (table[:, 1:-1] <= rng.integers(0, 65536, (len(table), 1))).sum(1)


def slices(table: np.ndarray, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(symbols))
    starts = table[rows, symbols]
    return starts, table[rows, symbols + 1] - starts


def encode(table: np.ndarray, symbols: np.ndarray) -> bytes:
    encoder = RangeEncoder()
    encoder.encode(*slices(table, symbols))
    return encoder.finish()


def test_example_in_the_documentation():
    results = doctest.testmod(range_coder)
    assert results.attempted == 8 and results.failed == 0


def test_equal_halves_are_written_as_their_bits():
    bits = np.unpackbits(np.frombuffer(b"\x00\xff\xffpq-mim\x80", np.uint8)).astype(int)
    table = np.tile(HALVES, (len(bits), 1))
    assert encode(table, bits) == b"\x00\xff\xffpq-mim\x80"


def test_golden_bytes():
    """Symbols and tables from plain arithmetic; a change of these bytes is a new version of the format."""
    sizes = np.array([(i * i * 7919) % 4001 + 1 for i in range(16)])
    sizes[5] += 65536 - sizes.sum()
    table = np.tile(np.r_[0, np.cumsum(sizes)], (2000, 1))
    symbols = np.array([(i * i * i + 5 * i) % 97 % 16 if i % 3 else 5 for i in range(2000)])
    data = encode(table, symbols)
    assert (len(data), data[:16].hex()) == (994, "843a44f893dd02dab0ebb6345dce5835")
    assert hashlib.sha256(data).hexdigest() == "3e5a6bdb0af387f51e2104239fb321e5b4a323c985e7f04e6e48514492a506ce"


def test_nothing_takes_no_bytes():
    assert RangeEncoder().finish() == b""
    decoder = RangeDecoder(b"")
    assert len(decoder.decode(np.empty((0, 3), np.uint32))) == 0
    assert not decoder.exhausted


def test_certain_symbols_take_no_bytes_and_need_none():
    certain = np.tile([0, 65536], (1000, 1))
    assert encode(certain, np.zeros(1000, int)) == b""
    decoder = RangeDecoder(b"")
    assert decoder.decode(certain).tolist() == [0] * 1000
    assert not decoder.exhausted


@pytest.mark.parametrize("concentration", [0.0003, 0.003, 0.02, 1.0])
def test_length_is_the_ideal_one(concentration):
    rng = np.random.default_rng(1)
    table = tables(rng, 20_000, 64, concentration)
    symbols = draw(rng, table)
    ideal = -np.log2(slices(table, symbols)[1] / 65536).sum() / 8
    data = encode(table, symbols)
    assert ideal <= len(data) + 1e-4 * ideal
    assert len(data) <= 1.0001 * ideal + 2
    assert np.array_equal(RangeDecoder(data).decode(table), symbols)


def test_rarest_symbols_at_full_length():
    k = 256
    table = np.tile(np.r_[np.arange(k), 65536], (5000, 1))  # frequency 1, except the last symbol's
    symbols = np.arange(5000) % (k - 1)
    data = encode(table, symbols)
    assert 10_000 <= len(data) <= 10_002
    assert np.array_equal(RangeDecoder(data).decode(table), symbols)


@pytest.mark.parametrize("run", [1, 2, 3, 7, 64, 5000])
@pytest.mark.parametrize("carry", [False, True])
def test_carry_through_a_long_run_of_ff(run, carry):
    """Interval just below one half, kept around it until the very last symbol decides for 7f ff ff.. or 80 00 00.."""
    table = np.array([[0, 32767, 32769, 65536]] + [[0, 32767, 32769, 65536]] * run + [[0, 32768, 65535, 65536]])
    symbols = np.array([1] * (run + 1) + [int(carry)])
    data = encode(table, symbols)
    assert data[:run] == (b"\x80" + bytes(run) if carry else b"\x7f" + b"\xff" * run)[:run]
    assert np.array_equal(RangeDecoder(data).decode(table), symbols)


def test_finish_may_be_called_on_the_way():
    rng = np.random.default_rng(2)
    table = tables(rng, 300, 16, 0.3)
    symbols = draw(rng, table)
    starts, sizes = slices(table, symbols)
    encoder = RangeEncoder()
    for i in range(300):
        assert encoder.finish() == encoder.finish() == encode(table[:i], symbols[:i])
        encoder.encode(starts[i : i + 1], sizes[i : i + 1])
    assert encoder.finish() == encode(table, symbols)


def test_decoding_in_parts_with_tables_of_different_sizes():
    rng = np.random.default_rng(3)
    parts = [tables(rng, n, k, 0.5) for n, k in ((40, 3), (0, 7), (1, 256), (100, 1), (77, 30))]
    symbols = [draw(rng, table) for table in parts]
    encoder = RangeEncoder()
    for table, part in zip(parts, symbols):
        encoder.encode(*slices(table, part))
    decoder = RangeDecoder(encoder.finish())
    for table, part in zip(parts, symbols):
        assert np.array_equal(decoder.decode(table), part)
    assert not decoder.exhausted


def test_exhausted_decoder_stays_so():
    table = np.tile(HALVES, (100, 1))
    decoder = RangeDecoder(b"\xa5")
    assert decoder.decode(table).tolist() == [1, 0, 1, 0, 0, 1, 0, 1]
    assert decoder.exhausted
    assert len(decoder.decode(np.array([[0, 65536]]))) == 0


@pytest.mark.parametrize("step", [1, 2, 3, 7])
def test_decoding_goes_on_when_more_bytes_come(step):
    rng = np.random.default_rng(step)
    inner = np.sort([rng.choice(np.arange(1, 65536), 15, replace=False) for _ in range(100)], 1)
    table = np.concatenate([np.zeros((100, 1), int), inner, np.full((100, 1), 65536)], 1)
    symbols = rng.integers(0, 16, len(table))
    encoder, rows = RangeEncoder(), np.arange(len(table))
    encoder.encode(table[rows, symbols], np.diff(table)[rows, symbols])
    data = encoder.finish()
    decoder, found = RangeDecoder(b""), []
    for place in range(0, len(data), step):
        decoder.feed(data[place : place + step])
        found += decoder.decode(table[len(found) :]).tolist()
        assert found == RangeDecoder(data[: place + step]).decode(table).tolist()
    assert found == symbols.tolist()


def test_a_likely_symbol_is_determined_without_its_last_bits():
    table = np.array([[0, 65000, 65536], [0, 65000, 65536]])
    assert RangeDecoder(b"").decode(table).tolist() == []
    assert RangeDecoder(b"\xfd").decode(table).tolist() == []  # 65000 is fde8
    assert RangeDecoder(b"\xfc").decode(table).tolist() == [0, 1]
    assert RangeDecoder(b"\x00").decode(table).tolist() == [0, 0]
    assert RangeDecoder(b"\xff").decode(table).tolist() == [1]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_integer_types_give_the_same_bytes(dtype):
    starts, sizes = [0, 65000, 65535, 3], [65535, 536, 1, 7]
    encoder = RangeEncoder()
    encoder.encode(np.array(starts, dtype), np.array(sizes, dtype))
    reference = RangeEncoder()
    reference.encode(starts, sizes)
    assert encoder.finish() == reference.finish()


@pytest.mark.parametrize(
    ("starts", "sizes"),
    [
        ([0], [0]),
        ([0], [-1]),
        ([-1], [2]),
        ([0], [65537]),
        ([65535], [2]),
        ([1], [2**63 - 1]),
        ([0, 1], [1]),
        ([[0]], [[1]]),
        (0, 1),
        ([0.0], [1.0]),
        (np.array([2**64 - 1], np.uint64), np.array([2], np.uint64)),
    ],
)
def test_impossible_slices_are_refused_and_leave_no_trace(starts, sizes):
    encoder = RangeEncoder()
    encoder.encode([7], [7])
    before = encoder.finish()
    with pytest.raises(ValueError):
        encoder.encode(starts, sizes)
    assert encoder.finish() == before


@pytest.mark.parametrize(
    "table",
    [
        [[0, 65535]],
        [[1, 65536]],
        [[0, 5, 5, 65536]],
        [[0, 9, 5, 65536]],
        [[0, -5, 65536]],
        [[0, 2**32 + 5, 65536]],
        [[0, 65536, 65536]],
        [[0]],
        [0, 65536],
        [[0.0, 65536.0]],
    ],
)
def test_impossible_tables_are_refused(table):
    with pytest.raises(ValueError):
        RangeDecoder(b"pqmim").decode(np.array(table))


def test_rounding_of_the_range_stays_within_its_stated_bound():
    """The narrowest range, 2**32, divided for the rarest symbol at every start, against the exact share."""
    narrowest = 1 << 32
    for range_ in (narrowest, narrowest + 1, narrowest + 65535, (1 << 48) - 1):
        for start in range(0, 65536, 251):
            width = (range_ * (start + 1) >> 16) - (range_ * start >> 16)
            assert width >= 1 << 16
            assert abs(math.log2(width) - math.log2(range_ / 65536)) < 2.3e-5
