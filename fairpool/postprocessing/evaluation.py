"""What thresholds by site change: errors and gaps of the test cases before, expected, and as drawn."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fairpool.data.vocabulary import UNKNOWN_NAME
from fairpool.errors import DataError
from fairpool.metrics.confusion import confusion_by_group
from fairpool.metrics.report import GroupReport, group_report
from fairpool.postprocessing.fitting import check_cells, fit_thresholds
from fairpool.postprocessing.thresholds import SiteThresholds, check_constraint
from fairpool.rates import cell_sums

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ExpectedReport", "Postprocessing", "expected_report", "postprocess_predictions"]


@dataclass(frozen=True)
class ExpectedReport:
    """Expectations, over the draw, of the rates by group; NaN where there is nothing to estimate from.

    The names are those of `fairpool.metrics.GroupReport`. A gap is the largest difference of the expected rates; single
    draws show larger ones on average.

    Attributes:
        error, fnr, fpr, selection_rate: by group, float64, (K,).
        overall_error: over all cases.
        deo, fpr_gap, selection_gap: largest difference between groups in ``fnr``, ``fpr`` and ``selection_rate``.
    """

    error: Tensor
    fnr: Tensor
    fpr: Tensor
    selection_rate: Tensor
    overall_error: float
    deo: float
    fpr_gap: float
    selection_gap: float


@dataclass(frozen=True)
class Postprocessing:
    """Thresholds fitted on the validation predictions of a run, and what they do to its test predictions.

    Attributes:
        rules: the thresholds.
        sites: test sites in the order of the reports' groups.
        validation: (negative, positive) validation cases behind the thresholds, by site of ``rules``.
        before: the network's own decisions, positive above 0.5.
        expected: exact expectations over the draw.
        drawn: the decisions of one draw.
        decisions: those decisions, int64, one for each test row.
        decided_differently: test cases, on average, that two draws decide differently.
        seed: of the draw.
    """

    rules: SiteThresholds
    sites: tuple[str, ...]
    validation: dict[str, tuple[int, int]]
    before: GroupReport
    expected: ExpectedReport
    drawn: GroupReport
    decisions: Tensor
    decided_differently: float
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what `SiteThresholds.from_json` reads, and the figures; no estimate is None."""
        reports: dict[str, GroupReport | ExpectedReport] = {"before": self.before}
        reports |= {"expected": self.expected, "drawn": self.drawn}
        return {
            "constraint": self.rules.constraint,
            "thresholds": self.rules.to_rows(),
            "validation": {
                site: {"negative": negative, "positive": positive}
                for site, (negative, positive) in self.validation.items()
            },
            "seed": self.seed,
            "test_cases": len(self.decisions),
            "test_cases_that_two_draws_decide_differently": self.decided_differently,
            "test": {name: _figures(report, self.sites) for name, report in reports.items()},
        }


def expected_report(labels: Tensor, chances: Tensor, groups: Tensor, num_groups: int) -> ExpectedReport:
    """Exact expected rates of randomised decisions.

    Args:
        labels: 0 or 1, shape (B,).
        chances: probability that the case is called positive, shape (B,).
        groups: int64, shape (B,); -1 means "unknown", which enters no rate.
        num_groups: K.
    Raises:
        ValueError: the shapes differ.

    >>> labels, groups = torch.tensor([1, 1, 0, 1]), torch.tensor([0, 0, 0, 1])
    >>> report = expected_report(labels, torch.tensor([1.0, 0.5, 0.25, 1.0]), groups, 2)
    >>> report.fnr.tolist(), report.deo, report.overall_error
    ([0.25, 0.0], 0.25, 0.1875)
    """
    if not labels.shape == chances.shape == groups.shape or labels.ndim != 1:
        raise ValueError(
            "labels, chances and groups must be one-dimensional and of one length; got "
            f"{tuple(labels.shape)}, {tuple(chances.shape)}, {tuple(groups.shape)}."
        )
    positive, chance = labels.double(), chances.double()
    misses, alarms = positive * (1 - chance), (1 - positive) * chance
    quantities = torch.stack([torch.ones_like(chance), positive, chance, misses, alarms], dim=1)
    cases, positives, selected, missed, alarmed = cell_sums(quantities, groups, num_groups)
    fnr, fpr = missed / positives, alarmed / (cases - positives)  # 0 / 0 is NaN: no estimate
    selection_rate = selected / cases
    return ExpectedReport(
        error=(missed + alarmed) / cases,
        fnr=fnr,
        fpr=fpr,
        selection_rate=selection_rate,
        overall_error=float((missed + alarmed).sum() / cases.sum()),
        deo=_largest_gap(fnr),
        fpr_gap=_largest_gap(fpr),
        selection_gap=_largest_gap(selection_rate),
    )


