"""Reports before and after: expectations against enumeration of every draw, drawn figures against scikit-learn."""

import json
import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from fairlearn.metrics import MetricFrame, false_negative_rate, false_positive_rate, selection_rate
from sklearn.metrics import zero_one_loss

from fairpool.errors import DataError
from fairpool.postprocessing import SiteThresholds, expected_report, fit_thresholds, postprocess_predictions


def draw_predictions(validation=60, test=200, sites=("Genève", "bern", "zug"), seed=0):
    """Stored predictions of sites whose scores are shifted against each other and whose prevalence differs."""
    rng = np.random.default_rng(seed)
    parts = []
    for split, size in (("validation", validation), ("test", test)):
        for number, site in enumerate(sites):
            prevalence = 0.5 if split == "test" else 0.2 + 0.6 * number / (len(sites) - 1)
            labels = np.concatenate([[0, 1], rng.random(size - 2) < prevalence]).astype(int)
            scores = 1 / (1 + np.exp(-(2 * labels - 1 + 1.5 * (number - 1) + rng.normal(0, 1, size))))
            parts.append(pd.DataFrame({"site": site, "split": split, "label": labels, "probability": scores}))
    return pd.concat(parts, ignore_index=True)


def test_expectations_are_those_over_every_outcome_of_the_draws():
    labels, groups = [1, 1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 1, 1, -1]
    chances = [0.25, 1.0, 0.5, 0.0, 0.75, 0.1, 0.5]
    expected = {name: np.zeros(2) for name in ("error", "fnr", "fpr", "selection_rate")}
    overall = 0.0
    for outcome in product((0, 1), repeat=len(labels)):
        weight = math.prod(c if called else 1 - c for c, called in zip(chances, outcome, strict=True))
        wrong = [called != y for called, y in zip(outcome, labels, strict=True)]
        overall += weight * np.mean([w for w, k in zip(wrong, groups, strict=True) if k >= 0])
        for k in (0, 1):
            rows = [row for row, group in enumerate(groups) if group == k]
            expected["error"][k] += weight * np.mean([wrong[row] for row in rows])
            expected["selection_rate"][k] += weight * np.mean([outcome[row] for row in rows])
            expected["fnr"][k] += weight * np.mean([1 - outcome[row] for row in rows if labels[row] == 1])
            expected["fpr"][k] += weight * np.mean([outcome[row] for row in rows if labels[row] == 0])
    report = expected_report(torch.tensor(labels), torch.tensor(chances), torch.tensor(groups), 2)
    for name, rates in expected.items():
        np.testing.assert_allclose(getattr(report, name), rates, rtol=1e-6)
    assert report.overall_error == pytest.approx(overall, rel=1e-6)
    assert report.deo == pytest.approx(abs(expected["fnr"][0] - expected["fnr"][1]), rel=1e-6)
    assert report.fpr_gap == pytest.approx(abs(expected["fpr"][0] - expected["fpr"][1]), rel=1e-6)
    assert report.selection_gap == pytest.approx(abs(np.subtract(*expected["selection_rate"])), rel=1e-6)


def test_a_group_without_a_case_has_no_expectation_and_enters_no_gap():
    report = expected_report(torch.tensor([1, 0, 1]), torch.tensor([0.5, 0.5, 0.2]), torch.tensor([0, 0, 1]), 3)
    assert math.isnan(report.fpr[1])
    assert math.isnan(report.error[2])
    assert report.deo == pytest.approx(0.3)
    assert math.isnan(report.fpr_gap)


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"of one length; got \(2,\), \(1,\), \(2,\)"):
        expected_report(torch.tensor([1, 0]), torch.tensor([0.5]), torch.tensor([0, 1]), 2)


@pytest.mark.parametrize(
    "constraint", ["equal_opportunity", "predictive_equality", "equalized_odds", "demographic_parity"]
)
def test_before_and_drawn_figures_are_fairlearns(constraint):
    predictions = draw_predictions()
    result = postprocess_predictions(predictions, constraint, seed=4)
    test = predictions[predictions["split"] == "test"]
    decisions = {"before": (test["probability"] > 0.5).astype(int), "drawn": result.decisions.numpy()}
    for name, decided in decisions.items():
        frame = MetricFrame(
            metrics={
                "error": zero_one_loss,
                "fnr": false_negative_rate,
                "fpr": false_positive_rate,
                "selection_rate": selection_rate,
            },
            y_true=test["label"],
            y_pred=decided,
            sensitive_features=test["site"],
        )
        report = getattr(result, name)
        assert result.sites == tuple(frame.by_group.index)
        for rate in frame.by_group:
            np.testing.assert_allclose(getattr(report, rate), frame.by_group[rate], rtol=1e-12)
        assert report.deo == pytest.approx(frame.difference()["fnr"])


def test_the_drawn_figures_average_to_the_expected_ones():
    predictions = draw_predictions()
    results = [postprocess_predictions(predictions, "equalized_odds", seed=seed) for seed in range(30)]
    drawn = torch.stack([result.drawn.fnr for result in results]).mean(dim=0)
    # Some 100 positives a site and 30 draws: the mean's standard deviation is below 0.01.
    torch.testing.assert_close(drawn, results[0].expected.fnr, atol=0.03, rtol=0)
    assert len({tuple(result.decisions.tolist()) for result in results}) == 30
    assert len({result.expected.deo for result in results}) == 1


