"""Bjøntegaard's delta rate: how many more bits one codec needs than another for the same quality."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

Curve = tuple[Sequence[float], Sequence[float]]  # rates in bits a pixel, qualities in dB

MIN_POINTS = 4
LEAST_SHARE = 0.5  # of the reference's part of a band that the first codec of a row has to reach
SLACK = 0.02  # dB by which another codec may miss an end of the row's interval


@dataclass(frozen=True)
class Row:
    """BD-rates of several codecs against one reference, all over the same qualities."""

    rates: tuple[float, float]  # the reference's, in bits a pixel, at the ends of the interval
    qualities: tuple[float, float]  # the interval in dB
    percent: Mapping[str, float | None]  # by codec; negative: fewer bits than the reference; None: does not reach it


def bd_rate(reference: Curve, test: Curve, qualities: tuple[float, float] | None = None) -> float:
    """Mean difference of rate at equal quality, in percent of the reference's: negative where the test needs fewer bits.

    The logarithm of the rate is interpolated over quality by monotone cubics (PCHIP), as in the common test conditions
    of JVET, and its difference averaged over an interval of qualities.

    Args:
        reference: The curve that percentages are of.
        test: The curve that is compared with it.
        qualities: The interval in dB, which both curves have to reach; None for all that both reach.

    Raises:
        ValueError: A curve has fewer than four points, its quality does not rise with its rate, or the curves do not
            reach an interval in common, or not the one given.
    """
    curves = [_log_rate_over_quality(*reference), _log_rate_over_quality(*test)]
    reached = max(curve.x[0] for curve in curves), min(curve.x[-1] for curve in curves)
    low, high = reached if qualities is None else qualities
    if low >= high:
        raise ValueError("The curves have no quality in common, so their rates cannot be compared.")
    if low < reached[0] - 1e-9 or high > reached[1] + 1e-9:
        raise ValueError(f"The curves do not both reach {low:.2f} to {high:.2f} dB.")
    areas = [float(curve.integrate(low, high)) for curve in curves]
    return 100 * math.expm1((areas[1] - areas[0]) / (high - low))


def compare(reference: Curve, tests: Mapping[str, Curve], band: tuple[float, float]) -> Row | None:
    """BD-rates of several codecs in one band of the reference's rates, over one interval of qualities.

    The interval is what the reference and one of the codecs both reach within the band. That codec is the first of
    `tests` whose curve is valid (see `bd_rate`) and reaches at least half of the reference's part of the band. All
    others are compared over the same interval. A codec that misses an end of it by more than `SLACK` has no percentage:
    a shorter curve does not narrow the interval of the rest.

    Args:
        reference: The curve whose rates the band is of.
        tests: Curves by the codec's name, the one that matters first.
        band: The lowest and the highest rate, in bits a pixel.

    Returns:
        The row, or None where the reference has no part in the band or no codec reaches half of it.
    """
    try:
        low, high = quality_span(reference, band)
    except ValueError:
        return None
    interval: tuple[float, float] | None = None
    percent: dict[str, float | None] = {}
    for name, test in tests.items():
        percent[name] = None
        try:
            curve = _log_rate_over_quality(*test)
        except ValueError:
            continue
        span = max(low, float(curve.x[0])), min(high, float(curve.x[-1]))
        if interval is None and span[1] - span[0] >= LEAST_SHARE * (high - low):
            interval = span
        if interval is not None and span[0] <= interval[0] + SLACK and span[1] >= interval[1] - SLACK:
            percent[name] = bd_rate(reference, test, (max(interval[0], span[0]), min(interval[1], span[1])))
    if interval is None:
        return None
    over_quality = _log_rate_over_quality(*reference)
    rates = math.exp(over_quality(interval[0])), math.exp(over_quality(interval[1]))
    return Row(rates, interval, percent)


def quality_span(curve: Curve, rates: tuple[float, float]) -> tuple[float, float]:
    """The lowest and the highest quality that a curve reaches within a range of rates.

    Raises:
        ValueError: The curve is none, see `bd_rate`, or has no part within the range.
    """
    over_quality = _log_rate_over_quality(*curve)
    low, high = float(over_quality.x[0]), float(over_quality.x[-1])
    least, most = (math.log(rate) for rate in rates)
    if most <= over_quality(low) or least >= over_quality(high):
        raise ValueError(f"A rate-distortion curve has no part from {rates[0]} to {rates[1]} bits a pixel.")
    if least > over_quality(low):
        low = float(over_quality.solve(least, extrapolate=False)[0])
    if most < over_quality(high):
        high = float(over_quality.solve(most, extrapolate=False)[0])
    return low, high


def at_rate(curve: Curve, rate: float) -> float | None:
    """A measure at a rate, linear between neighbouring settings in the logarithm of the rate; None outside of them.

    The measure may rise or fall with the rate, so that it serves distances as well as qualities.
    """
    order = np.argsort(curve[0])
    bpp, values = np.asarray(curve[0], np.float64)[order], np.asarray(curve[1], np.float64)[order]
    if not len(bpp) or not bpp[0] <= rate <= bpp[-1]:
        return None
    return float(np.interp(math.log(rate), np.log(bpp), values))


def rate_for(curve: Curve, value: float) -> float | None:
    """The least rate at which a measure has a value, between settings as in `at_rate`; None where it has it nowhere."""
    order = np.argsort(curve[0])
    bpp, values = np.asarray(curve[0], np.float64)[order], np.asarray(curve[1], np.float64)[order]
    for i in range(len(bpp) - 1):
        low, high = values[i], values[i + 1]
        if min(low, high) <= value <= max(low, high):
            share = 0.0 if low == high else (value - low) / (high - low)
            return float(np.exp(np.log(bpp[i]) + share * (np.log(bpp[i + 1]) - np.log(bpp[i]))))
    return None


def _log_rate_over_quality(rates: Sequence[float], qualities: Sequence[float]) -> PchipInterpolator:
    if len(rates) < MIN_POINTS or len(rates) != len(qualities):
        raise ValueError(f"A rate-distortion curve needs at least {MIN_POINTS} points, each with a rate and a quality.")
    order = np.argsort(rates)
    bpp, reached = np.asarray(rates, np.float64)[order], np.asarray(qualities, np.float64)[order]
    if bpp[0] <= 0 or not np.all(np.isfinite(reached)):
        raise ValueError("A rate-distortion curve needs positive rates and finite qualities.")
    if np.any(np.diff(bpp) <= 0) or np.any(np.diff(reached) <= 0):
        raise ValueError("The quality of a rate-distortion curve has to rise with its rate.")
    return PchipInterpolator(reached, np.log(bpp))
