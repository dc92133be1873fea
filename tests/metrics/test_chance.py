"""Gaps by chance, against enumeration, simulation and scipy's Fisher test."""

import math
import random
from itertools import permutations, product

import numpy as np
import pytest
from scipy import stats

from fairpool.metrics import expected_gap, group_report, null_gap, patient_counts
from fairpool.metrics.confusion import confusion_by_group


def counted(samples, num_sites):
    return patient_counts(*np.array(samples, dtype=int).T, num_sites)


def one_image_each(wrong, sizes):
    rows, patient = [], 0
    for site, (misses, size) in enumerate(zip(wrong, sizes, strict=True)):
        for i in range(size):
            rows.append((patient, site, 1, int(i >= misses)))
            patient += 1
    return counted(rows, len(sizes))


@pytest.mark.parametrize(("sizes", "rate"), [((3, 5), 0.2), ((4, 4, 2), 0.5), ((1, 6, 3, 2), 0.13), ((2, 0, 3), 0.9)])
def test_expected_gap_is_the_sum_over_all_outcomes(sizes, rate):
    present = [size for size in sizes if size]
    expected = 0.0
    for wrong in product(*(range(size + 1) for size in present)):
        chance = math.prod(
            math.comb(n, x) * rate**x * (1 - rate) ** (n - x) for x, n in zip(wrong, present, strict=True)
        )
        rates = [x / n for x, n in zip(wrong, present, strict=True)]
        expected += chance * (max(rates) - min(rates))
    assert expected_gap(sizes, rate) == pytest.approx(expected)


def test_two_sites_of_200_positives_and_13_percent_show_2_7_points():
    assert 100 * expected_gap([200, 200], 0.13) == pytest.approx(2.7, abs=0.05)
    # Of a normal approximation, the mean absolute difference is sd * sqrt(2 / pi).
    sd = math.sqrt(2 * 0.13 * 0.87 / 200)
    assert expected_gap([200, 200], 0.13) == pytest.approx(sd * math.sqrt(2 / math.pi), rel=0.01)


def test_many_large_sites_agree_with_a_simulation():
    sizes = np.random.default_rng(0).integers(10, 400, 60)
    draws = np.random.default_rng(1).binomial(sizes, 0.1, size=(20000, 60)) / sizes
    assert expected_gap(sizes.tolist(), 0.1) == pytest.approx(np.ptp(draws, axis=1).mean(), rel=0.01)


def test_one_site_has_no_gap_and_certain_rates_have_none_to_expect():
    assert math.isnan(expected_gap([5], 0.3))
    assert math.isnan(expected_gap([5, 0], 0.3))
    assert expected_gap([5, 7], 0) == expected_gap([5, 7], 1) == 0
    result = null_gap(one_image_each([2], [5]))
    assert all(math.isnan(value) for value in (result.gap, result.expected, result.p_value))


def test_the_gap_is_the_reports():
    rng = np.random.default_rng(0)
    patient, site, label, decision = rng.integers(0, 60, 300), *(rng.integers(0, top, 300) for top in (4, 2, 2))
    counts = patient_counts(patient, site, label, decision, 4)
    import torch

    report = group_report(confusion_by_group(*map(torch.tensor, (label, decision, site)), 4))
    gaps = {"fnr": report.deo, "fpr": report.fpr_gap, "error": report.ddp}
    for rate, gap in (gaps | {"selection_rate": report.selection_gap, "fdr": report.fdr_gap}).items():
        assert null_gap(counts, rate, permutations=1).gap == pytest.approx(gap)


def test_two_sites_of_equal_size_have_fishers_p_value():
    """With equal sizes the absolute difference orders the tables as their probability does."""
    for wrong in ((2, 9), (5, 6), (0, 7)):
        expected = stats.fisher_exact([[wrong[0], 40 - wrong[0]], [wrong[1], 40 - wrong[1]]]).pvalue
        found = null_gap(one_image_each(wrong, (40, 40)), permutations=39999).p_value
        assert found == pytest.approx(expected, abs=0.01)


def test_patients_keep_their_images_in_every_permutation():
    """All permutations of six patients' sites, by hand, against the random ones."""
    patients = [[0, 0, 0], [1], [1, 0], [1, 1], [1], [0]]  # decisions on ill images
    sites = [0, 0, 0, 1, 1, 1]
    rows = [(i, sites[i], 1, decision) for i, images in enumerate(patients) for decision in images]
    gaps = []
    for order in permutations(sites):
        rates = []
        for site in (0, 1):
            decisions = [d for images, place in zip(patients, order, strict=True) if place == site for d in images]
            rates.append(1 - sum(decisions) / len(decisions))
        gaps.append(abs(rates[0] - rates[1]))
    result = null_gap(counted(rows, 2), permutations=20000)
    assert result.gap == pytest.approx(gaps[0])
    assert result.expected == pytest.approx(np.mean(gaps), abs=0.01)
    assert result.p_value == pytest.approx(np.mean(np.array(gaps) >= gaps[0] - 1e-12), abs=0.015)


