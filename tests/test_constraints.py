"""Which samples a constraint takes and which rate it averages; the table of the design page, row by row."""

import pytest
import torch

from fairpool.constraints import (
    CONSTRAINTS,
    DemographicParity,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRateParity,
    PredictiveEquality,
    PredictiveParity,
)
from fairpool.metrics import confusion_by_group, group_report

LABELS = torch.tensor([0, 1, 1, 0, 1])
PROBABILITIES = torch.tensor([[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.0, 1.0], [1.0, 0.0]])


@pytest.mark.parametrize(
    ("constraint", "events", "weights"),
    [
        (EqualOpportunity(), ("y1",), [[0, 1, 1, 0, 1]]),
        (EqualOpportunity(label=0), ("y0",), [[1, 0, 0, 1, 0]]),
        (PredictiveEquality(), ("y0",), [[1, 0, 0, 1, 0]]),
        (EqualizedOdds(), ("y0", "y1"), [[1, 0, 0, 1, 0], [0, 1, 1, 0, 1]]),
        (EqualizedOdds(num_classes=3), ("y0", "y1", "y2"), [[1, 0, 0, 1, 0], [0, 1, 1, 0, 1], [0, 0, 0, 0, 0]]),
        (ErrorRateParity(), ("all",), [[1, 1, 1, 1, 1]]),
    ],
    ids=repr,
)
def test_events_hold_the_samples_of_the_table_and_the_rate_is_the_error(constraint, events, weights):
    event_weights, rates = constraint(LABELS, PROBABILITIES)
    assert constraint.events == events
    assert event_weights.dtype == torch.bool
    assert event_weights.t().int().tolist() == weights
    assert rates.t().tolist() == [[0.25, 0.5, 0.25, 1.0, 1.0]] * len(events)


@pytest.mark.parametrize("constraint", [EqualOpportunity(), EqualizedOdds(), ErrorRateParity()], ids=repr)
def test_one_hot_decisions_give_the_evaluation(constraint):
    decisions = torch.eye(2)[torch.tensor([0, 1, 0, 1, 1])]
    _, rates = constraint(LABELS, decisions)
    assert rates[:, 0].tolist() == [0, 0, 1, 1, 0]


def test_errors_given_replace_predictions():
    errors = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5])
    weights, rates = EqualizedOdds()(LABELS, None, errors)
    assert weights.shape == rates.shape == (5, 2)
    assert torch.equal(rates[:, 1], errors)


def test_neither_predictions_nor_errors_is_a_type_error():
    with pytest.raises(TypeError, match="EqualOpportunity needs predictions or errors"):
        EqualOpportunity()(LABELS, None)


@pytest.mark.parametrize("label", [-1, 1.0, "1", True, None])
def test_a_label_that_is_no_class_index_is_refused_with_its_value(label):
    with pytest.raises(ValueError, match=f"from 0 on, got {label!r}"):
        EqualOpportunity(label=label)


@pytest.mark.parametrize("num_classes", [1, 0])
def test_equalized_odds_of_fewer_than_two_classes_is_refused(num_classes):
    with pytest.raises(ValueError, match=f"at least 2, got {num_classes}"):
        EqualizedOdds(num_classes=num_classes)


def test_command_line_words_name_each_constraint_once():
    assert {word: make().name for word, make in CONSTRAINTS.items()} == {word: word for word in CONSTRAINTS}
    assert set(CONSTRAINTS) == {
        "equal_opportunity",
        "predictive_equality",
        "equalized_odds",
        "error_rate_parity",
        "demographic_parity",
        "predictive_parity",
    }


def test_every_constraint_names_the_figure_that_it_makes_small():
    report = group_report(torch.tensor([[[8, 2], [1, 9]], [[6, 4], [4, 6]]]))
    gaps = {word: make.gap for word, make in CONSTRAINTS.items()}
    assert len(set(gaps.values())) == len(gaps)
    assert all(getattr(report, gap) > 0 for gap in gaps.values())


def test_repr_names_the_events():
    assert repr(EqualizedOdds()) == "EqualizedOdds(events=['y0', 'y1'])"


# Predicted classes, several classes, several labels


