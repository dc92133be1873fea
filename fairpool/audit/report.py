"""What an audit found: figures, advice and verdicts, as plain values."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fairpool.audit.advice import Advice, Verdict
from fairpool.audit.association import Association
from fairpool.audit.cells import Cell
from fairpool.audit.separability import Separability

__all__ = ["Audit", "ScannerCell", "Unreadable"]

_FORMAT = 1
_LISTED = 20


@dataclass(frozen=True)
class ScannerCell:
    """Images of one scanner at one site.

    Attributes:
        site: its name.
        scanner: its name; empty where the table or the header names none.
        images: by label, 0 and 1.
        patients: of both labels.
    """

    site: str
    scanner: str
    images: tuple[int, int]
    patients: int


@dataclass(frozen=True)
class Unreadable:
    """An image that could not be read: its row in the table, its site, and why."""

    row: int
    site: str
    reason: str


@dataclass(frozen=True)
class Audit:
    """What an audit found. No file, path or patient is in it.

    Attributes:
        num_images: rows of the table.
        num_patients: of these.
        patients_named: whether the table names patients; else every image is one.
        sites: their names, in the alphabet's order; of those with a readable image where images were read.
        positive: what label 1 is called.
        constraint: the one that the last line judges.
        cells: of site and label; images that cannot be read are in none, nor in what follows.
        prevalence: by site: share of label 1, and its 95 % limits.
        scanners: cells of site and scanner; empty where no scanner is known.
        associations: "site x label", "site x scanner", "scanner x label".
        separability: how well site and label are told, from what.
        metadata_auc: AUC of the site from one metadata column alone; None where it could not be measured.
        expected_gaps: by event, the largest difference between sites that a model with 15 % errors everywhere would
            show by chance on all these images, and on a quarter of them.
        num_read: images that were read; 0 where none were wanted.
        unreadable: images that could not be read.
        duplicates: counts of `fairpool.data.duplicates.Duplicates.counts`; None where no hash is known.
        advice: sentences, the gravest first.
        verdicts: by constraint.
        notes: what was joined, left out or sampled.
        seed: of folds, classifiers and resamples.
        mean_images: by site the mean thumbnail, (32, 32) in [0, 1], of sites with 10 patients or more; not in JSON.
    """

    num_images: int
    num_patients: int
    patients_named: bool
    sites: tuple[str, ...]
    positive: str
    constraint: str
    cells: tuple[Cell, ...]
    prevalence: Mapping[str, tuple[float, float, float]]
    scanners: tuple[ScannerCell, ...]
    associations: Mapping[str, Association]
    separability: tuple[Separability, ...]
    metadata_auc: Mapping[str, float | None]
    expected_gaps: Mapping[str, tuple[float | None, float | None]]
    num_read: int
    unreadable: tuple[Unreadable, ...]
    duplicates: Mapping[str, Mapping[str, int]] | None
    advice: tuple[Advice, ...]
    verdicts: Mapping[str, Verdict]
    notes: tuple[str, ...] = ()
    seed: int = 0
    mean_images: Mapping[str, NDArray[np.float32]] = field(default_factory=dict, repr=False)

    @property
    def verdict(self) -> Verdict:
        """That of the constraint that was asked for."""
        return self.verdicts[self.constraint]

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, the keys as the attributes; what is not known is None, and no number is NaN.

        ``format`` is raised when a key changes its meaning or goes. Rates, AUC and half-widths are fractions, mutual
        information is in bits. Of the unreadable images the first 20 are listed; ``num_unreadable`` counts them all.
        """
        content = {
            "format": _FORMAT,
            "images": self.num_images,
            "patients": self.num_patients,
            "patients_named": self.patients_named,
            "sites": list(self.sites),
            "positive": self.positive,
            "seed": self.seed,
            "cells": [asdict(cell) for cell in self.cells],
            "prevalence": [
                {"site": site, "rate": rate, "low": low, "high": high}
                for site, (rate, low, high) in self.prevalence.items()
            ],
            "scanners": [asdict(cell) for cell in self.scanners],
            "associations": {name: asdict(found) for name, found in self.associations.items()},
            "separability": [asdict(found) for found in self.separability],
            "metadata_auc": dict(self.metadata_auc),
            "expected_gaps": {
                event: {"all_images": whole, "quarter": quarter}
                for event, (whole, quarter) in self.expected_gaps.items()
            },
            "images_read": self.num_read,
            "num_unreadable": len(self.unreadable),
            "unreadable": [asdict(image) for image in self.unreadable[:_LISTED]],
            "duplicates": None if self.duplicates is None else {k: dict(v) for k, v in self.duplicates.items()},
            "advice": [asdict(sentence) for sentence in self.advice],
            "verdicts": {name: asdict(found) for name, found in self.verdicts.items()},
            "constraint": self.constraint,
            "verdict": self.verdict.verdict,
            "notes": list(self.notes),
        }
        plain: dict[str, Any] = _plain(content)
        return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else None
    return value
