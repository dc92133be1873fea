"""A fair mixture of trained runs: a sweep becomes one randomised classifier with equal errors at all sites."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fairpool.constraints import CONSTRAINTS
from fairpool.errors import DataError
from fairpool.handlers.site_report import report_metrics
from fairpool.metrics import group_report
from fairpool.posterior import Array, NoFairMixtureError, exact_posterior
from fairpool.trivial_gaps import trivial_gap

if TYPE_CHECKING:
    import pandas as pd

    from fairpool.run_counts import RunCounts

__all__ = ["MIXTURE_CONSTRAINTS", "RATE_WORDS", "Mixture", "fair_mixture"]

MIXTURE_CONSTRAINTS: dict[str, tuple[str, ...]] = {
    "equal_opportunity": ("fnr",),
    "predictive_equality": ("fpr",),
    "equalized_odds": ("fpr", "fnr"),
    "error_rate_parity": ("error",),
    "demographic_parity": ("selection_rate",),
}
"""Constraints whose rates are linear in the mixture, and the rates that must agree."""

RATE_WORDS = {"fnr": "FNR", "fpr": "FPR", "error": "error", "selection_rate": "selection rate"}
"""What a reader calls these rates."""

_CASES = {"fnr": " of label 1", "fpr": " of label 0"}


@dataclass(frozen=True, eq=False)
class Mixture:
    """A distribution over runs, made from validation figures alone, and what it does on the test cases.

    To use it, draw one run for each patient with these probabilities (`draw`) and let that run decide.

    Attributes:
        runs: one row a run: ``run_id``, ``run_name``, ``study``, ``method``, ``seed``, ``weight``, ``val/error``, the
            largest gap of the constraint such as ``val/deo``, and the signed gaps solved for, ``val/gap/RATE/SITE``:
            the site's rate minus the mean of the other sites'.
        comparison: the figures of the mixture (expected over the draw), of the run with the lowest validation error,
            and of the NVP choice, by the names of a run's metrics (``val/...`` and ``test/...``); rows ``mixture``,
            ``lowest_error``, ``nvp`` (where there is a choice), and the columns ``run_id``, ``run_name``. Of no other
            run is the test shown.
        multipliers: of each gap, by its name in ``runs``; empty if the mixture is not fair.
        is_fair: whether the validation gaps are closed; False only where the closest mixture was asked for.
        constraint: its name.
        notes: what a reader should know, in sentences.
        sites: names of the sites by the slug that stands for them in the columns.
        unconstrained: sites that enter a gap of the constraint not at all, as sentences without a full stop: they have
            no validation case of its event.
    """

    runs: "pd.DataFrame"
    comparison: "pd.DataFrame"
    multipliers: dict[str, float]
    is_fair: bool
    constraint: str
    notes: tuple[str, ...]
    sites: Mapping[str, str] = field(default_factory=dict)
    unconstrained: tuple[str, ...] = ()

    def draw(self, patients: Iterable[object], *, seed: int = 0) -> list[str]:
        """Run id for each patient, drawn with the mixture's weights.

        The draw is a hash of ``seed`` and ``str(patient)``: all images of a patient, today and later, meet the same
        run, whoever else is in the list.

        Args:
            patients: identifiers.
            seed: another one gives other draws.
        """
        drawn = self.runs[self.runs["weight"] > 0]
        run_ids, edges = drawn["run_id"].tolist(), np.cumsum(drawn["weight"])[:-1]
        digests = (hashlib.blake2b(f"{seed}|{patient}".encode(), digest_size=8).digest() for patient in patients)
        shares = (int.from_bytes(digest, "big") / 2**64 for digest in digests)
        return [run_ids[int(np.searchsorted(edges, share, side="right"))] for share in shares]

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; what has no estimate is None."""
        return {
            "constraint": self.constraint,
            "is_fair": self.is_fair,
            "multipliers": self.multipliers,
            "runs": [_plain(row) for row in self.runs.to_dict("records")],
            "comparison": {str(name): _plain(row) for name, row in self.comparison.to_dict("index").items()},
            "notes": list(self.notes),
            "sites": dict(self.sites),
            "unconstrained": list(self.unconstrained),
        }