def test_demographic_parity_takes_everyone_with_the_probability_of_the_class():
    weights, rates = DemographicParity()(LABELS, PROBABILITIES)
    assert (weights.t().tolist(), rates.t().tolist()) == ([[True] * 5], [[0.25, 0.5, 0.75, 1.0, 0.0]])
    thirds = torch.tensor([[0.2, 0.3, 0.5]])
    constraint = DemographicParity(num_classes=3)
    weights, rates = constraint(torch.tensor([0]), thirds)
    assert (constraint.events, weights.shape) == (("all0", "all1", "all2"), (1, 3))
    assert torch.equal(rates, thirds)


def test_predictive_parity_takes_who_is_decided_positive_with_the_gradient_of_the_probability():
    probabilities = PROBABILITIES.clone().requires_grad_(True)
    weights, rates = PredictiveParity()(LABELS, probabilities)
    assert weights[:, 0].tolist() == [0, 0, 1, 1, 0]  # 0.5 is not positive, as a margin of 0 is not
    assert rates[:, 0].tolist() == [1, 0, 0, 1, 0]
    weights.sum().backward()
    assert probabilities.grad.tolist() == [[0.0, 1.0]] * 5
    assert PredictiveParity(num_classes=3).events == ("predicted0", "predicted1", "predicted2")


@pytest.mark.parametrize("constraint", [DemographicParity(), PredictiveParity()], ids=repr)
def test_rates_of_predicted_classes_need_predictions(constraint):
    with pytest.raises(TypeError, match="needs predictions"):
        constraint(LABELS, None, torch.zeros(5))


@pytest.mark.parametrize("make", [DemographicParity, PredictiveParity])
@pytest.mark.parametrize("num_classes", [1, True, 2.0])
def test_fewer_than_two_predicted_classes_are_refused(make, num_classes):
    with pytest.raises(ValueError, match="at least 2"):
        make(num_classes=num_classes)


def draw(size, num_classes, num_groups):
    labels, groups = torch.randint(0, num_classes, (size,)), torch.randint(-1, num_groups, (size,))
    return labels, torch.randint(0, num_classes, (size,)), groups


def soft_rates(constraint, labels, predictions, groups, num_groups):
    """sum(w r) / sum(w) by group and event, as a loop; NaN where no sample is in the event."""
    weights, rates = constraint(labels, predictions)
    table = torch.full((num_groups, weights.shape[1]), torch.nan)
    for k in range(num_groups):
        for c in range(weights.shape[1]):
            chosen = weights[groups == k, c].float()
            if chosen.sum() > 0:
                table[k, c] = (chosen * rates[groups == k, c]).sum() / chosen.sum()
    return table


@pytest.mark.parametrize("num_groups", [2, 7, 40])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_soft_rates_of_one_hot_predictions_are_the_hard_metrics(num_classes, num_groups):
    for size in (1, 5, 60, 800):
        labels, predicted, groups = draw(size, num_classes, num_groups)
        report = group_report(confusion_by_group(labels, predicted, groups, num_groups, num_classes))
        one_hot = torch.eye(num_classes)[predicted]
        expected = {
            EqualizedOdds(num_classes): report.fnr if num_classes > 2 else torch.stack([report.fpr, report.fnr], dim=1),
            ErrorRateParity(): report.error[:, None],
            DemographicParity(num_classes): report.selection_rate.reshape(num_groups, -1),
            PredictiveParity(num_classes): report.fdr.reshape(num_groups, -1),
        }
        if num_classes == 2:
            expected |= {EqualOpportunity(): report.fnr[:, None], PredictiveEquality(): report.fpr[:, None]}
        for constraint, rates in expected.items():
            found = soft_rates(constraint, labels, one_hot, groups, num_groups)
            torch.testing.assert_close(found, rates.float(), equal_nan=True, rtol=1e-6, atol=1e-6, msg=repr(constraint))


@pytest.mark.parametrize("constraint", [make() for make in CONSTRAINTS.values()], ids=repr)
def test_each_label_of_a_multi_label_target_is_an_event_set_of_its_own(constraint):
    labels, probabilities = torch.randint(0, 2, (9, 3)), torch.rand(9, 3, 2)
    weights, rates = constraint(labels, probabilities)
    parts = [constraint(labels[:, number], probabilities[:, number]) for number in range(3)]
    assert torch.equal(weights, torch.cat([part[0] for part in parts], dim=1))
    assert torch.equal(rates, torch.cat([part[1] for part in parts], dim=1))
