"""How sure a study's figures are: intervals by site, gaps beside chance, methods compared over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fairpool.csv_cells import text_cell
from fairpool.gaps import GAPS
from fairpool.metrics import (
    Intervals,
    NullGap,
    PairedComparison,
    PatientCounts,
    gap_intervals,
    largest_gap_intervals,
    null_gap,
    pair_intervals,
    paired_comparisons,
    patient_counts,
    rate_intervals,
)
from fairpool.metrics.patients import RATES

if TYPE_CHECKING:
    from fairpool.study import RunResult

__all__ = ["PAIRED_FIGURES", "gap_table", "interval_table", "null_gaps", "paired_by_figure", "paired_table"]

PAIRED_FIGURES = ("error", *GAPS, "worst_group_error")
"""The figures in which methods are compared over seeds: the gap of every constraint is among them."""

_SITES_WITH_PAIRS = 12
_THRESHOLD = 0.5


@dataclass(frozen=True)
class _Tested:
    """Test predictions of a method: of one run, or of the folds of one cross-validation."""

    method: str
    seeds: tuple[int, ...]
    sites: list[str]
    by_site: PatientCounts
    together: PatientCounts


def interval_table(results: Sequence["RunResult"], num_folds: int = 0) -> pd.DataFrame:
    """95 % intervals of every rate by site and of every difference between sites, by method, on the test images.

    With cross-validation the test sections of the first round's folds are put together, so that every image counts
    once, each scored by the model that had not seen it; otherwise the run of the first seed that all methods have
    stands for its method (the seeds' test sets overlap, and pooling them would count an image several times).

    Args:
        results: finished runs, with their ``predictions.parquet`` beside their models; those without are left out.
        num_folds: of the study's cross-validation, 0 for none.
    Returns:
        columns ``method``, ``seeds``, ``figure`` (a rate of `RATES`, or a key of `GAPS` for the largest difference
        between sites), ``site`` ("all sites" for all), ``against`` ("" for a rate, "others" for the mean of the other
        sites, else a site; pairs up to 12 sites), ``estimate``, ``low``, ``high``, ``n`` images and ``patients`` that
        the site's rate is of. Without an estimate the numbers are NaN and n is 0.
    """
    parts = [_rows(tested) for tested in _tested(results, num_folds)]
    columns = ["method", "seeds", "figure", "site", "against", "estimate", "low", "high", "n", "patients"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def null_gaps(
    result: "RunResult", gaps: Sequence[str] = tuple(GAPS), *, permutations: int = 1999
) -> dict[str, NullGap]:
    """Gaps of a run beside their expectation under equal rates; empty where its predictions are gone.

    Args:
        result: a finished run.
        gaps: keys of `GAPS`.
        permutations: of each p-value.
    """
    found = _counts([result])
    if found is None:
        return {}
    return {gap: null_gap(found[0], GAPS[gap], permutations=permutations) for gap in gaps}


def gap_table(results: Sequence["RunResult"]) -> pd.DataFrame:
    """`null_gaps` of every run: columns ``method``, ``seed``, ``figure``, ``gap``, ``expected``, ``p_value``."""
    rows = [
        {
            "method": result.method,
            "seed": result.seed,
            "figure": figure,
            "gap": found.gap,
            "expected": found.expected,
            "p_value": found.p_value,
        }
        for result in results
        for figure, found in null_gaps(result).items()
    ]
    return pd.DataFrame(rows, columns=["method", "seed", "figure", "gap", "expected", "p_value"])


def paired_by_figure(
    results: Sequence["RunResult"], figures: Sequence[str] = PAIRED_FIGURES
) -> dict[str, list[PairedComparison]]:
    """Every pair of methods over the seeds both have, by figure; Holm's adjustment is by figure.

    Args:
        results: finished runs.
        figures: names of a run's figures.
    """
    methods = list(dict.fromkeys(result.method for result in results))
    return {
        figure: paired_comparisons(
            {
                method: {
                    result.seed: result.test[figure]
                    for result in results
                    if result.method == method and figure in result.test
                }
                for method in methods
            }
        )
        for figure in figures
    }


def paired_table(results: Sequence["RunResult"]) -> pd.DataFrame:
    """`paired_by_figure` as a table, a row a pair and figure; ``verdict`` says if there is evidence of a difference."""
    rows = [
        {
            "figure": figure,
            "method": pair.method,
            "against": pair.against,
            "seeds": pair.seeds,
            "mean_difference": pair.mean,
            "std_difference": pair.std,
            "p_value": pair.p_value,
            "p_value_holm": pair.adjusted,
            "smallest_p_value": pair.smallest,
            "verdict": pair.verdict,
        }
        for figure, pairs in paired_by_figure(results).items()
        for pair in pairs
    ]
    columns = ["figure", "method", "against", "seeds", "mean_difference", "std_difference", "p_value", "p_value_holm"]
    return pd.DataFrame(rows, columns=[*columns, "smallest_p_value", "verdict"])


def _tested(results: Sequence["RunResult"], num_folds: int) -> list[_Tested]:
    methods = list(dict.fromkeys(result.method for result in results))
    seeds_of = {method: {result.seed for result in results if result.method == method} for method in methods}
    common = set.intersection(*seeds_of.values()) if methods else set()
    tested = []
    for method in methods:
        runs = sorted((result for result in results if result.method == method), key=lambda result: result.seed)
        first = min(common) if common else runs[0].seed
        if num_folds:  # a round is the seeds of one quotient, see `split_by_patient`
            runs = [result for result in runs if result.seed // num_folds == first // num_folds]
        else:
            runs = [result for result in runs if result.seed == first]
        found = _counts(runs)
        if found is not None:
            seeds = tuple(result.seed for result in runs)
            tested.append(_Tested(method, seeds, runs[0].sites, *found))
    return tested


def _counts(runs: Sequence["RunResult"]) -> tuple[PatientCounts, PatientCounts] | None:
    """Test predictions counted by patient and site, and with all sites as one; None where a file is missing."""
    files = [Path(result.output_dir) / "predictions.parquet" for result in runs]
    if not all(result.output_dir and file.is_file() for result, file in zip(runs, files, strict=True)):
        return None
    table = pd.concat([pd.read_parquet(file) for file in files], ignore_index=True)
    table = table[table["split"] == "test"]
    number = {name: position for position, name in enumerate(runs[0].sites)}
    site = table["site"].map(number).fillna(-1).to_numpy(np.int64)
    decision = (table["probability"] > _THRESHOLD).to_numpy(np.int64)
    patient, label = table["patient"].to_numpy(), table["label"].to_numpy()
    return (
        patient_counts(patient, site, label, decision, len(number)),
        patient_counts(patient, np.where(site < 0, -1, 0), label, decision, 1),
    )


def _rows(tested: _Tested) -> pd.DataFrame:
    counts, names = tested.by_site, [text_cell(name) for name in tested.sites]
    images, patients = (counts.by_site(part).astype(int) for part in (counts.denominators, counts.denominators > 0))
    size = {
        (rate, name): (images[i, j], patients[i, j]) for i, rate in enumerate(RATES) for j, name in enumerate(names)
    }
    whole = tested.together
    together = [whole.by_site(part)[:, 0].astype(int) for part in (whole.denominators, whole.denominators > 0)]
    size |= {(rate, "all sites"): (together[0][i], together[1][i]) for i, rate in enumerate(RATES)}

    parts = [_long(rate_intervals(whole), ["all sites"], [""]), _long(rate_intervals(counts), names, [""])]
    parts.append(_long(gap_intervals(counts), names, ["others"]))
    if len(names) <= _SITES_WITH_PAIRS:
        pairs = _long(pair_intervals(counts), names, names)
        parts.append(pairs[pairs["site"] != pairs["against"]])
    table = pd.concat(parts, ignore_index=True)
    keys = list(zip(table["figure"], table["site"], strict=True))
    gaps = _long(largest_gap_intervals(counts), ["all sites"], [""])
    gap_of = {rate: gap for gap, rate in GAPS.items()}
    gaps["figure"] = [gap_of[rate] for rate in RATES]
    table = pd.concat([table, gaps], ignore_index=True)
    keys += [(rate, "all sites") for rate in RATES]
    table["n"], table["patients"] = zip(*(size[key] for key in keys), strict=True)
    return table.assign(method=tested.method, seeds=" ".join(map(str, tested.seeds)))


def _long(intervals: Intervals, sites: Sequence[str], against: Sequence[str]) -> pd.DataFrame:
    """A row for each rate, site and counterpart, in this order."""
    index = pd.MultiIndex.from_product([RATES, sites, against], names=["figure", "site", "against"])
    values = {name: getattr(intervals, name).reshape(-1) for name in ("estimate", "low", "high")}
    return pd.DataFrame(values, index=index).reset_index()
