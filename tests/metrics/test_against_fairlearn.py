"""Hard metrics are those of fairlearn's MetricFrame, on random cases and where a rate has no case to rest on."""

import math

import numpy as np
import pytest
import torch
from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate, selection_rate
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_score, zero_one_loss

from fairpool.metrics import confusion_by_group, group_report

GAPS = {"error": "ddp", "fnr": "deo", "fpr": "fpr_gap", "fdr": "fdr_gap", "selection_rate": "selection_gap"}


def where_there_are(value, rate):
    """The rate, NaN where no label (or prediction) has this value: fairlearn and scikit-learn say 0 there."""

    def guarded(labels, predictions):
        of = predictions if rate is false_discovery_rate else labels
        return rate(labels, predictions) if (np.asarray(of) == value).any() else math.nan

    return guarded


def false_discovery_rate(labels, predictions):
    return 1 - precision_score(labels, predictions, pos_label=1, zero_division=0)


def fnr(labels, predictions):
    return false_negative_rate(labels, predictions, pos_label=1)


def fpr(labels, predictions):
    return false_positive_rate(labels, predictions, pos_label=1)


def frame_of(labels, predictions, groups):
    return MetricFrame(
        metrics={
            "error": zero_one_loss,
            "fnr": where_there_are(1, fnr),
            "fpr": where_there_are(0, fpr),
            "fdr": where_there_are(1, false_discovery_rate),
            "selection_rate": selection_rate,
        },
        y_true=np.asarray(labels),
        y_pred=np.asarray(predictions),
        sensitive_features=list(groups),  # of an array with one element fairlearn makes a scalar
    )


def report_of(labels, predictions, groups, num_groups, num_classes=2):
    return group_report(confusion_by_group(*map(torch.tensor, (labels, predictions, groups)), num_groups, num_classes))


def assert_rates_are_those_of(frame, rates_of, num_groups):
    """By group, in the order of ids; a group that fairlearn never saw has no estimate."""
    for rate in GAPS:
        expected = frame.by_group[rate].reindex(range(num_groups)).to_numpy(dtype=float)
        np.testing.assert_allclose(rates_of(rate), expected, rtol=1e-12, atol=1e-15, err_msg=rate)


def difference_of(frame, rate):
    """The difference between groups, no estimate where fewer than two groups have one (fairlearn says 0)."""
    if frame.by_group[rate].notna().sum() < 2:
        return math.nan
    return frame.difference(method="between_groups")[rate]


def assert_report_is_fairlearns(labels, predictions, groups, num_groups):
    frame, report = frame_of(labels, predictions, groups), report_of(labels, predictions, groups, num_groups)
    assert_rates_are_those_of(frame, lambda rate: getattr(report, rate), num_groups)
    for rate, gap in GAPS.items():
        assert getattr(report, gap) == pytest.approx(difference_of(frame, rate), rel=1e-12, abs=1e-12, nan_ok=True), gap
    gaps = [gap for gap in (difference_of(frame, "fnr"), difference_of(frame, "fpr")) if gap == gap]
    assert report.eodds_gap == pytest.approx(max(gaps, default=math.nan), abs=1e-12, nan_ok=True)
    assert report.overall_error == pytest.approx(frame.overall["error"], rel=1e-12)
    assert report.worst_group_error == pytest.approx(frame.group_max()["error"], rel=1e-12)


@st.composite
def cases(draw, most_groups, num_classes=2, most=150):
    """Labels, predictions and groups; few samples over many groups leave single samples, absent labels and groups."""
    num_groups = draw(st.integers(1, most_groups))
    size = draw(st.integers(1, most))
    columns = [draw(st.lists(st.integers(0, top), min_size=size, max_size=size)) for top in (num_classes - 1,) * 2]
    return *columns, draw(st.lists(st.integers(0, num_groups - 1), min_size=size, max_size=size)), num_groups


@settings(deadline=None, max_examples=40)
@given(cases(most_groups=6))
def test_binary_rates_and_differences_of_random_cases(case):
    assert_report_is_fairlearns(*case)


@settings(deadline=None, max_examples=30)
@given(cases(most_groups=50))
def test_binary_rates_and_differences_with_up_to_fifty_groups(case):
    assert_report_is_fairlearns(*case)