def test_the_thresholds_are_fitted_to_the_validation_cases_alone():
    predictions = draw_predictions()
    is_test = predictions["split"] == "test"
    changed = predictions.assign(label=predictions["label"].where(~is_test, 1 - predictions["label"]))
    changed = pd.concat([changed, changed[is_test].assign(split="training")])
    result, other = (postprocess_predictions(table, "equalized_odds") for table in (predictions, changed))
    assert result.rules == other.rules
    assert torch.equal(result.decisions, other.decisions)
    validation = predictions[~is_test]
    assert result.rules == fit_thresholds(
        validation["site"].tolist(), validation["label"].tolist(), validation["probability"].tolist(), "equalized_odds"
    )
    assert result.validation == {
        site: (int((rows["label"] == 0).sum()), int((rows["label"] == 1).sum()))
        for site, rows in validation.groupby("site")
    }


@pytest.mark.parametrize(
    ("constraint", "gaps"),
    [
        ("equal_opportunity", ["deo"]),
        ("predictive_equality", ["fpr_gap"]),
        ("equalized_odds", ["deo", "fpr_gap"]),
        ("demographic_parity", ["selection_gap"]),
    ],
)
def test_with_many_validation_cases_the_constrained_gap_closes_on_other_patients(constraint, gaps):
    predictions = draw_predictions(validation=4000, test=4000)
    if constraint == "demographic_parity":  # the same mixture of patients in both
        predictions = predictions[predictions["split"] == "validation"]
        predictions = pd.concat([predictions, predictions.assign(split="test")])
    result = postprocess_predictions(predictions, constraint)
    for gap in gaps:
        assert getattr(result.before, gap) > 0.3
        assert getattr(result.expected, gap) < 0.05
        assert getattr(result.drawn, gap) < 0.06


def test_few_validation_cases_leave_a_gap_on_other_patients():
    gaps = {}
    for size in (20, 2000):
        results = [postprocess_predictions(draw_predictions(size, 2000, seed=seed)) for seed in range(5)]
        gaps[size] = np.mean([result.expected.deo for result in results])
    assert gaps[20] > 2 * gaps[2000]


def test_draws_differ_in_as_many_decisions_as_is_said():
    predictions = draw_predictions()
    result = postprocess_predictions(predictions, "equalized_odds")
    test = predictions[predictions["split"] == "test"]
    names, scores = test["site"].tolist(), test["probability"].tolist()
    decided = torch.stack([result.rules.decide(names, scores, seed=seed) for seed in range(300)])
    assert torch.equal(decided[0], result.decisions)
    differing = float((decided[1:] != decided[:-1]).double().sum(dim=1).mean())
    # 299 pairs, each with a standard deviation of about the square root of 60.
    assert result.decided_differently == pytest.approx(differing, abs=2)
    assert result.decided_differently > 10
    fixed = postprocess_predictions(
        draw_predictions(sites=("a", "b")).assign(probability=lambda t: 0.2 + 0.6 * t["label"])
    )
    assert fixed.decided_differently == 0
    assert fixed.drawn.overall_error == fixed.expected.overall_error == 0


def test_the_dictionary_is_json_that_gives_the_thresholds_back():
    predictions = draw_predictions(sites=("Genève", "bern"))
    predictions = predictions[
        ~((predictions["split"] == "test") & (predictions["site"] == "bern") & predictions["label"])
    ]
    result = postprocess_predictions(predictions, "equalized_odds", seed=2)
    text = json.dumps(result.to_dict(), allow_nan=False)
    assert SiteThresholds.from_json(text) == result.rules
    content = json.loads(text)
    assert content["test"]["drawn"]["by_site"]["bern"]["fnr"] is None  # no positive case is left there
    assert content["test"]["drawn"]["deo"] is None
    assert content["test"]["expected"]["error"] == pytest.approx(result.expected.overall_error)
    assert content["test"]["before"]["by_site"]["Genève"]["fpr"] == float(result.before.fpr[0])
    assert content["seed"] == 2
    assert content["test_cases"] == len(result.decisions)
    assert content["validation"]["bern"] == dict(zip(("negative", "positive"), result.validation["bern"], strict=True))


def without(predictions, **values):
    """The predictions without the rows that hold these values."""
    is_out = np.logical_and.reduce([predictions[column] == value for column, value in values.items()])
    return predictions[~is_out]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: without(p, split="validation", site="zug"), r'labels: "zug" \(0 negative, 0 positive\)\. Give the'),
        (
            lambda p: without(p, split="validation", site="bern", label=1),
            r'labels: "bern" \(\d+ negative, 0 positive\)',
        ),
        (
            lambda p: without(without(p, split="validation", site="zug"), split="validation", site="bern", label=0),
            r'labels: "bern" \(0 negative, \d+ positive\), "zug" \(0 negative, 0 positive\)',
        ),
        (lambda p: without(without(p, site="zug"), site="bern"), 'at least 2 sites; validation has only "Genève"'),
        (lambda p: without(p, split="validation"), 'no row of the split "validation"; splits found: test'),
        (lambda p: without(p, split="test"), 'no row of the split "test"; splits found: validation'),
        (lambda p: p[:0], 'no row of the split "validation"; splits found: none'),
    ],
)
def test_predictions_that_support_no_thresholds_are_refused(change, message):
    with pytest.raises(DataError, match=message) as caught:
        postprocess_predictions(change(draw_predictions()))
    assert "\n" not in str(caught.value)


def test_a_constraint_without_thresholds_is_refused():
    with pytest.raises(
        ValueError, match='no thresholds by site for the constraint "predictive_parity"; there are for equal'
    ):
        postprocess_predictions(draw_predictions(), "predictive_parity")


def test_cases_of_unknown_site_are_in_no_threshold_and_no_rate():
    predictions = draw_predictions()
    more = draw_predictions(sites=("unknown", "x"), seed=1)
    both = pd.concat([predictions, more[more["site"] == "unknown"]], ignore_index=True)
    assert postprocess_predictions(both).to_dict() == postprocess_predictions(predictions).to_dict()