def fair_mixture(
    experiment: str,
    *,
    tracking_uri: str,
    constraint: str | None = None,
    study: str | None = None,
    seed: int | None = None,
    methods: Sequence[str] | None = None,
    within: float = 0.9,
    closest: bool = False,
) -> Mixture:
    """The mixture of an experiment's finished runs with the smallest validation error whose validation gaps are 0.

    All runs must have been validated and tested on the same cases; restrict them by ``seed`` or ``study`` where they
    were not. With two sites and one rate the gap is their difference, and at most two runs mix; with K sites each is
    held against the mean of the others, and at most K runs mix for each rate. A site without validation cases of the
    event is left out of the gaps and named in ``unconstrained``; the notes give the cases behind each.

    The gaps are closed on the validation cases. With few cases at a site they are noisy, and so is what is left of them
    on other cases: read the test figures.

    Args:
        experiment: its name in MLflow: `fairpool run` takes the pipeline's.
        tracking_uri: MLflow store.
        constraint: a key of `MIXTURE_CONSTRAINTS`; default the one that the runs were trained with.
        study: only runs of this study.
        seed: only runs of this seed.
        methods: only runs of these methods.
        within: of the NVP choice that the mixture is compared with, see `fairpool.selection.select_nvp`.
        closest: where no mixture closes the gaps, give the one with the smallest sum of them instead of raising.
    Raises:
        NoFairMixtureError: no mixture closes the gaps; says which comes closest.
        DataError: the runs' cases differ, or their predictions cannot be used.
        ValueError: there are no such runs, or the constraint is unknown, ambiguous or not linear in the mixture.
        ConnectionError: the store cannot be read.
    Source: Lokhande et al. 2020 (doi:10.1007/978-3-030-58610-2_22), section 3.1 and eq. (2), with runs as classifiers.
    """
    from fairpool.finished_runs import open_store, runs_of
    from fairpool.run_counts import read_run_counts

    client = open_store(tracking_uri)
    rows = runs_of(client, experiment, study=study, methods=methods).rows
    if seed is not None:
        seeds = sorted({str(row.get("seed")) for row in rows})
        rows = [row for row in rows if row.get("seed") == str(seed)]
        if not rows:
            raise ValueError(f"no finished run has seed {seed}; there are the seeds {', '.join(seeds)}.")
    name = _constraint_of(rows, constraint)
    counts = read_run_counts(client, rows, tracking_uri=tracking_uri)
    notes = [f"{run} is left out: {reason}." for run, reason in counts.left_out.items()]
    gaps, unconstrained = _signed_gaps(counts, name, notes)
    figures = [_figures(table, counts) for table in counts.validation]
    errors = [row["error"] for row in figures]
    columns = np.stack(list(gaps.values()), axis=1)
    try:  # one gap has its own solver
        posterior = exact_posterior(errors, columns[:, 0] if columns.shape[1] == 1 else columns)
    except NoFairMixtureError as error:
        if not closest:
            raise _naming_runs(error, counts) from None
        notes.append("No mixture of these runs closes the gaps on the validation cases; this one comes closest.")
        weights, multipliers = error.weights, {}
    else:
        weights, values = posterior.weights, np.atleast_1d(posterior.multiplier).tolist()
        multipliers = dict(zip(gaps, values, strict=True))
    for row, own, weight in zip(counts.rows, figures, weights, strict=True):
        if weight > 0 and (reason := trivial_gap(own)):
            notes.append(f"{row.get('run_name')}, which is drawn, {reason} in the validation.")
    return Mixture(
        runs=_table(counts, figures, gaps, weights, name),
        comparison=_comparison(counts, weights, _single_runs(figures, name, within, notes)),
        multipliers=multipliers,
        is_fair=bool(multipliers),
        constraint=name,
        notes=tuple(notes),
        sites=dict(zip(counts.sites.slugs(), counts.sites.names, strict=True)),
        unconstrained=tuple(unconstrained),
    )


def _constraint_of(rows: Sequence[Mapping[str, Any]], constraint: str | None) -> str:
    known = ", ".join(MIXTURE_CONSTRAINTS)
    found = [constraint] if constraint is not None else sorted({str(row.get("constraint")) for row in rows})
    if len(found) > 1:
        raise ValueError(
            f"the runs were trained with different constraints ({', '.join(found)}): name with --constraint the one to "
            "meet."
        )
    if found[0] == "predictive_parity":
        raise ValueError(
            "the rate of predictive_parity, wrong among the positive predictions, is not linear in a mixture: choose "
            f"another --constraint of {known}."
        )
    if found[0] not in MIXTURE_CONSTRAINTS:
        raise ValueError(f'there is no mixture for the constraint "{found[0]}": choose a --constraint of {known}.')
    return found[0]


