"""Bjøntegaard's delta rate: how many more bytes one codec needs than another for the same quality."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = tuple[Sequence[float], Sequence[float]]  # rates in bits a pixel, qualities in dB

MIN_POINTS = 4


class BDRate(NamedTuple):
    percent: float  # negative: the tested codec needs fewer bits than the reference
    low: float  # the qualities over which the mean was taken
    high: float
    reference_rates: tuple[float, float]  # at these, in bits a pixel


def bd_rate(reference: Curve, test: Curve, rate_range: tuple[float, float] | None = None) -> BDRate:
    """Mean difference of rate at equal quality, in percent of the reference's.

    The logarithm of the rate is interpolated over quality by monotone cubics (PCHIP), as in the common test conditions
    of JVET, and its difference averaged over the qualities that both curves reach. With `rate_range`, each curve is
    first cut to the part between these two rates: only qualities that both codecs reach within them count.

    Raises ValueError where a curve has fewer than four points or its quality does not rise with its rate, and where
    no quality is reached by both curves.
    """
    curves = [_log_rate_over_quality(*reference), _log_rate_over_quality(*test)]
    spans = [_span(curve, rate_range) for curve in curves]
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    if low >= high:
        raise ValueError("The curves have no quality in common, so their rates cannot be compared.")
    areas = [float(curve.integrate(low, high)) for curve in curves]
    rates = tuple(math.exp(curves[0](quality)) for quality in (low, high))
    return BDRate(100 * math.expm1((areas[1] - areas[0]) / (high - low)), low, high, rates)


def _log_rate_over_quality(rates: Sequence[float], qualities: Sequence[float]) -> PchipInterpolator:
    if len(rates) < MIN_POINTS or len(rates) != len(qualities):
        raise ValueError(f"A rate-distortion curve needs at least {MIN_POINTS} points, each with a rate and a quality.")
    order = np.argsort(rates)
    rates, qualities = np.asarray(rates, np.float64)[order], np.asarray(qualities, np.float64)[order]
    if rates[0] <= 0 or not np.all(np.isfinite(qualities)):
        raise ValueError("A rate-distortion curve needs positive rates and finite qualities.")
    if np.any(np.diff(rates) <= 0) or np.any(np.diff(qualities) <= 0):
        raise ValueError("The quality of a rate-distortion curve has to rise with its rate.")
    return PchipInterpolator(qualities, np.log(rates))


def _span(curve: PchipInterpolator, rate_range: tuple[float, float] | None) -> tuple[float, float]:
    """The lowest and the highest quality of a curve, or of its part within a range of rates."""
    low, high = curve.x[0], curve.x[-1]
    if rate_range is None:
        return low, high
    least, most = (math.log(rate) for rate in rate_range)
    if most <= curve(low) or least >= curve(high):
        raise ValueError(f"A rate-distortion curve has no part from {rate_range[0]} to {rate_range[1]} bits a pixel.")
    if least > curve(low):
        low = float(curve.solve(least, extrapolate=False)[0])
    if most < curve(high):
        high = float(curve.solve(most, extrapolate=False)[0])
    return low, high
