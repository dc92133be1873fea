"""Thresholds by site, chosen after training on stored validation predictions: Hardt, Price and Srebro 2016."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import lcm
from typing import Any

import torch
from torch import Tensor

from fairpool.errors import DataError
from fairpool.postprocessing.thresholds import (
    ALWAYS,
    NEVER,
    POSTPROCESSING_CONSTRAINTS,
    SiteThresholds,
    Threshold,
    check_constraint,
    quoted,
)

__all__ = ["check_cells", "fit_thresholds"]

_SMALLEST_GRID, _LARGEST_GRID = 10_000, 100_000
_NEGLIGIBLE = 1e-9  # shares below are rounding of fairlearn's grid


def fit_thresholds(
    sites: Sequence[str],
    labels: Sequence[int] | Tensor,
    probabilities: Sequence[float] | Tensor,
    constraint: str = "equal_opportunity",
) -> SiteThresholds:
    """Thresholds by site with the fewest errors among those that meet the constraint exactly on these cases.

    Between two thresholds of a site the rates are met by mixing them at random, and for equalized odds also by a coin
    that ignores the case. The search is fairlearn's `ThresholdOptimizer`. It tries rates on a grid, which is laid so
    that it holds every rate a single threshold can give, 10,000 to 100,000 steps; for equalized odds the best point may
    lie between two of them.

    Where it fails:

    - It needs the site of a patient when it decides, and has no answer for a site it never saw.
    - It is as good as the few validation cases of the smallest site: the rates are equal on these, and on other
      patients they differ by what 10 or 20 cases can miss.
    - Two equal patients, or one patient asked twice, can get different decisions, because some of them are drawn.
      Equalized odds draws most: it makes every site as bad as the worst one.
    - The network itself stays as it is: what it learned of the site is still there.

    Args:
        sites: site of each validation case, length N.
        labels: 0 or 1, length N.
        probabilities: of label 1, length N.
        constraint: ``equal_opportunity`` (equal false negative rates), ``predictive_equality`` (equal false positive
            rates), ``equalized_odds`` (both) or ``demographic_parity`` (equal shares called positive).
    Raises:
        DataError: fewer than two sites, or a site without cases of both labels.
        ValueError: no such constraint, lengths differ, a label is not 0 or 1, or a probability is not in [0, 1].
    Source: Hardt, Price and Srebro, Equality of Opportunity in Supervised Learning, NeurIPS 2016, arXiv:1610.02413,
        section 3.2.

    >>> rules = fit_thresholds(["a", "a", "a", "b", "b", "b"], [0, 1, 1, 0, 0, 1], [0.1, 0.4, 0.8, 0.2, 0.5, 0.9])
    >>> [(row["site"], round(row["threshold"], 3), row["share"]) for row in rules.to_rows()]
    [('a', 0.25, 1.0), ('b', 0.7, 1.0)]
    """
    check_constraint(constraint)
    truth = torch.as_tensor(labels)
    scores = torch.as_tensor(probabilities, dtype=torch.float64)
    if not truth.shape == scores.shape == (len(sites),):
        raise ValueError(
            "sites, labels and probabilities must be one-dimensional and of one length; got "
            f"({len(sites)},), {tuple(truth.shape)}, {tuple(scores.shape)}."
        )
    if not bool(((truth == 0) | (truth == 1)).all()):
        raise ValueError("labels must be 0 or 1; thresholds by site are for two classes.")
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise ValueError("probabilities must lie in 0..1, none NaN: give probabilities of label 1, not logits.")
    cells = Counter(zip(sites, truth.long().tolist(), strict=True))
    check_cells(cells, sorted(set(sites)))
    return SiteThresholds(constraint, _search(list(sites), truth.long(), scores, constraint, cells))


def check_cells(cells: Mapping[tuple[str, int], int], sites: Sequence[str], needed: Iterable[str] = ()) -> None:
    """Refuse validation cases from which a site's thresholds cannot be fitted.

    Args:
        cells: validation cases by (site, label).
        sites: the sites of the validation cases.
        needed: sites whose cases are to be decided.
    Raises:
        DataError: fewer than two sites, or sites without cases of both labels, all at once.
    """
    if len(sites) < 2:
        found = f"only {quoted(sites)}" if sites else "none"
        raise DataError(f"thresholds by site make rates equal between at least 2 sites; validation has {found}.")
    counts = {site: (cells.get((site, 0), 0), cells.get((site, 1), 0)) for site in sorted({*sites, *needed})}
    lacking = [
        f'"{site}" ({negative} negative, {positive} positive)'
        for site, (negative, positive) in counts.items()
        if not (negative and positive)
    ]
    if lacking:
        raise DataError(
            f"no threshold can be fitted without validation cases of both labels: {', '.join(lacking)}. Give the "
            "validation section more cases (val_frac), or leave these sites out."
        )


def _search(
    sites: list[str], labels: Tensor, scores: Tensor, constraint: str, cells: Mapping[tuple[str, int], int]
) -> dict[str, tuple[Threshold, ...]]:
    from fairlearn.postprocessing import ThresholdOptimizer
    from sklearn.base import BaseEstimator

    class StoredProbability(BaseEstimator):  # type: ignore[misc]
        """What fairlearn takes for the network: the column that it is given."""

        def fit(self, features: Any, labels: Any = None) -> "StoredProbability":
            return self

        def predict(self, features: Any) -> Any:
            return features[:, 0]

        def __sklearn_is_fitted__(self) -> bool:
            return True

    names = sorted(set(sites))
    ids = {site: number for number, site in enumerate(names)}
    optimizer = ThresholdOptimizer(
        estimator=StoredProbability(),
        constraints=POSTPROCESSING_CONSTRAINTS[constraint],
        objective="accuracy_score",
        grid_size=_grid_size(constraint, [(cells[site, 0], cells[site, 1]) for site in names]),
        prefit=True,
        predict_method="predict",
    )
    optimizer.fit(scores[:, None].numpy(), labels.numpy(), sensitive_features=[ids[site] for site in sites])
    found = optimizer.interpolated_thresholder_.interpolation_dict
    return {site: _as_thresholds(found[ids[site]]) for site in names}


def _grid_size(constraint: str, cells: Iterable[tuple[int, int]]) -> int:
    """Steps of a grid over [0, 1] that holds k/n for each site's n; the largest grid where that would be too fine."""
    sizes = {
        "equal_opportunity": lambda negative, positive: positive,
        "demographic_parity": lambda negative, positive: negative + positive,
    }
    size = sizes.get(constraint, lambda negative, positive: negative)
    steps = lcm(*(size(negative, positive) for negative, positive in cells))
    return steps * -(-_SMALLEST_GRID // steps) if steps <= _LARGEST_GRID else _LARGEST_GRID


def _as_thresholds(found: Any) -> tuple[Threshold, ...]:
    """The interpolation of fairlearn as one mixture; its constant prediction is a coin between always and never."""
    ignored, constant = float(found.get("p_ignore", 0)), float(found.get("prediction_constant", 0))
    shares: dict[float, float] = defaultdict(float)
    for share, operation in ((found["p0"], found["operation0"]), (found["p1"], found["operation1"])):
        if operation.operator != ">":
            raise RuntimeError(f'fairlearn gave the operation "{operation}", which was not asked for.')
        shares[float(operation.threshold)] += (1 - ignored) * float(share)
    shares[ALWAYS] += ignored * constant
    shares[NEVER] += ignored * (1 - constant)
    kept = {value: share for value, share in sorted(shares.items()) if share > _NEGLIGIBLE}
    total = sum(kept.values())
    return tuple(Threshold(value, share / total) for value, share in kept.items())