def _signed_gaps(counts: "RunCounts", constraint: str, notes: list[str]) -> tuple[dict[str, Array], list[str]]:
    """Gap of each site's rate to the mean of the others', (N,) by name, of two sites the first one's; who has none."""
    table, gaps, unconstrained = counts.validation, dict[str, Array](), list[str]()
    rates_to_even = MIXTURE_CONSTRAINTS[constraint]
    for rate in rates_to_even:
        wrong, cases = {
            "fnr": (table[:, :, 1, 0], table[0, :, 1].sum(-1)),
            "fpr": (table[:, :, 0, 1], table[0, :, 0].sum(-1)),
            "error": (table[:, :, 0, 1] + table[:, :, 1, 0], table[0].sum((-2, -1))),
            "selection_rate": (table[:, :, :, 1].sum(-1), table[0].sum((-2, -1))),
        }[rate]
        present = np.flatnonzero(cases)
        by_site = ", ".join(f"{site} {number}" for site, number in zip(counts.sites.names, cases, strict=True))
        notes.append(f"The {RATE_WORDS[rate]} rests on these validation cases: {by_site}.")
        without = f"0 validation cases{_CASES.get(rate, '')}"
        where = f" in its {RATE_WORDS[rate]}" if len(rates_to_even) > 1 else ""
        for site in np.flatnonzero(cases == 0):
            unconstrained.append(f"{counts.sites.names[site]} is not constrained{where} ({without})")
        if len(present) < 2:
            alone = f"not constrained{where} (no site to compare it with)"
            unconstrained += [f"{counts.sites.names[site]} is {alone}" for site in present]
            continue
        rates = wrong[:, present] / cases[present]
        others = (rates.sum(axis=1, keepdims=True) - rates) / (len(present) - 1)
        for place, site in enumerate(present[:1] if len(present) == 2 else present):
            gaps[f"{rate}/{counts.sites.slugs()[site]}"] = rates[:, place] - others[:, place]
    if not gaps:
        raise DataError(f'fewer than two sites have validation cases for "{constraint}": there is no gap to close.')
    return gaps, unconstrained


def _figures(table: Any, counts: "RunCounts") -> dict[str, float]:
    """Figures of counts [site, true, predicted]; of expected counts they are those of the expected rates."""
    return report_metrics(group_report(torch.as_tensor(table)), counts.sites.slugs())


def _table(
    counts: "RunCounts",
    figures: Sequence[Mapping[str, float]],
    gaps: Mapping[str, Array],
    weights: Array,
    constraint: str,
) -> "pd.DataFrame":
    import pandas as pd

    about = ("run_id", "run_name", "study", "method", "seed")
    table = pd.DataFrame([{name: row.get(name) for name in about} for row in counts.rows])
    figure = CONSTRAINTS[constraint].gap
    table["weight"] = weights
    table["val/error"] = [row["error"] for row in figures]
    table[f"val/{figure}"] = [row.get(figure, np.nan) for row in figures]
    for name, gap in gaps.items():
        table[f"val/gap/{name}"] = gap
    return table


def _single_runs(
    figures: Sequence[Mapping[str, float]], constraint: str, within: float, notes: list[str]
) -> dict[str, int]:
    """The runs that the mixture is compared with; a note where no run can be an NVP choice."""
    from fairpool.selection import nvp_selection

    found = {"lowest_error": min(range(len(figures)), key=lambda number: figures[number]["error"])}
    try:
        found["nvp"] = nvp_selection(figures, "error", CONSTRAINTS[constraint].gap, within).index
    except ValueError as error:
        notes.append(f"There is no NVP choice beside it: {error}")
    return found


def _comparison(counts: "RunCounts", weights: Array, single: Mapping[str, int]) -> "pd.DataFrame":
    import pandas as pd

    rows: dict[str, dict[str, Any]] = {}
    for name, run in {"mixture": None, **single}.items():
        share = weights if run is None else np.eye(len(weights))[run]
        about = {} if run is None else {key: counts.rows[run].get(key) for key in ("run_id", "run_name")}
        rows[name] = {"run_id": None, "run_name": None} | about
        for section, tables in (("val", counts.validation), ("test", counts.test)):
            expected = np.einsum("n,nktp->ktp", share, tables)
            rows[name] |= {f"{section}/{figure}": value for figure, value in _figures(expected, counts).items()}
    return pd.DataFrame.from_dict(rows, orient="index")


def _naming_runs(error: NoFairMixtureError, counts: "RunCounts") -> NoFairMixtureError:
    """The same error, speaking of runs."""
    mixed = np.flatnonzero(error.weights)
    names = ", ".join(
        f"{100 * error.weights[number]:.0f} % {counts.rows[number].get('run_name')} ({counts.rows[number]['run_id']})"
        for number in mixed[:5]
    )
    largest = 100 * float(np.abs(error.gap).max())
    return NoFairMixtureError(
        f"no mixture of these {len(counts.rows)} runs closes the gaps on the validation cases. The closest is {names}, "
        f"with a largest gap of {largest:.1f} points and error {100 * error.error:.1f} %. Add runs whose gaps have the "
        "other sign (another eta, another method), or take the closest with --closest.",
        error.weights,
        error.error,
        error.gap,
    )


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): None if isinstance(value, float) and value != value else value for key, value in row.items()}
