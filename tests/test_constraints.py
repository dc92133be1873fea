"""Which samples a constraint takes and which rate it averages; the table of the design page, row by row."""

import pytest
import torch

from fairpool.constraints import (
    CONSTRAINTS,
    EqualizedOdds,
    EqualOpportunity,
    ErrorRateParity,
    PredictiveEquality,
)

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
    assert {"equal_opportunity", "predictive_equality", "equalized_odds", "error_rate_parity"} <= set(CONSTRAINTS)


def test_repr_names_the_events():
    assert repr(EqualizedOdds()) == "EqualizedOdds(events=['y0', 'y1'])"
