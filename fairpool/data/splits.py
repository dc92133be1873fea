"""Patient-disjoint training, validation and test sections, stratified by site and label."""

import math
from itertools import combinations

import numpy as np
import pandas as pd

from fairpool.data.checks import list_rows
from fairpool.errors import DataError

__all__ = ["SECTIONS", "check_split", "split_by_patient"]

SECTIONS = ("training", "validation", "test")


def split_by_patient(
    records: pd.DataFrame,
    *,
    seed: int = 0,
    val_frac: float = 0.1,
    test_frac: float = 0.25,
    num_folds: int = 0,
) -> pd.Series:
    """Section of each record; no patient is in two.

    A patient belongs to the stratum of its site (the first in the alphabet, of several) and of its highest label. The
    strata are laid end to end, their patients in random order, and from a random start every so many-th patient is held
    out. So a section has its fraction of the pool, and of each stratum to within one patient (validation: of those not
    tested), however small the strata. The order of the records does not matter.

    Args:
        records: columns ``patient``, ``site``, ``label``, one row an image.
        seed: of the split; with ``num_folds``, fold ``seed % num_folds`` of the folds drawn from ``seed // num_folds``.
        val_frac: fraction of all patients that validates.
        test_frac: fraction of all patients that tests; 0 where the test set comes from elsewhere.
        num_folds: if positive, the test section is one of this many cross-validation folds; ``test_frac`` is unused.
    Returns:
        "training", "validation" or "test" by record, in the index of ``records``.
    Raises:
        ValueError: fractions are out of range, ``num_folds`` is 1, negative, or more than there are patients, or a cell
            is empty.

    >>> records = pd.DataFrame({"patient": list("abcd"), "site": ["x"] * 4, "label": [0] * 4})
    >>> sorted(split_by_patient(records, val_frac=0.25, test_frac=0.25))
    ['test', 'training', 'training', 'validation']
    """
    if num_folds < 0 or num_folds == 1:
        raise ValueError(f"num_folds must be 0 (one split) or at least 2, got {num_folds}.")
    if num_folds:
        test_frac = 1 / num_folds
    if not 0 <= val_frac < 1 or not 0 <= test_frac < 1 or val_frac + test_frac >= 1:
        raise ValueError(f"val_frac and test_frac must leave patients to train on; got {val_frac} and {test_frac}.")
    empty = records[["patient", "site", "label"]].isna().any(axis=1)
    if empty.any():
        raise ValueError(f"{int(empty.sum())} of {len(records)} records have no patient, site or label. Drop them.")
    rng = np.random.default_rng(seed // num_folds if num_folds else seed)

    # By their places in the alphabet: the smallest text of each group would be sought in Python.
    coded = pd.DataFrame({name: pd.factorize(records[name], sort=True)[0] for name in ("site", "label")})
    coded = coded.assign(patient=records["patient"].to_numpy())
    patients = coded.groupby("patient", sort=True).agg(site=("site", "min"), label=("label", "max"))
    if num_folds > len(patients) > 0:
        raise ValueError(
            f"num_folds is {num_folds}, but there are only {len(patients)} patients to test in turn: a fold needs at "
            "least one, and many for an estimate at every site; 5 or 10 folds are usual."
        )
    strata = (stratum.index.to_numpy() for _, stratum in patients.groupby(["site", "label"], sort=True))
    drawn = [stratum[rng.permutation(len(stratum))] for stratum in strata]
    order = np.concatenate([np.array([], dtype=object), *drawn])
    if num_folds:
        is_test = np.arange(len(order)) % num_folds == seed % num_folds
    else:
        is_test = _choose(test_frac, len(order), rng)
    rest = order[~is_test]
    section = pd.Series("training", index=patients.index)
    section[order[is_test]] = "test"
    section[rest[_choose(val_frac / (1 - test_frac), len(rest), rng)]] = "validation"
    return records["patient"].map(section).rename("section")


def check_split(records: pd.DataFrame) -> None:
    """Refuse a split that came with the records where it names another section or parts a patient's images.

    Args:
        records: columns ``patient`` and ``section``; index 1 for the first row.
    Raises:
        DataError: a section is none of ``SECTIONS``, or patients are in two; the message counts them by pair.
    """
    bad = ~records["section"].isin(SECTIONS)
    if bad.any():
        found = ", ".join(repr(value) for value in records["section"][bad].unique()[:5])
        raise DataError(
            f"{int(bad.sum())} of {len(records)} rows are in no section ({list_rows(records.index[bad])}): expected "
            f"{', '.join(SECTIONS)}, found {found}."
        )
    patients = {section: set(rows["patient"]) for section, rows in records.groupby("section")}
    shared = [
        f"{count} in {first} and {second}"
        for first, second in combinations(SECTIONS, 2)
        if (count := len(patients.get(first, set()) & patients.get(second, set())))
    ]
    if shared:
        raise DataError(f"patients are in two sections: {', '.join(shared)}. Split by patient (fairpool split).")


def _choose(fraction: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """A mask with the rounded fraction of True in all, at even distances from a random start."""
    number = math.floor(fraction * count + 0.5)
    return np.diff(np.floor(number * np.arange(count + 1) / max(count, 1) + rng.random())) > 0
