"""Chance in integers: the same draws everywhere, as often as the prior says."""

import math

import numpy as np
import pytest

from pqmim.coding.sampler import COMPLETING, Sampler
from pqmim.errors import BadArgument
from pqmim.models.prior import spec
from pqmim.models.prior.frequencies import MassFrequencies


def frequencies(logits, temperature=16):
    """Cumulative frequencies (1, K + 1) of logits in 256ths of a bit."""
    deficit = (max(logits) - np.array([logits])) * 16 // temperature
    masses = spec.exp2(deficit.clip(max=4095).astype(np.int32))
    return MassFrequencies(masses.cumsum(1, dtype=np.int32)).cumulative()


def table(probabilities):
    """Cumulative frequencies (1, K + 1)."""
    return frequencies(np.round(np.log2(probabilities) * 256).astype(int))


def test_golden_draws():
    sampler = Sampler(7)
    codes = sampler.draw(table([0.5, 0.25, 0.125, 0.125]).repeat(12, 0))
    assert codes.tolist() == [2, 0, 0, 0, 0, 1, 0, 1, 0, 2, 2, 1]


def test_what_is_drawn_where_nobody_says():
    """Other defaults would draw other pictures from the same file."""
    rows = table([0.5, 0.25, 0.125, 0.125]).repeat(50, 0)
    assert np.array_equal(Sampler().draw(rows), Sampler(0, 1.0).draw(rows))
    assert Sampler().heat == 16 and Sampler(0, COMPLETING).heat == 8


def test_draws_are_as_frequent_as_the_prior_says():
    codes = Sampler(1).draw(table([0.6, 0.3, 0.1]).repeat(20_000, 0))
    share = np.bincount(codes, minlength=3) / 20_000
    assert np.allclose(share, [0.6, 0.3, 0.1], atol=0.015)


@pytest.mark.parametrize("codewords", [1, 2, 16])
def test_equal_frequencies_are_drawn_by_equally_many_numbers(codewords, monkeypatch):
    """Of all 65536 that the source gives."""
    sampler = Sampler()
    monkeypatch.setattr(sampler, "_uniform", np.arange)
    rows = np.arange(0, 65537, 65536 // codewords, dtype=np.int32)[None].repeat(65536, 0)
    assert np.bincount(sampler.draw(rows)).tolist() == [65536 // codewords] * codewords


def test_what_has_only_the_least_frequency_is_never_drawn():
    cumulative = table([1.0] + [2.0**-60] * 255)
    assert (np.diff(cumulative)[0, 1:] == 1).all()
    assert not Sampler(2).draw(cumulative.repeat(50_000, 0)).any()


@pytest.mark.parametrize("temperature, share", [(0.5, 0.8), (1.0, 2 / 3), (4.0, 0.543)])
def test_temperature(temperature, share):
    """Of odds 2 to 1, the square is 4 to 1 and the fourth root 1.19 to 1."""
    frequency = np.diff(frequencies([256, 0], Sampler(0, temperature).heat))[0, 0] / 65536
    assert frequency == pytest.approx(share, abs=0.005)


def test_sureness_is_the_logarithm():
    sizes = np.array([1, 2, 3, 1000, 65535, 65536])
    assert Sampler().sureness(sizes).tolist() == [math.floor(16 * math.log2(n) + 1e-9) for n in sizes]


def test_noise_falls_to_nothing():
    sampler = Sampler(3)
    assert not sampler.noise(100, 5, 0, 4).any()
    assert sampler.noise(1000, 1, 4, 4).std() > sampler.noise(1000, 1, 1, 4).std() > 0


@pytest.mark.parametrize("arguments", [(-1,), (0.5,), (0, 0.0), (0, 17.0), (0, float("nan")), (math.inf,), (math.nan,)])
def test_absurd_arguments_are_refused(arguments):
    with pytest.raises(BadArgument):
        Sampler(*arguments)
