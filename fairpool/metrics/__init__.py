"""Evidence by site: confusion counts, error rates, the gaps between groups, and how sure they are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairpool.metrics.confusion import confusion_by_group
from fairpool.metrics.report import GroupReport, group_report

if TYPE_CHECKING:
    from fairpool.metrics.bootstrap import bootstrap_rates
    from fairpool.metrics.chance import NullGap, expected_gap, null_gap
    from fairpool.metrics.group_metric import GroupMetric
    from fairpool.metrics.intervals import (
        Intervals,
        effective_sizes,
        gap_intervals,
        largest_gap_intervals,
        pair_intervals,
        rate_intervals,
    )
    from fairpool.metrics.patients import PatientCounts, patient_counts
    from fairpool.metrics.score import score_interval
    from fairpool.metrics.seeds import PairedComparison, paired_comparisons, sign_flip_p_value

__all__ = [
    "GroupMetric",
    "GroupReport",
    "Intervals",
    "NullGap",
    "PairedComparison",
    "PatientCounts",
    "bootstrap_rates",
    "confusion_by_group",
    "effective_sizes",
    "expected_gap",
    "gap_intervals",
    "group_report",
    "largest_gap_intervals",
    "null_gap",
    "pair_intervals",
    "paired_comparisons",
    "patient_counts",
    "rate_intervals",
    "score_interval",
    "sign_flip_p_value",
]

# Imported at first use: MONAI takes seconds, and nobody who trains needs the rest.
_LAZY = {
    "bootstrap": ("bootstrap_rates",),
    "group_metric": ("GroupMetric",),
    "intervals": (
        "Intervals",
        "effective_sizes",
        "gap_intervals",
        "largest_gap_intervals",
        "pair_intervals",
        "rate_intervals",
    ),
    "chance": ("NullGap", "expected_gap", "null_gap"),
    "patients": ("PatientCounts", "patient_counts"),
    "score": ("score_interval",),
    "seeds": ("PairedComparison", "paired_comparisons", "sign_flip_p_value"),
}
_MODULE_OF = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _MODULE_OF:
        return getattr(import_module(f"fairpool.metrics.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
