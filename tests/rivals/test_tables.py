import numpy as np
import pytest

from pqmim.coding.range_coder import RangeDecoder, RangeEncoder
from pqmim.errors import DamagedFile
from pqmim.rivals.tables import (
    FURTHEST,
    MOST_SCALE,
    SCALES,
    ScaleTables,
    cumulative_frequencies,
    decode_rows,
    encode_rows,
)


@pytest.fixture(scope="module")
def tables():
    return ScaleTables.build()


def written(tables, values, scales):
    encoder = RangeEncoder()
    tables.encode(encoder, values, scales)
    return encoder.finish()


@pytest.mark.parametrize("shape", [(2,), (3, 255), (1, 16384)])
def test_frequencies_fill_the_range_and_none_is_zero(shape):
    probability = np.random.default_rng(0).gamma(0.01, size=shape)
    cumulative = cumulative_frequencies(probability)
    assert cumulative.shape == (*shape[:-1], shape[-1] + 1) and cumulative.dtype == np.int64
    assert (cumulative[..., 0] == 0).all() and (cumulative[..., -1] == 65536).all()
    share = probability / probability.sum(-1, keepdims=True)
    assert (np.diff(cumulative) >= 1).all()
    assert abs(np.diff(cumulative) - 1 - share * (65536 - shape[-1])).max() <= 1


def test_rows_name_the_table_of_each_symbol():
    rng = np.random.default_rng(1)
    cumulative = cumulative_frequencies(rng.random((5, 7)))
    row, symbols = rng.integers(0, 5, 300), rng.integers(0, 7, 300)
    encoder = RangeEncoder()
    encode_rows(encoder, symbols, cumulative, row)
    data = encoder.finish()
    assert np.array_equal(decode_rows(RangeDecoder(data), cumulative, row), symbols)
    with pytest.raises(DamagedFile, match="end before"):
        decode_rows(RangeDecoder(data[:-1]), cumulative, row)


def test_more_symbols_than_are_decoded_at_once(monkeypatch):
    monkeypatch.setattr("pqmim.rivals.tables._ENTRIES", 20)
    cumulative = cumulative_frequencies(np.ones((1, 7)))
    symbols = np.arange(100) % 7
    encoder = RangeEncoder()
    encode_rows(encoder, symbols, cumulative, np.zeros(100, int))
    assert np.array_equal(decode_rows(RangeDecoder(encoder.finish()), cumulative, np.zeros(100, int)), symbols)


def test_every_scale_has_a_table_wider_than_the_last(tables):
    assert len(tables.tables) == SCALES and len(tables.bounds) == SCALES - 1
    assert (np.diff(tables.bounds) > 0).all()
    lengths = [len(table) for table in tables.tables]
    assert lengths == sorted(lengths) and lengths[0] == 5  # -1, 0, 1, escape
    for table in tables.tables:
        sizes = np.diff(table)[:-1]
        assert abs(sizes - sizes[::-1]).max() <= 2  # symmetric about 0
        assert sizes.max() - sizes[len(sizes) // 2] <= 1


@pytest.mark.parametrize("scale", [0.05, 0.3, 2.0, 50.0])
def test_files_are_as_short_as_the_entropy(tables, scale):
    rng = np.random.default_rng(2)
    values = np.rint(rng.logistic(0, scale, 20_000)).astype(np.int64)
    scales = np.full(len(values), scale)
    data = written(tables, values, scales)
    assert np.array_equal(tables.decode(RangeDecoder(data), scales), values)
    edges = np.array([values - 0.5, values + 0.5]) / scale
    ideal = -np.log2(np.diff(1 / (1 + np.exp(-edges)), axis=0)).sum() / 8
    assert len(data) < 1.02 * ideal + 4


def test_values_beyond_a_table_escape(tables):
    scales = np.repeat([0.001, 0.05, 1.0, 1e9], 6)
    values = np.tile([0, 1, -2, 700, -FURTHEST, FURTHEST], 4)
    data = written(tables, values, scales)
    assert np.array_equal(tables.decode(RangeDecoder(data), scales), values)
    far = written(tables, np.full(100, 30_000), np.full(100, 0.05))
    assert len(far) <= 100 * (16 + 16) / 8 + 2  # an escape of frequency 1, and two bytes


def test_scales_in_any_order(tables):
    rng = np.random.default_rng(3)
    scales = np.exp(rng.uniform(np.log(0.03), np.log(2 * MOST_SCALE), 3000))
    values = np.rint(rng.logistic(0, scales)).astype(np.int64)
    assert np.array_equal(tables.decode(RangeDecoder(written(tables, values, scales)), scales), values)


def test_stored_tables_are_the_same(tables):
    again = ScaleTables.of(tables.tensors())
    assert np.array_equal(again.bounds, tables.bounds)
    assert all(np.array_equal(a, b) for a, b in zip(again.tables, tables.tables, strict=True))
