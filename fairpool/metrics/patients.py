"""Sums by patient and site: all that an interval needs to know of the predictions, patients' images kept together."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["RATES", "PatientCounts", "patient_counts"]

RATES = ("error", "fnr", "fpr", "selection_rate", "fdr")
"""The rates that have intervals, in the order of every axis of length 5: wrong of all, of label 1, of label 0, positive
decisions of all, and false alarms of the positive decisions."""


@dataclass(frozen=True)
class PatientCounts:
    """Images and wrong decisions of each patient at each site; a row for every (patient, site) that has images.

    Attributes:
        num_sites: K.
        patient: running number of the row's patient, int64, shape (M,).
        site: of the row, int64 in 0..K-1, shape (M,).
        images: of the row: all, with label 1, with label 0; int64, shape (M, 3).
        wrong: wrong decisions among them, int64, shape (M, 3). The two hold all decisions: what every rate needs.
    """

    num_sites: int
    patient: NDArray[np.int64]
    site: NDArray[np.int64]
    images: NDArray[np.int64]
    wrong: NDArray[np.int64]

    @cached_property
    def denominators(self) -> NDArray[np.int64]:
        """The row's images that each of `RATES` is of, int64, shape (M, 5).

        >>> counts = patient_counts(["a", "b", "b"], [0, 0, 0], [1, 0, 0], [1, 1, 0], num_sites=1)
        >>> counts.denominators.tolist(), counts.numerators.tolist()
        ([[1, 1, 0, 1, 1], [2, 0, 2, 2, 1]], [[0, 0, 0, 1, 0], [1, 0, 1, 1, 1]])
        """
        return np.column_stack([self.images, self.images[:, 0], self._positive_decisions])

    @cached_property
    def numerators(self) -> NDArray[np.int64]:
        """Those among `denominators` that each of `RATES` counts, int64, shape (M, 5)."""
        return np.column_stack([self.wrong, self._positive_decisions, self.wrong[:, 2]])

    @property
    def _positive_decisions(self) -> NDArray[np.int64]:
        """Hits and false alarms of each row, shape (M,)."""
        return self.images[:, 1] - self.wrong[:, 1] + self.wrong[:, 2]

    def by_site(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums of values by site: shape (M, V) to (V, K)."""
        return np.stack([np.bincount(self.site, column, self.num_sites) for column in values.T])

    @property
    def is_shared(self) -> NDArray[np.bool_]:
        """Whether the row's patient has images at another site too, shape (M,)."""
        return np.bincount(self.patient)[self.patient] > 1 if len(self.patient) else np.zeros(0, bool)


def patient_counts(patients: Any, sites: Any, labels: Any, decisions: Any, num_sites: int) -> PatientCounts:
    """Count images and wrong decisions by patient and site.

    Args:
        patients: numbers or texts that tell patients apart, shape (B,).
        sites: integers 0..K-1; -1 means "unknown" and is left out, shape (B,).
        labels: 0 or 1, shape (B,).
        decisions: 0 or 1, shape (B,).
        num_sites: K.
    Raises:
        ValueError: shapes differ, a label or decision is neither 0 nor 1, a site is out of range, a patient is missing.

    >>> counts = patient_counts(["a", "a", "b"], [0, 0, 1], [1, 1, 0], [1, 0, 0], num_sites=2)
    >>> counts.site.tolist(), counts.images.tolist(), counts.wrong.tolist()
    ([0, 1], [[2, 2, 0], [1, 0, 1]], [[1, 1, 0], [0, 0, 0]])
    """
    columns = [np.asarray(column) for column in (patients, sites, labels, decisions)]
    if any(column.ndim != 1 or len(column) != len(columns[0]) for column in columns):
        shapes = ", ".join(str(column.shape) for column in columns)
        raise ValueError(
            f"patients, sites, labels and decisions must be one-dimensional and of one length; got {shapes}."
        )
    names, place, label, decision = columns
    for what, column in (("labels", label), ("decisions", decision)):
        outside = column[~np.isin(column, (0, 1))]
        if len(outside):
            raise ValueError(
                f"{what} must be 0 or 1; found {outside[0]} ({len(outside)} of {len(column)}). "
                "Of several classes, compare one with the rest."
            )
    if len(place) and not np.issubdtype(place.dtype, np.integer):
        raise ValueError(f"sites must be integers, got {place.dtype}; encode names with a SiteVocabulary.")
    outside = place[(place < -1) | (place >= num_sites)]
    if len(outside):
        raise ValueError(
            f"sites must lie in 0..{num_sites - 1}, or be -1 for unknown; found {outside[0]} "
            f"({len(outside)} of {len(place)}). Give the number of sites of the vocabulary."
        )
    known = place >= 0
    names = names[known]
    missing = sum(name is None or name != name for name in names.tolist()) if names.dtype.kind in "Of" else 0
    if missing:
        raise ValueError(
            f"{missing} of {len(names)} samples have no patient. Give each image without one a number of its own."
        )
    if names.dtype == object:
        names = names.astype(str)
    place, label, is_wrong = place[known].astype(np.int64), label[known] == 1, label[known] != decision[known]
    patient = np.unique(names, return_inverse=True)[1].reshape(-1)
    keys, row = np.unique(patient * num_sites + place, return_inverse=True)
    events = (np.ones(len(label), bool), label, ~label)
    images = np.stack([np.bincount(row[event], minlength=len(keys)) for event in events], axis=1)
    wrong = np.stack([np.bincount(row[event & is_wrong], minlength=len(keys)) for event in events], axis=1)
    return PatientCounts(num_sites, keys // num_sites, keys % num_sites, images, wrong)
