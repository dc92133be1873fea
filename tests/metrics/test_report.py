"""Rates and gaps against scikit-learn and fairlearn, a hand-worked table, and what cannot be estimated."""

import math

import numpy as np
import pytest
import torch
from fairlearn.metrics import (
    MetricFrame,
    equalized_odds_difference,
    false_negative_rate,
    false_positive_rate,
    selection_rate,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import multilabel_confusion_matrix, precision_score, zero_one_loss

from fairpool.metrics import confusion_by_group, group_report

GAPS = ("deo", "fpr_gap", "eodds_gap", "ddp", "selection_gap", "fdr_gap")


def draw(size, num_groups, num_classes=2):
    """Every group holds every class and every prediction."""
    labels, predictions = torch.randint(0, num_classes, (2, size))
    groups = torch.randint(0, num_groups, (size,))
    corner = torch.cartesian_prod(*(torch.arange(n) for n in (num_classes, num_classes, num_groups)))
    return [torch.cat(pair) for pair in zip((labels, predictions, groups), corner.t(), strict=True)]


def report_of(labels, predictions, groups, num_groups, num_classes=2):
    return group_report(confusion_by_group(labels, predictions, groups, num_groups, num_classes))


def test_binary_rates_and_gaps_are_fairlearns():
    labels, predictions, groups = draw(400, 7)
    frame = MetricFrame(
        metrics={
            "error": zero_one_loss,
            "fnr": false_negative_rate,
            "fpr": false_positive_rate,
            "selection_rate": selection_rate,
            "fdr": lambda y, p: 1 - precision_score(y, p),
        },
        y_true=labels.numpy(),
        y_pred=predictions.numpy(),
        sensitive_features=groups.numpy(),
    )
    report = report_of(labels, predictions, groups, 7)
    for rate in ("error", "fnr", "fpr", "selection_rate", "fdr"):
        np.testing.assert_allclose(getattr(report, rate), frame.by_group[rate], rtol=1e-12)
    difference = frame.difference(method="between_groups")
    for gap, rate in [
        ("deo", "fnr"), ("fpr_gap", "fpr"), ("ddp", "error"), ("selection_gap", "selection_rate"), ("fdr_gap", "fdr"),
    ]:  # fmt: skip
        assert getattr(report, gap) == pytest.approx(difference[rate], rel=1e-12)
    expected = equalized_odds_difference(labels.numpy(), predictions.numpy(), sensitive_features=groups.numpy())
    assert report.eodds_gap == pytest.approx(expected, rel=1e-12)
    assert report.worst_group_error == pytest.approx(frame.group_max()["error"], rel=1e-12)
    assert report.overall_error == pytest.approx(frame.overall["error"], rel=1e-12)
    assert report.samples.tolist() == torch.bincount(groups).tolist()


@pytest.mark.parametrize("num_groups", [2, 5])
def test_multi_class_rates_are_scikit_learns_one_versus_rest(num_groups):
    labels, predictions, groups = draw(500, num_groups, 4)
    report = report_of(labels, predictions, groups, num_groups, 4)
    tables = torch.tensor(
        np.stack(
            [
                multilabel_confusion_matrix(labels[groups == k], predictions[groups == k], labels=range(4))
                for k in range(num_groups)
            ]
        )
    ).double()  # [group, class, true, predicted]
    tn, fp, fn, tp = tables[..., 0, 0], tables[..., 0, 1], tables[..., 1, 0], tables[..., 1, 1]
    expected = {
        "fnr": fn / (fn + tp),
        "fpr": fp / (fp + tn),
        "fdr": fp / (fp + tp),
        "selection_rate": (fp + tp) / (tn + fp + fn + tp),
    }
    for name, rates in expected.items():
        torch.testing.assert_close(getattr(report, name), rates, rtol=1e-12, atol=0)
        assert getattr(report, name).shape == (num_groups, 4)
    gaps = {name: float((rates.amax(0) - rates.amin(0)).max()) for name, rates in expected.items()}
    assert report.deo == pytest.approx(gaps["fnr"])
    assert report.fpr_gap == pytest.approx(gaps["fpr"])
    assert report.eodds_gap == pytest.approx(max(gaps["fnr"], gaps["fpr"]))
    assert report.fdr_gap == pytest.approx(gaps["fdr"])
    assert report.selection_gap == pytest.approx(gaps["selection_rate"])
    errors = torch.tensor([zero_one_loss(labels[groups == k], predictions[groups == k]) for k in range(num_groups)])
    torch.testing.assert_close(report.error, errors.double())
    assert report.fnr_of.tolist() == torch.stack([fn, fn + tp], dim=-1).long().tolist()
    assert report.fpr_of.tolist() == torch.stack([fp, fp + tn], dim=-1).long().tolist()


def test_a_table_worked_by_hand():
    report = group_report(torch.tensor([[[6, 2], [1, 3]], [[1, 3], [0, 4]]]))
    assert report.samples.tolist() == [12, 8]
    assert report.error.tolist() == [0.25, 0.375]
    assert report.fnr.tolist() == [0.25, 0.0]
    assert report.fpr.tolist() == [0.25, 0.75]
    assert report.fdr.tolist() == pytest.approx([2 / 5, 3 / 7])
    assert report.selection_rate.tolist() == pytest.approx([5 / 12, 7 / 8])
    assert report.fnr_of.tolist() == [[1, 4], [0, 4]]
    assert report.fpr_of.tolist() == [[2, 8], [3, 4]]
    assert report.overall_error == 0.3
    assert report.balanced_error == pytest.approx((0.25 + 0.25 + 0.75 + 0.0) / 4)
    assert (report.deo, report.fpr_gap, report.eodds_gap, report.ddp) == (0.25, 0.5, 0.5, 0.125)
    assert report.fdr_gap == pytest.approx(3 / 7 - 2 / 5)
    assert report.selection_gap == pytest.approx(7 / 8 - 5 / 12)
    assert report.worst_group_error == 0.375


def test_rates_are_nan_exactly_where_there_is_no_such_sample():
    # Group 0 is complete, 1 has no positive case, 2 no negative one, 3 predicts no positive, 4 is empty.
    counts = [[[3, 1], [2, 4]], [[5, 3], [0, 0]], [[0, 0], [1, 3]], [[4, 0], [2, 0]], [[0, 0], [0, 0]]]
    report = group_report(torch.tensor(counts))
    for rate, without in [("error", {4}), ("selection_rate", {4}), ("fnr", {1, 4}), ("fpr", {2, 4}), ("fdr", {3, 4})]:
        values = getattr(report, rate).tolist()
        assert {group for group, value in enumerate(values) if math.isnan(value)} == without
    assert report.fnr.tolist()[:1] + report.fnr.tolist()[2:4] == pytest.approx([2 / 6, 1 / 4, 1.0])
    assert report.balanced_error == pytest.approx((1 / 4 + 3 / 8 + 0 + 2 / 6 + 1 / 4 + 1) / 6)
    # Gaps are over the groups that have an estimate.
    assert report.deo == pytest.approx(1 - 1 / 4)
    assert report.fpr_gap == pytest.approx(3 / 8 - 0)
    assert report.fdr_gap == pytest.approx(3 / 3 - 0 / 3)
    assert report.worst_group_error == pytest.approx(3 / 8)


def test_a_gap_needs_two_groups_with_an_estimate():
    report = group_report(torch.tensor([[[3, 1], [2, 4]], [[5, 3], [0, 0]], [[0, 0], [0, 0]]]))
    assert math.isnan(report.deo)
    assert report.fpr_gap == report.eodds_gap == pytest.approx(3 / 8 - 1 / 4)
    assert report.ddp == pytest.approx(3 / 8 - 3 / 10)


def test_a_single_group_has_no_gap():
    report = group_report(torch.tensor([[[3, 1], [2, 4]]]))
    assert all(math.isnan(getattr(report, gap)) for gap in GAPS)
    assert report.worst_group_error == report.overall_error == pytest.approx(0.3)


def test_no_samples_give_no_estimate_of_anything():
    report = group_report(torch.zeros(3, 2, 2, dtype=torch.int64))
    for figure in (*GAPS, "worst_group_error", "overall_error", "balanced_error"):
        assert math.isnan(getattr(report, figure))
    assert report.samples.tolist() == [0, 0, 0]


def test_a_class_that_fewer_than_two_groups_hold_enters_no_multi_class_gap():
    counts = torch.zeros(2, 3, 3, dtype=torch.int64)
    counts[:, 0, 0], counts[:, 1, 1] = 4, 3
    counts[1, 1, 0] = 1
    counts[0, 2, 0] = 5  # class 2: group 0 alone, all missed
    report = group_report(counts)
    assert report.deo == pytest.approx(0.25)
    assert math.isnan(float(report.fnr[1, 2]))


def test_five_hundred_groups_are_those_of_a_loop():
    labels, predictions = torch.randint(0, 2, (2, 5000))
    groups = torch.randint(0, 500, (5000,))
    groups[groups == 17] = 18  # an empty one
    report = report_of(labels, predictions, groups, 500)
    fnr = []
    for k in range(500):
        positive = (groups == k) & (labels == 1)
        fnr.append(float((predictions[positive] == 0).double().mean()))
    np.testing.assert_allclose(report.fnr, fnr, rtol=1e-12)
    known = [rate for rate in fnr if not math.isnan(rate)]
    assert report.deo == pytest.approx(max(known) - min(known))
    assert math.isnan(report.error[17])


tables = st.integers(1, 5).flatmap(
    lambda num_groups: st.lists(st.integers(0, 6), min_size=4 * num_groups, max_size=4 * num_groups)
).map(lambda cells: torch.tensor(cells).view(-1, 2, 2))  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(tables, st.randoms(use_true_random=False))
def test_relabelling_groups_permutes_rates_and_leaves_gaps(counts, random):
    order = list(range(len(counts)))
    random.shuffle(order)
    report, permuted = group_report(counts), group_report(counts[order])
    for rate in ("error", "fnr", "fpr", "fdr", "selection_rate"):
        torch.testing.assert_close(getattr(permuted, rate), getattr(report, rate)[order], equal_nan=True)
    for gap in GAPS:
        assert getattr(permuted, gap) == pytest.approx(getattr(report, gap), nan_ok=True)


@settings(deadline=None, max_examples=50)
@given(tables)
def test_duplicated_data_moves_no_rate_and_every_figure_lies_in_zero_to_one(counts):
    report, twice = group_report(counts), group_report(2 * counts)
    for figure in (*GAPS, "worst_group_error", "overall_error", "balanced_error"):
        value = getattr(report, figure)
        assert math.isnan(value) or 0 <= value <= 1
        assert getattr(twice, figure) == pytest.approx(value, nan_ok=True)
    for rate in ("error", "fnr", "fpr", "fdr", "selection_rate"):
        torch.testing.assert_close(getattr(twice, rate), getattr(report, rate), equal_nan=True)


@settings(deadline=None, max_examples=50)
@given(tables)
def test_exchanging_the_two_classes_exchanges_fnr_and_fpr(counts):
    report, flipped = group_report(counts), group_report(counts.flip(1, 2))
    torch.testing.assert_close(flipped.fnr, report.fpr, equal_nan=True)
    torch.testing.assert_close(flipped.fpr, report.fnr, equal_nan=True)
    torch.testing.assert_close(flipped.error, report.error, equal_nan=True)


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3), (2, 1, 1), (1, 2, 2, 2)], ids=str)
def test_counts_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match=r"counts must have shape \(K, C, C\)"):
        group_report(torch.zeros(shape, dtype=torch.int64))


def test_negative_counts_are_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        group_report(torch.tensor([[[1, 0], [0, -1]]]))