def test_the_fdr_is_permuted_within_the_positive_decisions():
    """Fisher's test on the false alarms among them; who is decided negative, or a site without such, has no say."""
    alarms, decided = (3, 11), (40, 40)
    rows, patient = [], 0
    for site in range(2):
        for i in range(decided[site]):
            rows.append((patient, site, int(i >= alarms[site]), 1))
            patient += 1
    expected = stats.fisher_exact([[3, 37], [11, 29]]).pvalue
    negative = [(1000 + i, i % 3, int(i % 4 == 0), 0) for i in range(90)]
    alone = null_gap(counted(rows, 2), "fdr", permutations=39999)
    beside = null_gap(counted([*rows, *negative], 3), "fdr", permutations=39999)
    for result in (alone, beside):
        assert result.gap == pytest.approx(8 / 40)
        assert result.expected == pytest.approx(expected_gap([40, 40], 14 / 80))
        assert result.p_value == pytest.approx(expected, abs=0.01)


def test_images_decided_negative_leave_the_fdr_of_their_patient_as_it_is():
    """A patient of two sites with a positive decision at one of them is dealt as a patient of that site."""
    rows = [(i, i % 2, int(i % 3 > 0), 1) for i in range(30)]
    more = [(i, 1 - i % 2, 1, 0) for i in range(30)]
    assert null_gap(counted([*rows, *more], 2), "fdr") == null_gap(counted(rows, 2), "fdr")


def test_equal_false_discovery_rates_are_called_different_at_most_as_often_as_the_level():
    """Sites that select differently and have different shares of positives, with one FDR: no evidence against it."""
    rng = np.random.default_rng(0)
    p_values = []
    for _ in range(300):
        rows = []
        for site, (size, selected) in enumerate(((80, 0.7), (160, 0.2))):
            decision = rng.random(size) < selected
            label = np.where(decision, rng.random(size) >= 0.25, rng.random(size) < 0.1 + 0.3 * site)
            rows += [(len(rows) + i, site, int(label[i]), int(decision[i])) for i in range(size)]
        p_values.append(null_gap(counted(rows, 2), "fdr", permutations=199).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert np.mean(p_values) >= 0.45


def test_patients_of_several_sites_exchange_their_own_sites_alone():
    """With nobody else, each patient's two sites are swapped or not: the 2^5 outcomes by hand."""
    decisions = [(0, 1), (0, 1), (0, 0), (1, 0), (0, 1)]
    rows = [(i, site, 1, pair[site]) for i, pair in enumerate(decisions) for site in (0, 1)]
    gaps = []
    for swaps in product((False, True), repeat=5):
        placed = [pair[::-1] if swap else pair for pair, swap in zip(decisions, swaps, strict=True)]
        gaps.append(abs(sum(a for a, _ in placed) - sum(b for _, b in placed)) / 5)
    result = null_gap(counted(rows, 2), permutations=20000)
    assert result.expected == pytest.approx(np.mean(gaps), abs=0.01)
    assert result.p_value == pytest.approx(np.mean(np.array(gaps) >= result.gap - 1e-12), abs=0.015)


def test_relabelling_sites_and_patients_changes_no_gap_and_hardly_a_p_value():
    draw = random.Random(0)
    rows = [(draw.randrange(30), i % 3, 1, int(draw.random() > 0.2 + 0.1 * (i % 3))) for i in range(120)]
    rows = [(patient + 100 * site, site, label, decision) for patient, site, label, decision in rows]
    moved = [(500 - patient, (site + 1) % 3, label, decision) for patient, site, label, decision in rows]
    first, second = null_gap(counted(rows, 3)), null_gap(counted(draw.sample(moved, len(moved)), 3))
    assert second.gap == pytest.approx(first.gap)
    assert second.expected == pytest.approx(first.expected, rel=0.03)
    assert second.p_value == pytest.approx(first.p_value, abs=0.03)


def test_equal_rates_are_called_different_at_most_as_often_as_the_level():
    rng = np.random.default_rng(0)
    p_values = [
        null_gap(one_image_each(rng.binomial(60, 0.2, 3).tolist(), (60, 60, 60)), permutations=199).p_value
        for _ in range(400)
    ]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert np.mean(p_values) >= 0.5  # ties of the discrete gap make it conservative


def test_no_p_value_is_zero_and_a_seed_repeats():
    counts = one_image_each((0, 50), (50, 50))
    assert null_gap(counts, permutations=99).p_value == 0.01
    other = one_image_each((5, 9), (50, 50))
    assert null_gap(other, seed=3) == null_gap(other, seed=3)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: null_gap(one_image_each((1, 1), (2, 2)), "deo"), 'no rate "deo"; there are error, fnr, fpr'),
        (lambda: null_gap(one_image_each((1, 1), (2, 2)), permutations=0), "at least 1, got 0"),
        (lambda: expected_gap([5, 5], 13), "must lie in .*got 13"),
        (lambda: expected_gap([5, -5], 0.1), "no size be negative; got 0.1 and -5"),
    ],
)
def test_what_makes_no_sense_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()