def postprocess_predictions(
    predictions: "pd.DataFrame", constraint: str = "equal_opportunity", *, seed: int = 0
) -> Postprocessing:
    """Fit thresholds by site on the validation predictions of a run and apply them to its test predictions.

    What such thresholds cannot do is listed at `fit_thresholds`.

    Args:
        predictions: columns ``site``, ``split``, ``label`` and ``probability``, as
            `fairpool.stored_predictions.read_predictions` gives them. The split "validation" fits, "test" is evaluated;
            others, and the site "unknown", are left out.
        constraint: a key of `POSTPROCESSING_CONSTRAINTS`.
        seed: of the draw.
    Raises:
        DataError: a split is empty, fewer than two sites, or a site without validation cases of both labels; all such
            sites are named at once.
        ValueError: no such constraint.
    """
    check_constraint(constraint)
    predictions = predictions[predictions["site"] != UNKNOWN_NAME]
    validation, test = (predictions[predictions["split"] == split] for split in ("validation", "test"))
    for split, rows in (("validation", validation), ("test", test)):
        if rows.empty:
            found = ", ".join(sorted(map(str, predictions["split"].unique()))) or "none"
            raise DataError(f'the predictions have no row of the split "{split}"; splits found: {found}.')
    fitted_sites, sites = sorted(set(validation["site"])), tuple(sorted(set(test["site"])))
    cells = Counter(zip(validation["site"], validation["label"].astype(int), strict=True))
    check_cells(cells, fitted_sites, needed=sites)
    rules = fit_thresholds(
        validation["site"].tolist(), validation["label"].tolist(), validation["probability"].tolist(), constraint
    )
    names, scores = test["site"].tolist(), torch.tensor(test["probability"].tolist(), dtype=torch.float64)
    labels = torch.tensor(test["label"].tolist(), dtype=torch.int64)
    numbers = {site: number for number, site in enumerate(sites)}
    groups = torch.tensor([numbers[name] for name in names])
    chances, decisions = rules.probability_of_positive(names, scores), rules.decide(names, scores, seed=seed)
    return Postprocessing(
        rules=rules,
        sites=sites,
        validation={site: (cells[site, 0], cells[site, 1]) for site in fitted_sites},
        before=group_report(confusion_by_group(labels, (scores > 0.5).long(), groups, len(sites))),
        expected=expected_report(labels, chances, groups, len(sites)),
        drawn=group_report(confusion_by_group(labels, decisions, groups, len(sites))),
        decisions=decisions,
        decided_differently=float((2 * chances * (1 - chances)).sum()),
        seed=seed,
    )


def _largest_gap(rates: Tensor) -> float:
    rates = rates[~rates.isnan()]
    return float(rates.max() - rates.min()) if len(rates) > 1 else float("nan")


def _figures(report: GroupReport | ExpectedReport, sites: Sequence[str]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        name: _or_none(getattr(report, figure))
        for name, figure in {
            "error": "overall_error",
            "deo": "deo",
            "fpr_gap": "fpr_gap",
            "selection_gap": "selection_gap",
        }.items()
    }
    figures["by_site"] = {
        site: {
            rate: _or_none(float(getattr(report, rate)[number])) for rate in ("error", "fnr", "fpr", "selection_rate")
        }
        for number, site in enumerate(sites)
    }
    return figures


def _or_none(value: float) -> float | None:
    return None if value != value else value
