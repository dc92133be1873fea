"""Patient-disjoint training, validation and test sections, stratified by site and label."""

import numpy as np
import pandas as pd

__all__ = ["SECTIONS", "split_by_patient"]

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

    A patient belongs to the stratum of its first record's site and of its highest label. Within a stratum, patients
    are drawn in random order and cut at the rounded fractions, so every section has the pool's mix as nearly as whole
    patients allow.

    Args:
        records: columns ``patient``, ``site``, ``label``, one row an image.
        seed: of the split; with ``num_folds``, fold ``seed % num_folds`` of the folds drawn from ``seed // num_folds``.
        val_frac: fraction of all patients that validates.
        test_frac: fraction of all patients that tests; 0 where the test set comes from elsewhere.
        num_folds: if positive, the test section is one of this many cross-validation folds, and ``test_frac`` is unused.
    Returns:
        "training", "validation" or "test" by record, in the index of ``records``.
    Raises:
        ValueError: fractions are out of range, or ``num_folds`` is 1 or negative.

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
    fold = seed % num_folds if num_folds else 0
    rng = np.random.default_rng(seed // num_folds if num_folds else seed)

    patients = records.groupby("patient", sort=True).agg(site=("site", "first"), label=("label", "max"))
    section = pd.Series("training", index=patients.index)
    first_fold = 0
    for _, stratum in patients.groupby(["site", "label"], sort=True):
        order = stratum.index.to_numpy()[rng.permutation(len(stratum))]
        if num_folds:
            folds = (np.arange(len(order)) + first_fold) % num_folds
            first_fold += len(order)  # small strata start where the last one ended, so that no fold gets all of them
            is_test = folds == fold
        else:
            is_test = np.arange(len(order)) < round(test_frac * len(order))
        rest = order[~is_test]
        section[order[is_test]] = "test"
        section[rest[: round(val_frac * len(order))]] = "validation"
    return records["patient"].map(section).rename("section")
