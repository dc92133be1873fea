"""Cells of site and label: how many images and patients, and what could be said of an error rate there."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fairpool.metrics import expected_gap, score_interval

__all__ = [
    "FEW_HALF_WIDTH",
    "REFERENCE_RATE",
    "WIDE_HALF_WIDTH",
    "Cell",
    "count_cells",
    "expected_gap_of",
    "prevalence",
]

REFERENCE_RATE = 0.15
"""Error rate at which the precision of a cell is stated."""

FEW_HALF_WIDTH = 0.15
"""A cell whose 95 % interval of the reference rate is wider on each side, under 22 images, is too small."""

WIDE_HALF_WIDTH = 0.10
"""A cell that is wider than this is small, fewer than 49 images: a constraint reaches it with noise."""

_EXACT_CELLS = 20_000_000
_DRAWS = 1000


@dataclass(frozen=True)
class Cell:
    """Images of one label at one site.

    Attributes:
        site: its name.
        label: 0 or 1; None for both together.
        images: their number.
        patients: of these images.
        effective: independent images that would tell as much if all images of a patient are right or wrong together,
            the worst case: ``images ** 2 / sum(images of a patient ** 2)``.
        half_width: half the length of Wilson's 95 % interval of an error rate of 15 % there; None for an empty cell.
        size: "empty", "few" (too small to constrain), "small" or "enough".
    """

    site: str
    label: int | None
    images: int
    patients: int
    effective: float
    half_width: float | None
    size: str


def count_cells(records: pd.DataFrame, *, by_label: bool = True) -> list[Cell]:
    """Cells of every site and label, sites in the alphabet's order.

    Args:
        records: columns ``site``, ``label`` (0 or 1), ``patient``, one row an image.
        by_label: False makes one cell a site, of all its images.

    >>> records = pd.DataFrame({"site": ["a"] * 60, "label": 1, "patient": range(60)})
    >>> [(cell.label, cell.images, cell.size) for cell in count_cells(records)]
    [(0, 0, 'empty'), (1, 60, 'enough')]
    """
    labels: tuple[int | None, ...] = (0, 1) if by_label else (None,)
    counts = records.groupby(["site", *(["label"] if by_label else []), "patient"]).size()
    by_cell: dict[Any, Any] = {
        # Before pandas 3 the key of a single level was no tuple.
        key if isinstance(key, tuple) else (key,): part.to_numpy(float)
        for key, part in counts.groupby(level=list(range(counts.index.nlevels - 1)))
    }
    cells = []
    for site in sorted(records["site"].unique()):
        for label in labels:
            there = by_cell.get((site,) if label is None else (site, label), np.zeros(0))
            images = int(there.sum())
            effective = images**2 / float((there**2).sum()) if images else 0.0
            half = _half_width(effective) if images else None
            cells.append(Cell(site, label, images, len(there), effective, half, _size(half)))
    return cells


def prevalence(records: pd.DataFrame) -> dict[str, tuple[float, float, float]]:
    """Share of label 1 at each site, with Wilson's 95 % interval over the effective number of images.

    Args:
        records: as for `count_cells`.

    >>> found = prevalence(pd.DataFrame({"site": ["a"] * 20, "label": 1, "patient": range(20)}))
    >>> [round(part, 3) for part in found["a"]]
    [1.0, 0.839, 1.0]
    """
    sums = records.groupby(["site", "patient"])["label"].agg(["sum", "size"])
    found = {}
    for site, patients in sums.groupby(level="site", sort=True):
        images = patients["size"].to_numpy(float)
        rate = float(patients["sum"].to_numpy(float).sum() / images.sum())
        low, high = score_interval([rate], [images.sum() ** 2 / (images**2).sum()], [1.0])
        found[str(site)] = (rate, float(np.clip(low, 0, 1)), float(np.clip(high, 0, 1)))
    return found


def expected_gap_of(cells: Sequence[Cell], *, share: float = 1.0) -> float | None:
    """Largest difference between sites that a model with 15 % errors at all of them would show by chance.

    Args:
        cells: of one event, a cell a site.
        share: of the images that test, in (0, 1].
    Returns:
        the expectation; None with fewer than two sites that have an image to test.
    """
    sizes = np.array([size for cell in cells if (size := round(share * cell.effective)) > 0])
    if len(sizes) < 2:
        return None
    distinct = np.unique(sizes)
    if len(distinct) * distinct.sum() <= _EXACT_CELLS:
        return float(expected_gap(sizes.tolist(), REFERENCE_RATE))
    # Of hundreds of sites of other sizes, the exact sum takes minutes; a thousand draws are within a few per cent.
    rates = np.random.default_rng(0).binomial(sizes, REFERENCE_RATE, (_DRAWS, len(sizes))) / sizes
    return float(np.ptp(rates, axis=1).mean())


def _half_width(effective: float) -> float:
    low, high = score_interval([REFERENCE_RATE], [effective], [1.0])
    return float(high - low) / 2


def _size(half_width: float | None) -> str:
    if half_width is None:
        return "empty"
    return "few" if half_width > FEW_HALF_WIDTH else "small" if half_width > WIDE_HALF_WIDTH else "enough"
