"""Splits as columns of a table: one split, cross-validation folds, or each site left out in turn."""

import pandas as pd

from fairpool.data.counted import counted
from fairpool.data.splits import SECTIONS, split_by_patient
from fairpool.data.vocabulary import UNKNOWN_NAME, SiteVocabulary
from fairpool.errors import DataError

__all__ = ["fold_columns", "leave_one_site_out"]


def fold_columns(
    records: pd.DataFrame,
    *,
    num_folds: int = 0,
    seed: int = 0,
    val_frac: float = 0.1,
    test_frac: float = 0.25,
) -> pd.DataFrame:
    """The split of each record, or one column for each fold of a cross-validation.

    Args:
        records: columns ``patient``, ``site``, ``label``, one row an image.
        num_folds: 0 gives the column ``split``; else ``split_0``, ``split_1``...; each patient tests in one of them.
        seed: of the draw.
        val_frac: fraction of all patients that validates.
        test_frac: fraction of all patients that tests; with folds it is unused.
    Returns:
        "training", "validation" or "test" by record and column, in the index of ``records``.
    Raises:
        DataError: a section is empty.
        ValueError: see `split_by_patient`.

    >>> records = pd.DataFrame({"patient": list("abcd"), "site": list("xxyy"), "label": 0})
    >>> columns = fold_columns(records, num_folds=2, val_frac=0.25)
    >>> (columns == "test").sum(axis=1).tolist()
    [1, 1, 1, 1]
    """
    if num_folds:
        splits = {
            f"split_{fold}": split_by_patient(
                records, seed=seed * num_folds + fold, num_folds=num_folds, val_frac=val_frac
            )
            for fold in range(num_folds)
        }
    else:
        splits = {"split": split_by_patient(records, seed=seed, val_frac=val_frac, test_frac=test_frac)}
    columns = pd.DataFrame(splits, index=records.index)
    _check_sections(columns, records)
    return columns


def leave_one_site_out(
    records: pd.DataFrame, *, seed: int = 0, val_frac: float = 0.1
) -> tuple[pd.DataFrame, list[str]]:
    """One column a site: it tests, the patients of the others train and validate; "unknown" is none.

    A patient who was seen at several sites goes with the site that is left out, with all images; else the training
    would know the patient.

    Args:
        records: columns ``patient``, ``site``, ``label``, one row an image.
        seed: of the draw of those that validate.
        val_frac: their fraction of the patients who do not test.
    Returns:
        the columns ``split_<slug of the site>``, in the index of ``records``; and sentences for the user: patients who
        moved, what cannot be trained so.
    Raises:
        DataError: fewer than two sites, or a section is empty.
        ValueError: ``val_frac`` is out of range.

    >>> records = pd.DataFrame({"patient": list("abcdef"), "site": list("xxyyzz"), "label": 0})
    >>> leave_one_site_out(records, val_frac=0.25)[0]["split_x"].tolist()[:2]
    ['test', 'test']
    """
    vocabulary = SiteVocabulary.from_sites(records["site"])
    if len(vocabulary) < 2:
        found = f'found only "{vocabulary.names[0]}"' if len(vocabulary) else "found none"
        raise DataError(f"to leave one site out there must be at least 2; {found} ({len(records)} rows).")
    splits, moved = {}, []
    for name, slug in zip(vocabulary.names, vocabulary.slugs(), strict=True):
        is_of_site = records["site"] == name
        is_test = records["patient"].isin(records["patient"][is_of_site])
        rest = split_by_patient(records[~is_test], seed=seed, val_frac=val_frac, test_frac=0)
        splits[f"split_{slug}"] = rest.reindex(records.index, fill_value="test")
        if (is_test & ~is_of_site).any():
            moved.append(f"{int((is_test & ~is_of_site).sum())} with {name}")
    columns = pd.DataFrame(splits, index=records.index)
    _check_sections(columns, records)
    notes = []
    if number := int((records["site"] == UNKNOWN_NAME).sum()):
        notes.append(f'no column leaves out the site "{UNKNOWN_NAME}" ({counted(number, "image")})')
    if moved:
        several = int((records.groupby("patient")["site"].nunique() > 1).sum())
        notes.append(
            f"{counted(several, 'patient was', 'patients were')} seen at several sites; all their images test where "
            f"one of these is left out. Images of other sites that test: {', '.join(moved)}"
        )
    if len(vocabulary) == 2:
        notes.append(
            "with 2 sites one is left to train on: no constraint between sites can be trained so, only a plain model"
        )
    return columns, notes


def _check_sections(columns: pd.DataFrame, records: pd.DataFrame) -> None:
    for name in columns:
        missing = [section for section in SECTIONS if not (columns[name] == section).any()]
        if missing:
            raise DataError(
                f'the {" and the ".join(missing)} section of "{name}" would be empty: '
                f"{records['patient'].nunique()} patients are too few for these fractions."
            )
