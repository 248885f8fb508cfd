import numpy as np
import pytest

from pqmim.evaluation.bdrate import at_rate, bd_rate, compare, quality_span, rate_for

RATES = np.array([0.1, 0.2, 0.45, 0.8, 1.5])
QUALITIES = np.array([25.0, 28.1, 31.5, 34.0, 36.2])


def test_equal_curves():
    assert bd_rate((RATES, QUALITIES), (RATES, QUALITIES)) == 0


@pytest.mark.parametrize("qualities", [None, (26.0, 35.0), (25.0, 36.2)])
def test_a_fifth_less_everywhere_is_minus_20_percent(qualities):
    assert bd_rate((RATES, QUALITIES), (0.8 * RATES, QUALITIES), qualities) == pytest.approx(-20)
    assert bd_rate((0.8 * RATES, QUALITIES), (RATES, QUALITIES), qualities) == pytest.approx(25)


def test_a_hand_computed_case():
    """Log rates linear in quality, where PCHIP is exact: ln(rate) = q and 1.5 q - 1 over the common qualities 1 to 3.

    The mean of the difference 0.5 q - 1 over them is 0: equal rates on average. Over 2 to 3 it is 0.25.
    """
    q = np.arange(0.0, 5.0)
    reference, test = (np.exp(q[:4]), q[:4]), (np.exp(1.5 * q[1:] - 1), q[1:])
    assert bd_rate(reference, test) == pytest.approx(0, abs=1e-9)
    assert bd_rate(reference, test, (2, 3)) == pytest.approx(100 * np.expm1(0.25))
    with pytest.raises(ValueError, match="do not both reach 0.00 to 3.00 dB"):
        bd_rate(reference, test, (0, 3))


def test_an_interval_may_exceed_the_curves_by_rounding_alone():
    curves = (RATES, QUALITIES), (0.8 * RATES, QUALITIES)
    assert bd_rate(*curves, (25.0 - 1e-9, 36.2 + 1e-9)) == pytest.approx(-20)
    for interval in ((25.0 - 1e-8, 36.2), (25.0, 36.2 + 1e-8)):
        with pytest.raises(ValueError, match=r"do not both reach 25\.00 to 36\.20 dB"):
            bd_rate(*curves, interval)


def test_curves_that_touch_have_nothing_in_common():
    with pytest.raises(ValueError, match="no quality in common"):
        bd_rate((RATES, QUALITIES), (RATES, QUALITIES + 36.2 - 25.0))


def test_a_band_of_rates_is_the_references():
    assert quality_span((RATES, QUALITIES), (0.2, 0.8)) == pytest.approx((28.1, 34.0))
    assert quality_span((RATES, QUALITIES), (0.2, 10)) == pytest.approx((28.1, 36.2))
    assert quality_span((RATES, QUALITIES), (0.01, 0.8)) == pytest.approx((25.0, 34.0))
    assert quality_span((RATES, QUALITIES), (0.01, 10)) == (25.0, 36.2)


def test_the_cells_of_a_row_are_over_what_the_first_codec_reaches():
    reference = (RATES, QUALITIES)
    short = (1.25 * RATES, np.array([25.0, 28.1, 31.5, 34.0, 35.6]))
    bent = (RATES * np.array([0.5, 0.5, 0.5, 0.5, 1.0]), QUALITIES)  # half the rate up to 34 dB, the same at the top
    wide = compare(reference, {"bent": bent, "short": short}, (0.2, 1.5))
    narrow = compare(reference, {"short": short, "bent": bent}, (0.2, 1.5))
    assert wide is not None and narrow is not None
    assert wide.qualities == pytest.approx((28.1, 36.2)) and narrow.qualities == pytest.approx((28.1, 35.6))
    assert wide.percent == {"bent": bd_rate(reference, bent, wide.qualities), "short": None}
    assert narrow.percent["bent"] == bd_rate(reference, bent, narrow.qualities) < wide.percent["bent"] - 0.5
    assert narrow.percent["short"] == bd_rate(reference, short, narrow.qualities)
    assert narrow.rates[0] == pytest.approx(0.2) and 0.8 < narrow.rates[1] < 1.5


