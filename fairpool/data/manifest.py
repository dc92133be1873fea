"""Read a table of images: which file, which label, which site, which patient."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.checks import MAX_SITES, is_missing
from fairpool.data.manifest_columns import find_ignored, read_labels, read_patients, read_sites, read_split
from fairpool.data.manifest_paths import resolve_images
from fairpool.data.table_text import read_table
from fairpool.errors import DataError

__all__ = ["read_manifest", "read_table"]


def read_manifest(
    manifest: str | os.PathLike[str],
    *,
    image_column: str | None = "image",
    label_column: str | None = "label",
    positive: str | None = None,
    any_label: bool = False,
    site_column: str = "site",
    patient_column: str | None = None,
    split_column: str | None = None,
    root_dir: str | os.PathLike[str] | None = None,
    normalize: bool = False,
    aliases: Mapping[str, Sequence[str]] | str | os.PathLike[str] | None = None,
    ignore_label: str | int | None = None,
    max_groups: int = MAX_SITES,
    check_images: bool = True,
) -> pd.DataFrame:
    """Records of a table, one row an image.

    Args:
        manifest: CSV, TSV, parquet or JSON datalist: see `read_table`.
        image_column: path of each image, relative to ``root_dir``; where there is no column "image" by default, the
            column "path". None: no images are wanted, and the records have no ``image``.
        label_column: label of each image; None where there is none (the records then have no ``label``).
        positive: the label value that counts as 1, any other as 0; several separated by ``|``. None: labels are 0 or 1.
        any_label: keep the labels as text of any value, for what needs no 0 and 1.
        site_column: site of each image.
        patient_column: patient of each image; None is the column "patient" where there is one, and else makes every
            image a patient of its own.
        split_column: "training", "validation" or "test" for each image, also "train" and "val"; None: no split is read.
        root_dir: folder of the images; None is the manifest's own.
        normalize: join sites whose names differ in case, accents, spaces or punctuation.
        aliases: table of other spellings: see `fairpool.data.spelling.SiteSpelling`.
        ignore_label: label of rows to leave out, such as -1 for "not read yet"; several separated by ``|``.
        max_groups: most sites that are believed.
        check_images: whether each image must be a file that is there.
    Returns:
        columns ``image`` (path), ``label`` (0 or 1), ``site``, ``patient``, ``section`` (where a split is read) and
        ``row``; the index is the row, from 1. ``attrs["notes"]`` says what was joined or left out, and
        ``attrs["patients_named"]`` whether the table names patients.
    Raises:
        DataError: the table or a column is missing or malformed, or rows are bad: of every column at once, ten in full.
    """
    manifest = Path(manifest)
    table = read_table(manifest)
    if image_column == "image" and "image" not in table.columns and "path" in table.columns:
        image_column = "path"
    if patient_column is None and "patient" in table.columns:
        patient_column = "patient"
    columns = {
        "image": image_column,
        "label": label_column,
        "site": site_column,
        "patient": patient_column,
        "split": split_column,
    }
    _check_columns(table, columns)
    if table.empty:
        raise DataError("the manifest has a header but no row.")
    table.index = pd.RangeIndex(1, len(table) + 1)
    notes: list[str] = []
    if label_column is not None and ignore_label is not None:
        table = _without_ignored(table, label_column, site_column, ignore_label, notes)
    root = Path(root_dir) if root_dir is not None else manifest.parent
    faults: list[str] = []

    def collect(read: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        try:
            return read(*arguments, **options)
        except DataError as error:
            faults.append(str(error))

    records = pd.DataFrame({"row": table.index}, index=table.index)
    if image_column is not None:
        images = collect(resolve_images, table[image_column], root, image_column, check_files=check_images)
        records["image"] = images
    if label_column is not None:
        records["label"] = collect(read_labels, table[label_column], positive, label_column, any_label=any_label)
    spelling = {"normalize": normalize, "aliases": aliases}
    found = collect(read_sites, table[site_column], site_column, max_groups=max_groups, **spelling)
    if found is not None:
        records["site"] = found[0]
        notes += found[1]
    if patient_column is None:
        records["patient"] = [f"image-{row}" for row in table.index]
    else:
        records["patient"] = collect(read_patients, table[patient_column], patient_column)
    if split_column is not None:
        records["section"] = collect(read_split, table[split_column], split_column)
    if faults:
        raise DataError(" ".join(faults))
    records.attrs = {"notes": notes, "patients_named": patient_column is not None}
    return records


def _check_columns(table: pd.DataFrame, columns: Mapping[str, str | None]) -> None:
    """Refuse a table that lacks a column.

    Args:
        table: of `read_table`.
        columns: names by the option that gives them, ``"site"`` for ``--site-column``; None is not sought.
    Raises:
        DataError: naming the columns that there are, and the option.
    """
    for option, column in columns.items():
        if column is not None and column not in table.columns:
            raise DataError(
                f'the manifest has no column "{column}"; it has {", ".join(map(str, table.columns))}. '
                f"Name the right one with --{option}-column."
            )


def _without_ignored(
    table: pd.DataFrame, label_column: str, site_column: str, ignore_label: str | int, notes: list[str]
) -> pd.DataFrame:
    ignored = find_ignored(table[label_column], ignore_label)
    if ignored.all():
        raise DataError(
            f'no row is left: each of the {len(table)} has the ignored label {ignore_label!r} in "{label_column}".'
        )
    if ignored.any():
        sites = table.loc[ignored, site_column].str.strip()
        by_site = ", ".join(
            f"{site} {count}" for site, count in sorted(sites[~is_missing(sites)].value_counts().items())
        )
        notes.append(
            f'{int(ignored.sum())} of {len(table)} rows are left out for the label {ignore_label} in "{label_column}"'
            + (f" ({by_site})" if by_site else "")
        )
    return table[~ignored]
