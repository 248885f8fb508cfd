import numpy as np
import pytest

from pqmim.evaluation.bdrate import bd_rate

RATES = np.array([0.1, 0.2, 0.45, 0.8, 1.5])
QUALITIES = np.array([25.0, 28.1, 31.5, 34.0, 36.2])


def test_equal_curves():
    result = bd_rate((RATES, QUALITIES), (RATES, QUALITIES))
    assert result[:3] == (0, 25, 36.2)
    assert result.reference_rates == pytest.approx((0.1, 1.5))


@pytest.mark.parametrize("rate_range", [None, (0.15, 1.0), (0.01, 10)])
def test_a_fifth_less_everywhere_is_minus_20_percent(rate_range):
    result = bd_rate((RATES, QUALITIES), (0.8 * RATES, QUALITIES), rate_range)
    assert result.percent == pytest.approx(-20)
    back = bd_rate((0.8 * RATES, QUALITIES), (RATES, QUALITIES), rate_range)
    assert back.percent == pytest.approx(25)


def test_a_hand_computed_case():
    """Log rates linear in quality, where PCHIP is exact: ln(rate) = q and 1.5 q - 1 over the common qualities 1 to 3.

    The mean of the difference 0.5 q - 1 over them is 0: equal rates on average. Over 2 to 3 it is 0.25.
    """
    q = np.arange(0.0, 5.0)
    reference, test = (np.exp(q[:4]), q[:4]), (np.exp(1.5 * q[1:] - 1), q[1:])
    result = bd_rate(reference, test)
    assert result.percent == pytest.approx(0, abs=1e-9)
    assert (result.low, result.high) == (1, 3)
    # From e^2 on, the reference has qualities from 2; the other curve has them from 2 as well.
    result = bd_rate(reference, test, (np.exp(2), np.exp(9)))
    assert result.percent == pytest.approx(100 * np.expm1(0.25))
    assert (result.low, result.high) == pytest.approx((2, 3))
    assert result.reference_rates == pytest.approx((np.exp(2), np.exp(3)))


def test_a_range_of_rates_cuts_both_curves():
    better = (RATES, QUALITIES + 2)
    result = bd_rate((RATES, QUALITIES), better, (0.2, 0.8))
    assert result.low == pytest.approx(30.1)  # the better curve at 0.2
    assert result.high == pytest.approx(34.0)  # the reference at 0.8
    assert result.percent < -20


def test_the_order_of_points_does_not_matter():
    shuffled = [3, 0, 4, 1, 2]
    result = bd_rate((RATES[shuffled], QUALITIES[shuffled]), (0.9 * RATES, QUALITIES))
    assert result.percent == pytest.approx(-10)


@pytest.mark.parametrize(
    "test, message",
    [
        ((RATES[:3], QUALITIES[:3]), "at least 4 points"),
        ((RATES, QUALITIES[:4]), "at least 4 points"),
        ((RATES, QUALITIES + 20), "no quality in common"),
        ((RATES, QUALITIES[::-1]), "has to rise"),
        ((RATES, [25, 28, 28, 34, 36]), "has to rise"),
        ((RATES - 0.1, QUALITIES), "positive rates"),
        ((RATES, [25, 28, 31, 34, np.inf]), "finite"),
    ],
)
def test_what_cannot_be_compared(test, message):
    with pytest.raises(ValueError, match=message):
        bd_rate((RATES, QUALITIES), test)


def test_a_curve_outside_the_range():
    with pytest.raises(ValueError, match="no part from 2 to 3"):
        bd_rate((RATES, QUALITIES), (RATES, QUALITIES), (2, 3))
