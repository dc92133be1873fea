"""What a table of images must be, as a pandera schema; every fault of a table is found in one pass."""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from fairpool.data.checks import check_spellings, is_missing, list_rows
from fairpool.data.counted import counted
from fairpool.data.manifest_paths import resolve_images
from fairpool.data.splits import SECTIONS
from fairpool.data.vocabulary import UNKNOWN_NAME
from fairpool.errors import DataError

if TYPE_CHECKING:
    import pandera.pandas as pa

__all__ = ["FORMATS", "manifest_schema", "validate_manifest"]

FORMATS = ("dicom", "nifti", "png", "jpeg")
"""What the column ``format`` may say."""

_SPLITS = {"", *SECTIONS, "train", "val"}
_SHOWN = 3
_QUOTED = {"format", "shape", "spacing", "split"}  # their wrong values may be shown: they name nobody
_TEXT_RULES = {
    "shape": (r"[1-9]\d*(x[1-9]\d*)+", 'is not rows x columns, such as "512x512"'),
    "spacing": (r"(\d+(\.\d+)?(e-?\d+)?(x\d+(\.\d+)?(e-?\d+)?)*)?", 'is not mm x mm, such as "0.5x0.5"'),
    "pixel_hash": (r"([0-9a-fA-F]{64})?", "is no SHA-256 of 64 hexadecimal digits"),
    "perceptual_hash": (r"([0-9a-fA-F]{16})?", "is not 64 bits as 16 hexadecimal digits"),
}


def manifest_schema(columns: list[str], labels: list[str] | None = None) -> "pa.DataFrameSchema":
    """The pandera schema of a table of images, as `read_table` gives it: all text.

    Args:
        columns: of the table. ``site``, and ``image`` or ``path``, must be there; rules for others hold where they are.
        labels: values that ``label`` may have; None: any but an empty one.
    """
    import pandera.pandas as pa

    image = "image" if "image" in columns else "path"
    rules: dict[str, list[pa.Check]] = {
        image: [
            pa.Check(lambda cells: cells.str.strip() != "", error="is empty"),
            pa.Check(lambda cells: ~cells.str.strip().duplicated(keep=False), error="names one file more than once"),
        ],
        "site": [pa.Check(lambda cells: ~is_missing(cells), error="is empty")],
    }
    optional: dict[str, list[pa.Check]] = {
        "patient": [pa.Check(lambda cells: ~is_missing(cells), error="is empty")],
        "label": [pa.Check(lambda cells: ~is_missing(cells), error="is empty")],
        "format": [pa.Check(lambda cells: cells.isin(FORMATS), error=f"is not one of {', '.join(FORMATS)}")],
    }
    if labels is not None:
        wanted = ", ".join(labels)
        check = pa.Check(
            lambda cells: cells.str.strip().isin(labels) | is_missing(cells), error=f"is not one of {wanted}"
        )
        optional["label"].append(check)
    for name, (pattern, words) in _TEXT_RULES.items():
        optional[name] = [pa.Check.str_matches(rf"\A(?:{pattern})\Z", error=words)]
    for name in _split_columns(columns):
        known = pa.Check(
            lambda cells: cells.str.strip().str.lower().isin(_SPLITS), error=f"is not one of {', '.join(SECTIONS)}"
        )
        optional[name] = [known]
    rules |= {name: checks for name, checks in optional.items() if name in columns}
    return pa.DataFrameSchema({name: pa.Column(object, checks) for name, checks in rules.items()})


