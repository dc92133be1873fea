"""Score intervals, against scipy, textbook values and a slow search in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from fairpool.metrics import score_interval


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 2000), st.floats(0, 1), st.sampled_from([0.8, 0.95, 0.999]))
def test_one_rate_is_scipys_wilson_interval(size, fraction, confidence):
    wrong = round(fraction * size)
    expected = stats.binomtest(wrong, size).proportion_ci(confidence, method="wilson")
    low, high = score_interval([wrong / size], [size], [1], confidence=confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_two_rates_are_mees_interval_as_printed_by_newcombe():
    """Newcombe 1998, Statistics in Medicine 17, 873-890, table II, example (a), method 5."""
    found = score_interval([56 / 70, 48 / 80], [70, 80], [1, -1])
    assert found == pytest.approx((0.0533, 0.3377), abs=5.1e-5)


def by_cubic(a, m, b, n):
    """Mee's interval by the closed form of the restricted rates (Farrington and Manning 1990) and a root finder."""

    def excess(difference):
        theta = n / m
        one, two = a / m, b / n
        second = -(1 + theta + one + theta * two + difference * (theta + 2))
        third = difference**2 + difference * (2 * one + theta + 1) + one + theta * two
        last = -one * difference * (1 + difference)
        lead = 1 + theta
        v = (second / (3 * lead)) ** 3 - second * third / (6 * lead**2) + last / (2 * lead)
        u = math.copysign(math.sqrt(max((second / (3 * lead)) ** 2 - third / (3 * lead), 0)), v)
        angle = (math.pi + math.acos(max(-1, min(1, v / u**3 if u else 0)))) / 3
        first = min(1, max(0, 2 * u * math.cos(angle) - second / (3 * lead)))
        other = min(1, max(0, first - difference))
        variance = first * (1 - first) / m + other * (1 - other) / n
        distance = abs(one - two - difference)
        return (distance / math.sqrt(variance) if variance > 0 else 50.0 * (distance > 1e-9)) - 1.959963985

    middle, edge = a / m - b / n, 1 - 1e-9
    low = optimize.brentq(excess, -edge, middle) if excess(-edge) > 0 > excess(middle) else middle
    high = optimize.brentq(excess, middle, edge) if excess(edge) > 0 > excess(middle) else middle
    return low, high


@pytest.mark.parametrize(
    "case",
    [(9, 10, 3, 10), (6, 7, 2, 7), (5, 56, 0, 29), (0, 10, 0, 20), (0, 10, 0, 10), (1, 20, 0, 80), (17, 90, 250, 400)],
)
def test_two_rates_are_mees_interval_by_its_closed_form(case):
    a, m, b, n = case
    assert score_interval([a / m, b / n], [m, n], [1, -1]) == pytest.approx(by_cubic(*case), abs=1e-6)


def statistic(wrong, sizes, contrast, value, steps=4000):
    """Squared score statistic of sum(contrast p) = value for two rates, the restricted p found by trying them all."""
    best = (-math.inf, 0.0, 0.0)
    for step in range(steps + 1):
        first = step / steps
        second = (value - contrast[0] * first) / contrast[1]
        if not 0 <= second <= 1:
            continue
        likelihood = 0.0
        for x, n, p in zip(wrong, sizes, (first, second), strict=True):
            if (x and p == 0) or (n - x and p == 1):
                likelihood = -math.inf
                break
            likelihood += (x * math.log(p) if x else 0) + ((n - x) * math.log(1 - p) if n - x else 0)
        best = max(best, (likelihood, first, second))
    _, first, second = best
    rates = [x / n for x, n in zip(wrong, sizes, strict=True)]
    difference = sum(b * r for b, r in zip(contrast, rates, strict=True)) - value
    variance = sum(b * b * p * (1 - p) / n for b, p, n in zip(contrast, (first, second), sizes, strict=True))
    return difference**2 / variance if variance else (0.0 if difference == 0 else math.inf)


@pytest.mark.parametrize(
    ("wrong", "sizes", "contrast"),
    [((3, 10), (20, 50), (1, -0.5)), ((1, 0), (20, 80), (1, -1)), ((4, 7), (9, 9), (2, 1))],
)
def test_limits_are_where_the_score_statistic_reaches_its_bound(wrong, sizes, contrast):
    low, high = score_interval(np.divide(wrong, sizes), sizes, contrast)
    for limit in (low, high):
        assert statistic(wrong, sizes, contrast, float(limit)) == pytest.approx(1.959964**2, rel=2e-2)


RATES = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.floats(-2, 2)), min_size=1, max_size=6)


@settings(deadline=None)
@given(RATES, st.randoms(use_true_random=False))
def test_order_sign_and_absent_rates_change_nothing(rows, random):
    rates, sizes = [min(x, n) / n for x, n, _ in rows], [n for _, n, _ in rows]
    contrast = [b if abs(b) > 0.01 else 0.0 for _, _, b in rows]
    low, high = score_interval(rates, sizes, contrast)
    estimate = float(np.dot(contrast, rates))
    assert low <= estimate + 1e-9
    assert estimate <= high + 1e-9
    bounds = sum(min(b, 0) for b in contrast), sum(max(b, 0) for b in contrast)
    assert bounds[0] - 1e-9 <= low
    assert high <= bounds[1] + 1e-9
    order = random.sample(range(len(rows)), len(rows))
    shuffled = score_interval(*(np.array(part)[order] for part in (rates, sizes, contrast)))
    assert shuffled == pytest.approx((low, high), abs=1e-9)
    assert score_interval(rates, sizes, np.negative(contrast)) == pytest.approx((-high, -low), abs=1e-9)
    # Counting right decisions instead of wrong ones turns p into 1 - p.
    whole = sum(contrast)
    mirrored = score_interval(np.subtract(1, rates), sizes, contrast)
    assert mirrored == pytest.approx((whole - high, whole - low), abs=1e-8)
    wider = score_interval([*rates, 0.3], [*sizes, 5], [*contrast, 0])
    assert wider == pytest.approx((low, high), abs=1e-9)


def test_more_confidence_more_variance_and_fewer_samples_are_wider():
    narrow = np.ptp(score_interval([0.2, 0.4], [50, 60], [1, -1]))
    assert np.ptp(score_interval([0.2, 0.4], [50, 60], [1, -1], confidence=0.99)) > narrow
    assert np.ptp(score_interval([0.2, 0.4], [50, 60], [1, -1], inflation=1.5)) > narrow
    assert np.ptp(score_interval([0.2, 0.4], [25, 30], [1, -1])) > narrow
    # Twice the variance is half the samples.
    halved = score_interval([0.2, 0.4], [25, 30], [1, -1])
    assert score_interval([0.2, 0.4], [50, 60], [1, -1], inflation=2) == pytest.approx(halved)


def test_a_million_samples_lose_no_digits():
    low, high = score_interval([1e-6], [10**6], [1])
    expected = stats.binomtest(1, 10**6).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([1.2], [5], [1]), {}, "rates must be proportions"),
        (([0.2], [0], [1]), {}, "sizes and inflation must be positive"),
        (([0.2], [5], [1]), {"inflation": 0}, "sizes and inflation must be positive"),
        (([0.2], [5], [1]), {"confidence": 95}, "between 0 and 1, got 95"),
        (([float("nan")], [5], [1]), {}, "rates must be proportions"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        score_interval(*arguments, **options)
