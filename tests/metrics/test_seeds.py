"""Paired comparisons over seeds, against itertools, scipy and hand-worked adjustments."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from fairpool.metrics import paired_comparisons, sign_flip_p_value
from fairpool.metrics.seeds import holm

POINTS = st.integers(-50, 50)  # whole points, whose ties are exact


@settings(deadline=None)
@given(st.lists(POINTS, min_size=1, max_size=8))
def test_p_value_is_the_share_of_all_sign_flips_as_extreme(points):
    sums = [
        abs(sum(sign * point for sign, point in zip(signs, points, strict=True)))
        for signs in product((1, -1), repeat=len(points))
    ]
    expected = sum(value >= abs(sum(points)) for value in sums) / len(sums)
    assert sign_flip_p_value([point / 1000 for point in points]) == expected


def test_p_value_is_scipys_permutation_test():
    differences = np.random.default_rng(0).normal(0.5, 1, 10)
    expected = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=math.inf)
    assert sign_flip_p_value(differences) == pytest.approx(expected.pvalue)


@settings(deadline=None)
@given(st.lists(POINTS, min_size=1, max_size=10), st.randoms(use_true_random=False))
def test_order_direction_and_scale_change_no_p_value(points, random):
    expected = sign_flip_p_value(points)
    assert sign_flip_p_value(random.sample(points, len(points))) == expected
    assert sign_flip_p_value([-3 * point for point in points]) == expected
    assert expected >= 2.0 ** (1 - len(points))


def test_more_than_20_seeds_are_tested_at_random_and_repeat():
    differences = np.random.default_rng(0).normal(0.4, 1, 30)
    found = sign_flip_p_value(differences)
    # Of 30 differences the t-test's p-value is near the exact one.
    assert found == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, rel=0.15)
    assert found == sign_flip_p_value(differences)
    assert sign_flip_p_value([1.0] * 40) == pytest.approx(1e-5, rel=0.01)


@pytest.mark.parametrize("bad", [[], [0.1, math.nan], [math.inf]])
def test_differences_that_are_none_are_refused(bad):
    with pytest.raises(ValueError, match="finite, one a seed"):
        sign_flip_p_value(bad)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([0.02]) == [0.02]


def test_every_pair_of_methods_is_compared_on_common_seeds():
    figures = {
        "plain": {0: 0.30, 1: 0.40, 2: 0.50, 3: math.nan},
        "fair": {0: 0.10, 1: 0.10, 2: 0.10, 3: 0.10},
        "other": {2: 0.40, 7: 0.90},
        "lonely": {9: 0.10},
    }
    pairs = {(pair.method, pair.against): pair for pair in paired_comparisons(figures)}
    assert set(pairs) == {("fair", "plain"), ("other", "plain"), ("other", "fair")}
    fair = pairs["fair", "plain"]
    assert (fair.seeds, fair.mean, fair.std) == pytest.approx((3, -0.3, 0.1))
    assert (fair.p_value, fair.smallest, fair.adjusted) == (0.25, 0.25, 0.25)
    assert pairs["other", "plain"].seeds == 1
    assert math.isnan(pairs["other", "plain"].std)
    assert pairs["other", "plain"].p_value == pairs["other", "plain"].smallest == 1


def test_few_seeds_are_no_evidence_however_large_the_difference():
    pair = paired_comparisons({"plain": dict.fromkeys(range(5), 0.9), "fair": {s: 0.1 + s / 100 for s in range(5)}})[0]
    assert not pair.is_different
    assert pair.sentence("DEO") == (
        "fair against plain, DEO: -78.0 points, p = 0.062 (smallest p that 5 seeds can give: 0.062): "
        "no evidence of a difference"
    )


def test_six_seeds_can_be_evidence_and_three_methods_need_more():
    plain, fair = dict.fromkeys(range(6), 0.9), {s: 0.1 + s / 100 for s in range(6)}
    pair = paired_comparisons({"plain": plain, "fair": fair})[0]
    assert pair.p_value == pair.adjusted == 2 / 64
    assert pair.is_different
    assert pair.sentence("error").endswith("): evidence of a difference")
    three = paired_comparisons({"plain": plain, "fair": fair, "third": {s: 0.5 + s / 90 for s in range(6)}})
    assert [round(one.adjusted, 4) for one in three] == [0.0938] * 3
    assert not any(one.is_different for one in three)
    assert "p = 0.031, 0.094 after Holm's adjustment (smallest p that 6 seeds" in three[0].sentence("DEO")


def test_pairs_of_too_few_seeds_do_not_weigh_on_the_others():
    """Of ten methods, eight have one to five seeds: only the pair of eight seeds can reach 0.05, and it is alone."""
    plain, fair = dict.fromkeys(range(8), 0.9), {s: 0.1 + s / 100 for s in range(8)}
    few = {f"other {n}": {s: 0.5 + s / 100 for s in range(1 + n % 5)} for n in range(8)}
    alone = paired_comparisons({"plain": plain, "fair": fair})[0]
    first, *others = paired_comparisons({"plain": plain, "fair": fair, **few})
    assert first == alone
    assert first.adjusted == first.p_value == 2 / 256
    assert first.is_different
    assert len(others) == 44
    assert all(pair.adjusted == pair.p_value >= pair.smallest > 0.05 for pair in others)
    assert not any(pair.is_different for pair in others)


def test_pairs_that_can_reach_the_level_are_adjusted_among_themselves():
    rng = np.random.default_rng(0)
    figures = {name: dict(enumerate(rng.random(8).tolist())) for name in "abc"} | {"late": {0: 0.1, 1: 0.2}}
    pairs = paired_comparisons(figures)
    able = [pair for pair in pairs if "late" not in (pair.method, pair.against)]
    assert [pair.adjusted for pair in able] == holm([pair.p_value for pair in able])
    assert [pair.adjusted for pair in pairs if pair not in able] == [pair.p_value for pair in pairs if pair not in able]


def test_false_findings_stay_at_the_level_with_unequal_seeds():
    """Four equal methods, one of five seeds: of 400 studies at most 5 % (3 standard errors) have any false finding."""
    rng = np.random.default_rng(0)
    seeds_of, found = {"a": 8, "b": 8, "c": 8, "d": 5}, 0
    for _ in range(400):
        figures = {name: dict(enumerate(rng.normal(0.5, 0.1, seeds))) for name, seeds in seeds_of.items()}
        found += any(pair.is_different for pair in paired_comparisons(figures))
    assert found / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_equal_methods_do_not_differ():
    pair = paired_comparisons({"plain": {0: 0.2, 1: 0.3}, "same": {0: 0.2, 1: 0.3}})[0]
    assert (pair.mean, pair.p_value) == (0, 1)
    assert pair.verdict == "no evidence of a difference"