def validate_manifest(
    table: pd.DataFrame,
    *,
    root_dir: str | os.PathLike[str] | None = None,
    labels: list[str] | None = None,
    check_files: bool = True,
) -> list[str]:
    """Check a table of images by `manifest_schema`, and that its files lie in their folder and its splits are disjoint.

    Args:
        table: of `read_table`.
        root_dir: folder that the paths are relative to; None leaves the files alone.
        labels: values that ``label`` may have; None: any but an empty one.
        check_files: whether each image must be there; otherwise only that its path does not leave the folder.
    Returns:
        warnings: what can be so, and seldom is meant, such as a single site.
    Raises:
        DataError: the faults, each with its rows, all in one sentence.

    >>> table = pd.DataFrame({"path": ["a.png", "a.png"], "site": ["bern", ""], "shape": ["64x64", "64"]})
    >>> validate_manifest(table)  # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
        ...
    fairpool.errors.DataError: the manifest has 3 faults: "path" names one file more than once (rows 1 (bern), 2);
    "shape" is not rows x columns, such as "512x512": '64' (row 2); "site" is empty (row 2). Mend them in the table, or
    build it again.
    """
    table = table.set_axis(pd.RangeIndex(1, len(table) + 1)).astype(object)
    columns = [str(name) for name in table.columns]
    absent = [*(["path"] if not {"path", "image"} & set(columns) else []), *({"site"} - set(columns))]
    if absent:
        raise DataError(f'the manifest has no column "{absent[0]}"; it has {", ".join(columns)}. Rename one of them.')
    if table.empty:
        raise DataError("the manifest has a header but no row.")
    faults = _schema_faults(table, manifest_schema(columns, labels))
    faults += [fault for name in _split_columns(columns) if (fault := _shared_patients(table, name))]
    if root_dir is not None:
        image = "image" if "image" in columns else "path"
        try:
            resolve_images(table[image], Path(root_dir), image, check_files=check_files)
        except DataError as error:
            faults.append(str(error).rstrip("."))
    try:
        check_spellings(table["site"][~is_missing(table["site"])].str.strip(), '"site"')
    except DataError as error:
        faults.append(str(error).rstrip("."))
    if faults:
        number = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise DataError(f"the manifest has {number}: {'; '.join(faults)}. Mend them in the table, or build it again.")
    return _list_warnings(table)


def _schema_faults(table: pd.DataFrame, schema: "pa.DataFrameSchema") -> list[str]:
    from pandera.errors import SchemaErrors

    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        # Outside `except`: pandera's message quotes the cells, paths among them.
        cases = error.failure_cases
    else:
        return []
    faults = []
    for (column, words), found in cases.groupby(["column", "check"], sort=True):
        rows = sorted(int(row) for row in found["index"])
        values = list(dict.fromkeys(str(value) for value in found["failure_case"]))[:_SHOWN]
        is_quoted = str(column).split("_")[0] in _QUOTED or (column == "label" and words != "is empty")
        shown = f": {', '.join(repr(value[:40]) for value in values)}" if is_quoted else ""
        faults.append(f'"{column}" {words}{shown} ({_name_rows(rows, table)})')
    return faults


def _name_rows(rows: list[int], table: pd.DataFrame) -> str:
    sites = table["site"].astype(str).str.strip()
    return list_rows([f"{row} ({sites[row]})" if sites[row] else str(row) for row in rows])


def _shared_patients(table: pd.DataFrame, column: str) -> str | None:
    """The fault of a split that has one patient in two sections."""
    if "patient" not in table:
        return None
    sections = table[column].str.strip().str.lower().replace({"train": "training", "val": "validation"})
    known = sections.isin(SECTIONS) & ~is_missing(table["patient"])
    several = sections[known].groupby(table["patient"][known]).nunique() > 1
    number = int(several.sum())
    if not number:
        return None
    rows = table.index[known & table["patient"].isin(several.index[several])].tolist()
    return f'"{column}" has {counted(number, "patient")} in more than one section ({_name_rows(rows, table)})'


def _list_warnings(table: pd.DataFrame) -> list[str]:
    found = []
    sites = table["site"].str.strip()
    known = sites[sites != UNKNOWN_NAME]
    if known.nunique() < 2:
        only = f'only one site, "{known.iloc[0]}" ({counted(len(known), "row")})' if len(known) else "no site is known"
        found.append(f"{only}: a fairness constraint needs at least 2")
    if len(known) < len(sites):
        unknown = counted(len(sites) - len(known), "image is", "images are")
        found.append(f'{unknown} of site "{UNKNOWN_NAME}": no constraint reaches them')
    if "label" in table:
        labels = table["label"].str.strip()
        if labels.nunique() < 2:
            found.append(f'every row has the label "{labels.iloc[0]}": there is nothing to tell apart')
    if "patient" not in table:
        found.append('no column "patient": every image counts as a patient of its own, so splits may share patients')
    else:
        counts = known.groupby(table["patient"].str.strip()).nunique()
        if (counts > 1).any():
            number = counted(int((counts > 1).sum()), "patient has", "patients have")
            found.append(f"{number} images at several sites")
    return found


def _split_columns(columns: list[str]) -> list[str]:
    return [name for name in columns if re.fullmatch(r"split(_.+)?", name)]