def test_a_codec_that_reaches_less_than_half_of_a_band_is_no_first():
    reference = (RATES, QUALITIES)
    far = (RATES[:4], QUALITIES[:4] - 6)  # 19 to 28 dB
    none = (RATES[:2], QUALITIES[:2])
    row = compare(reference, {"none": none, "far": far, "same": reference}, (0.2, 1.5))
    assert row is not None
    assert row.percent == {"none": None, "far": None, "same": 0} and row.qualities == pytest.approx((28.1, 36.2))
    assert compare(reference, {"far": far}, (0.2, 1.5)) is None
    assert compare(reference, {"same": reference}, (2, 3)) is None


def log_linear(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """A curve of nine points whose quality is the logarithm of its rate."""
    qualities = np.linspace(low, high, 9)
    return np.exp(qualities), qualities


@pytest.mark.parametrize(("reached", "first"), [(2.1, True), (2.0, True), (1.9, False)])
def test_half_of_the_band_makes_a_first(reached, first):
    """The reference reaches 0 to 4 dB."""
    row = compare(log_linear(0, 4), {"short": log_linear(0, reached), "same": log_linear(0, 4)}, (0.5, 100))
    assert row is not None and row.qualities == (0, reached if first else 4)
    assert row.percent["short"] == (pytest.approx(0, abs=1e-9) if first else None)


@pytest.mark.parametrize(
    ("low", "high", "reaches"),
    [(0.02, 4, True), (0, 3.98, True), (0.03, 4, False), (0, 3.97, False), (-1, 5, True)],
)
def test_a_fiftieth_of_a_decibel_may_be_missing_at_an_end(low, high, reaches):
    row = compare(log_linear(0, 4), {"first": log_linear(0, 4), "other": log_linear(low, high)}, (0.5, 100))
    assert row is not None and row.qualities == (0, 4)
    assert row.percent["other"] == (pytest.approx(0, abs=1e-9) if reaches else None)


def test_a_band_that_touches_a_curve_holds_no_part_of_it():
    """The curves end at the rate 1, whose logarithm is exact."""
    for curve, band in ((log_linear(0, 4), (0.5, 1)), (log_linear(-4, 0), (1, 2))):
        with pytest.raises(ValueError, match="no part from"):
            quality_span(curve, band)


def test_a_measure_at_a_rate_is_linear_in_its_logarithm():
    curve = ([0.4, 0.1, 0.2], [1.0, 5.0, 3.0])
    assert at_rate(curve, 0.1) == 5 and at_rate(curve, 0.4) == 1
    assert at_rate(curve, 0.2 * 2**0.5) == pytest.approx(2)
    assert at_rate(curve, 0.09) is None and at_rate(curve, 0.41) is None and at_rate(([], []), 0.1) is None


def test_the_rate_for_a_value_undoes_that():
    curve = ([0.4, 0.1, 0.2, 0.8], [1.0, 5.0, 3.0, 2.0])
    for rate in (0.1, 0.13, 0.2, 0.3):
        assert rate_for(curve, at_rate(curve, rate)) == pytest.approx(rate)
    assert rate_for(curve, 1.5) == pytest.approx(0.2 * 2**0.75)  # the first of two
    assert rate_for(curve, 1.0) == pytest.approx(0.4)  # the least value of all
    assert rate_for(([0.1, 0.2, 0.4], [3.0, 3.0, 5.0]), 3.0) == pytest.approx(0.1)  # the first of many
    assert rate_for(curve, 5.1) is None and rate_for(curve, 0.9) is None


def test_the_order_of_points_does_not_matter():
    shuffled = [3, 0, 4, 1, 2]
    assert bd_rate((RATES[shuffled], QUALITIES[shuffled]), (0.9 * RATES, QUALITIES)) == pytest.approx(-10)


@pytest.mark.parametrize(
    "test, message",
    [
        ((RATES[:3], QUALITIES[:3]), "at least 4 points"),
        ((RATES, QUALITIES[:4]), "at least 4 points"),
        ((RATES, QUALITIES + 20), "no quality in common"),
        ((RATES, QUALITIES[::-1]), "has to rise"),
        ((RATES, [25, 28, 28, 34, 36]), "has to rise"),
        (([0.1, 0.2, 0.2, 0.8, 1.5], QUALITIES), "has to rise"),
        ((RATES - 0.1, QUALITIES), "positive rates"),
        ((RATES, [25, 28, 31, 34, np.inf]), "finite"),
    ],
)
def test_what_cannot_be_compared(test, message):
    with pytest.raises(ValueError, match=message):
        bd_rate((RATES, QUALITIES), test)


def test_a_curve_outside_the_range():
    with pytest.raises(ValueError, match="no part from 2 to 3"):
        quality_span((RATES, QUALITIES), (2, 3))