ADVERSARIAL = {
    "one sample a group": ([0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 2, 3], 4),
    "fifty groups of one sample": ([k % 2 for k in range(50)], [k % 3 % 2 for k in range(50)], list(range(50)), 50),
    "one sample": ([1], [0], [0], 1),
    "one sample, many empty groups": ([0], [1], [7], 50),
    "everything right": ([0, 1] * 6, [0, 1] * 6, [0, 0, 1, 1, 2, 2] * 2, 3),
    "everything wrong": ([0, 1] * 6, [1, 0] * 6, [0, 0, 1, 1, 2, 2] * 2, 3),
    "no positive label anywhere": ([0] * 6, [0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 3),
    "no negative label anywhere": ([1] * 6, [0, 1, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2], 3),
    "nothing is called positive": ([0, 1, 0, 1], [0] * 4, [0, 0, 1, 1], 2),
    "everything is called positive": ([0, 1, 0, 1], [1] * 4, [0, 0, 1, 1], 2),
    "a label at one site only": ([0, 0, 0, 1, 1], [0, 1, 0, 0, 1], [0, 0, 1, 1, 1], 2),
    "each site has one label": ([0, 0, 1, 1], [0, 1, 0, 1], [0, 0, 1, 1], 2),
    "one site calls nothing positive": ([0, 1, 0, 1], [0, 0, 1, 1], [0, 0, 1, 1], 2),
    "one group": ([0, 1, 1, 0], [0, 0, 1, 1], [0] * 4, 1),
    "groups in the middle are empty": ([0, 1, 0, 1], [1, 1, 0, 0], [0, 0, 9, 9], 12),
    "fifty groups of forty samples": (
        *np.random.default_rng(0).integers(0, 2, (2, 2000)).tolist(),
        [*range(50)] * 40,
        50,
    ),
    "one large and one tiny group": ([0, 1] * 500 + [1], [0, 1, 1, 1] * 250 + [0], [0] * 1000 + [1], 2),
}


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_binary_rates_and_differences_of_adversarial_cases(name):
    assert_report_is_fairlearns(*ADVERSARIAL[name])


@settings(deadline=None, max_examples=10)
@given(cases(most_groups=8, num_classes=4))
def test_multi_class_rates_and_differences_are_those_of_each_class_against_the_rest(case):
    labels, predictions, groups, num_groups = case
    report = report_of(*case, num_classes=4)
    differences: dict[str, list[float]] = {rate: [] for rate in GAPS if rate != "error"}
    for c in range(4):
        frame = frame_of([int(y == c) for y in labels], [int(p == c) for p in predictions], groups)
        for rate in differences:
            expected = frame.by_group[rate].reindex(range(num_groups)).to_numpy(dtype=float)
            np.testing.assert_allclose(getattr(report, rate)[:, c], expected, rtol=1e-12, atol=1e-15)
            differences[rate].append(difference_of(frame, rate))
    for rate, values in differences.items():
        largest = max((value for value in values if value == value), default=math.nan)
        assert getattr(report, GAPS[rate]) == pytest.approx(largest, rel=1e-12, abs=1e-12, nan_ok=True)
    frame = MetricFrame(
        metrics=zero_one_loss,
        y_true=np.array(labels),
        y_pred=np.array(predictions),
        sensitive_features=list(groups),
    )
    np.testing.assert_allclose(report.error, frame.by_group.reindex(range(num_groups)).to_numpy(float), rtol=1e-12)


def test_where_fairlearn_says_zero_for_no_case_the_report_has_no_estimate():
    # Group 0 has no positive case and calls none positive, group 1 has no negative case.
    report = report_of([0, 0, 1, 1], [0, 0, 1, 0], [0, 0, 1, 1], 2)
    assert fnr([0, 0], [0, 0]) == false_discovery_rate([0, 0], [0, 0]) - 1 == fpr([1, 1], [1, 0]) == 0
    assert [math.isnan(rate) for rate in (report.fnr[0], report.fdr[0], report.fpr[1])] == [True] * 3
    assert (float(report.fpr[0]), float(report.fnr[1]), float(report.fdr[1])) == (0.0, 0.5, 0.0)
    assert report.fnr_of[0].tolist() == report.fpr_of[1].tolist() == [0, 0]
    assert all(math.isnan(gap) for gap in (report.deo, report.fpr_gap, report.fdr_gap))


def test_unknown_groups_are_left_out_as_if_they_were_no_data():
    labels, predictions, groups = [0, 1, 1, 0, 1], [1, 1, 0, 0, 0], [0, 0, 1, 1, -1]
    report, frame = report_of(labels, predictions, groups, 2), frame_of(labels[:4], predictions[:4], groups[:4])
    assert_rates_are_those_of(frame, lambda rate: getattr(report, rate), 2)
    assert report.overall_error == frame.overall["error"]
