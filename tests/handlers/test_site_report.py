"""SiteReport in real MONAI evaluators, against a slow loop over the same samples."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.engines import SupervisedEvaluator
from torch import nn
from torch.utils.data import DataLoader, default_collate

from fairpool.data.vocabulary import SiteVocabulary
from fairpool.handlers import SiteReport
from fairpool.handlers.site_report import report_metrics
from fairpool.metrics import group_report

SITES = ("a", "b", "c")


@pytest.fixture
def cases():
    """Ready-made logits as images, with some samples of unknown site."""
    logits, labels, sites = (
        torch.randn(50, 2),
        torch.randint(0, 2, (50,)).tolist(),
        torch.randint(-1, 3, (50,)).tolist(),
    )
    return [
        {"image": image, "label": label, "site": site, "patient": number, "row": number + 2}
        for number, (image, label, site) in enumerate(zip(logits, labels, sites, strict=True))
    ]


def evaluate(cases, report, key="error", decollate=True, network=None, **options):
    data = cases if isinstance(cases, DataLoader) else DataLoader(cases, batch_size=8)
    metrics = {"key_val_metric": {key: report}} if key else {"val_handlers": [report]}
    evaluator = SupervisedEvaluator(
        device="cpu", val_data_loader=data, network=network or nn.Identity(), decollate=decollate, **metrics, **options
    )
    evaluator.run()
    return evaluator


def slow_metrics(cases, is_positive=lambda image: image[1] > image[0]):
    """Every figure by counting in plain Python."""
    rates = {}
    rows = [
        (case["site"], case["label"], int(is_positive(case["image"].tolist()))) for case in cases if case["site"] >= 0
    ]

    def rate(name, missed, of):
        if of:
            rates[name] = missed / of

    for site, slug in enumerate(SITES):
        own = [(y, p) for s, y, p in rows if s == site]
        rate(f"error/{slug}", sum(y != p for y, p in own), len(own))
        rate(f"fnr/{slug}", sum(p == 0 for y, p in own if y == 1), sum(y == 1 for y, _ in own))
        rate(f"fpr/{slug}", sum(p == 1 for y, p in own if y == 0), sum(y == 0 for y, _ in own))
        rate(f"fdr/{slug}", sum(y == 0 for y, p in own if p == 1), sum(p == 1 for _, p in own))
        rate(f"selection_rate/{slug}", sum(p == 1 for _, p in own), len(own))
    rate("error", sum(y != p for _, y, p in rows), len(rows))
    kinds = {"deo": "fnr", "fpr_gap": "fpr", "ddp": "error", "selection_gap": "selection_rate", "fdr_gap": "fdr"}
    for gap, kind in kinds.items():
        values = [rates[f"{kind}/{slug}"] for slug in SITES if f"{kind}/{slug}" in rates]
        if len(values) > 1:
            rates[gap] = max(values) - min(values)
    if "deo" in rates or "fpr_gap" in rates:
        rates["eodds_gap"] = max(rates.get("deo", 0.0), rates.get("fpr_gap", 0.0))
    errors = [rates[f"error/{slug}"] for slug in SITES if f"error/{slug}" in rates]
    if errors:
        rates["worst_group_error"] = max(errors)
    cells = [rates[f"{kind}/{slug}"] for kind in ("fnr", "fpr") for slug in SITES if f"{kind}/{slug}" in rates]
    if cells:
        rates["balanced_error"] = sum(cells) / len(cells)
    return rates


@pytest.mark.parametrize("decollate", [True, False])
@pytest.mark.parametrize("key", ["error", "deo", "balanced_error", "worst_group_error", None])
def test_metrics_are_those_of_a_slow_loop_and_python_floats(cases, decollate, key):
    report = SiteReport(SITES)
    evaluator = evaluate(cases, report, key, decollate, metric_cmp_fn=lambda current, best: current < best)
    assert all(type(value) is float for value in evaluator.state.metrics.values())
    assert evaluator.state.metrics == pytest.approx(slow_metrics(cases))
    assert report.num_unknown == sum(case["site"] == -1 for case in cases)
    assert report.report.samples.tolist() == [sum(case["site"] == site for case in cases) for site in range(3)]
    if key:
        assert evaluator.state.best_metric == evaluator.state.metrics[key]


@pytest.mark.parametrize("decollate", [True, False])
@pytest.mark.parametrize(
    "column",
    [
        lambda site: torch.tensor(site, dtype=torch.int32),
        lambda site: torch.tensor([site]),
        lambda site: np.int64(site),
        lambda site: np.array(site, dtype=np.int8),
        lambda site: MetaTensor(torch.tensor(site)),
    ],
    ids=["int32", "[B, 1]", "np.int64", "0-d array", "MetaTensor"],
)
def test_site_ids_of_any_integer_kind_work(cases, column, decollate):
    data = [case | {"site": column(case["site"]), "label": column(case["label"])} for case in cases]
    evaluator = evaluate(data, SiteReport(SITES), decollate=decollate)
    assert evaluator.state.metrics == pytest.approx(slow_metrics(cases))


@pytest.mark.parametrize("decollate", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_site_ids_collated_by_numpy_work(cases, decollate, dtype):
    known = [case | {"site": max(case["site"], 0)} for case in cases]

    def collate(batch):
        return default_collate(batch) | {"site": np.array([case["site"] for case in batch], dtype=dtype)}

    evaluator = evaluate(DataLoader(known, batch_size=8, collate_fn=collate), SiteReport(SITES), decollate=decollate)
    assert evaluator.state.metrics == pytest.approx(slow_metrics(known))


class FirstLogit(nn.Module):
    def __init__(self, layout):
        super().__init__()
        self.layout = layout

    def forward(self, images):
        return images[:, 0].reshape(-1, *self.layout)


@pytest.mark.parametrize("decollate", [True, False])
@pytest.mark.parametrize("layout", [(), (1,)], ids=["[B]", "[B, 1]"])
@pytest.mark.parametrize("threshold", [0.5, 0.25, 0.9])
def test_a_sigmoid_is_positive_from_the_threshold_on(cases, layout, decollate, threshold):
    report = SiteReport(SITES, threshold=threshold)
    evaluator = evaluate(cases, report, decollate=decollate, network=FirstLogit(layout))
    expected = slow_metrics(cases, lambda image: 1 / (1 + math.exp(-image[0])) >= threshold)
    assert evaluator.state.metrics == pytest.approx(expected)


def test_a_second_run_counts_afresh(cases):
    report = SiteReport(SITES, keep_predictions=True)
    evaluator = evaluate(cases, report)
    evaluator.run()
    assert int(report.report.samples.sum()) + report.num_unknown == len(cases)
    assert len(report.predictions()) == len(cases)


def test_a_figure_without_estimate_is_left_out(cases):
    """Site b has no positive case, site c none at all."""
    some = [case for case in cases if case["site"] == 0 or (case["site"] == 1 and case["label"] == 0)]
    evaluator = evaluate(some, SiteReport(SITES))
    metrics = evaluator.state.metrics
    assert metrics == pytest.approx(slow_metrics(some))
    assert "deo" not in metrics
    assert not any(name.endswith("/c") for name in metrics)
    assert "fnr/b" not in metrics
    assert "fpr/b" in metrics


def test_a_figure_without_estimate_does_not_keep_that_of_the_validation_before(cases):
    """A network that predicts no positive any more has no false discovery rate."""
    network = nn.Identity()
    evaluator = evaluate(cases, SiteReport(SITES), network=network)
    assert "fdr_gap" in evaluator.state.metrics
    evaluator.state.metrics["of others"] = 1.0
    network.register_forward_hook(lambda *_: torch.tensor([[1.0, 0.0]]).expand(len(_[2]), 2))
    evaluator.run()
    none_positive = slow_metrics(cases, lambda _: False)
    assert evaluator.state.metrics == pytest.approx(none_positive | {"of others": 1.0})
    assert "fdr_gap" not in evaluator.state.metrics


def test_a_key_metric_without_estimate_is_the_worst_there_is(cases):
    some = [case for case in cases if case["site"] == 0]
    evaluator = evaluate(some, SiteReport(SITES), "deo", metric_cmp_fn=lambda current, best: current < best)
    assert evaluator.state.metrics["deo"] == math.inf
    assert not any(math.isnan(value) for value in evaluator.state.metrics.values())


@pytest.mark.parametrize("name", ["fnr", "accuracy", "error/a"])
def test_an_unknown_key_metric_is_refused_with_the_known_ones(cases, name):
    with pytest.raises(ValueError, match=f"must be one of error, balanced_error, deo.*; got '{name}'"):
        evaluate(cases, SiteReport(SITES), name)


def test_site_names_become_slugs(cases):
    report = SiteReport(SiteVocabulary(("Hôpital A (2)", "../..", "b")))
    assert "error/hopital-a-2" in evaluate(cases, report).state.metrics


@pytest.mark.parametrize("decollate", [True, False])
def test_predictions_are_kept_on_demand(cases, decollate):
    report = SiteReport(SITES, keep_predictions=True)
    evaluate(cases, report, decollate=decollate)
    table = report.predictions()
    probabilities = [torch.softmax(case["image"], 0)[1].item() for case in cases]
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-6)
    for column in ("site", "label", "patient", "row"):
        assert table[column].tolist() == [case[column] for case in cases]


# Bug found here: a list of None, of decollated items without the key, was turned into a tensor.
@pytest.mark.parametrize("decollate", [True, False])
def test_predictions_of_a_sigmoid_without_patients_are_kept(cases, decollate):
    data = [{key: case[key] for key in ("image", "label", "site")} for case in cases]
    report = SiteReport(SITES, keep_predictions=True)
    evaluate(data, report, decollate=decollate, network=FirstLogit((1,)))
    table = report.predictions()
    assert sorted(table.columns) == ["label", "probability", "site"]
    probabilities = [torch.sigmoid(case["image"][0]).item() for case in cases]
    assert table["probability"].tolist() == pytest.approx(probabilities, rel=1e-6)


@pytest.mark.parametrize("decollate", [True, False])
def test_predictions_of_unlabelled_data_are_kept_and_no_error_is_given(cases, decollate):
    data = [{key: case[key] for key in ("image", "site", "patient")} for case in cases]
    report = SiteReport(SITES, keep_predictions=True)
    evaluator = evaluate(data, report, key=None, decollate=decollate)
    assert sorted(report.predictions().columns) == ["patient", "probability", "site"]
    assert len(report.predictions()) == len(cases)
    assert evaluator.state.metrics == {}


def test_predictions_are_empty_unless_kept(cases):
    report = SiteReport(SITES)
    evaluate(cases, report)
    assert report.predictions().empty


@pytest.mark.parametrize("decollate", [True, False])
def test_a_missing_site_key_is_a_key_error(cases, decollate):
    data = [{key: case[key] for key in ("image", "label")} for case in cases]
    with pytest.raises(KeyError, match="is not a batch key"):
        evaluate(data, SiteReport(SITES), decollate=decollate)


@pytest.mark.parametrize("decollate", [True, False])
@pytest.mark.parametrize(
    ("column", "kind", "message"),
    [
        (lambda site: 7, ValueError, "group ids must lie in 0..2.*found 7"),
        (lambda site: float(site), TypeError, "integer tensor, got float"),
        (lambda site: torch.tensor(site > 0), TypeError, "integer tensor, got bool"),
        (lambda site: "bern", TypeError, "holds text such as 'bern'"),
    ],
)
def test_bad_site_ids_are_refused(cases, column, kind, message, decollate):
    data = [case | {"site": column(case["site"])} for case in cases]
    with pytest.raises(kind, match=message):
        evaluate(data, SiteReport(SITES), decollate=decollate)


@pytest.mark.parametrize("decollate", [True, False])
def test_predictions_that_are_not_finite_are_refused_with_their_number(cases, decollate):
    cases[2]["image"] = torch.tensor([torch.nan, 0.0])
    cases[5]["image"] = torch.tensor([torch.inf, 0.0])
    with pytest.raises(ValueError, match="2 of 8 predictions are NaN or infinite"):
        evaluate(cases, SiteReport(SITES), decollate=decollate)


def test_metrics_of_a_report_bear_the_slugs():
    counts = torch.tensor([[[8, 2], [1, 9]], [[6, 4], [0, 0]]])
    metrics = report_metrics(group_report(counts), ["x", "y"])
    assert metrics["fnr/x"] == pytest.approx(0.1)
    assert metrics["fpr/y"] == pytest.approx(0.4)
    assert metrics["fpr_gap"] == metrics["eodds_gap"] == pytest.approx(0.2)
    assert "fnr/y" not in metrics
    assert "deo" not in metrics


@pytest.mark.parametrize("decollate", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.3])
def test_a_network_that_ends_in_a_softmax_reports_as_its_logits_once_that_is_said(cases, decollate, threshold):
    options = {"threshold": threshold, "keep_predictions": True}
    logits, shares = SiteReport(SITES, **options), SiteReport(SITES, from_logits=False, **options)
    expected = evaluate(cases, logits, decollate=decollate).state.metrics
    assert evaluate(cases, shares, decollate=decollate, network=nn.Softmax(dim=1)).state.metrics == expected
    kept, reference = shares.predictions(), logits.predictions()
    np.testing.assert_allclose(kept["probability"], reference["probability"], atol=1e-6)


@pytest.mark.parametrize("decollate", [False, True])
def test_a_softmax_in_place_of_logits_is_refused_and_the_reverse_too(cases, decollate):
    with pytest.raises(ValueError, match="sum to 1, so they are no logits"):
        evaluate(cases, SiteReport(SITES), decollate=decollate, network=nn.Softmax(dim=1))
    with pytest.raises(ValueError, match="so they are no probabilities"):
        evaluate(cases, SiteReport(SITES, from_logits=False), decollate=decollate)
