"""What a table or a header says of each image beside its pixels, as features: which scanner, which shape, which age."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from fairpool.data.checks import is_missing
from fairpool.errors import DataError

__all__ = ["KNOWN_COLUMNS", "metadata_features", "refuse_roles", "roles_of"]

KNOWN_COLUMNS = ("format", "shape", "spacing", "photometric", "scanner")
"""Columns that `fairpool manifest build` writes and that are metadata of the image."""

_MOST_VALUES = 0.5
"""A column of text with more distinct values than this share of the rows names images, not kinds of images."""

_NUMERIC_SHARE = 0.95

_NUMBERED_SHARE = 0.9
"""A column of whole numbers with more distinct values than this share of its cells numbers the rows."""

_FEWEST_NUMBERED = 20


def roles_of(columns: Mapping[str, Any]) -> dict[str, str]:
    """What a table's columns stand for, by their names.

    Args:
        columns: options of `fairpool.data.manifest.read_manifest`, whose defaults stand for those that are not there.

    >>> roles_of({"site_column": "hospital", "patient_column": None})
    {'image': 'image', 'path': 'image', 'label': 'label', 'patient': 'patient', 'hospital': 'site'}
    """
    image = columns.get("image_column") or "image"
    roles = dict.fromkeys(["image", "path"] if image == "image" else [str(image)], "image")
    for role in ("label", "patient", "site"):
        roles[str(columns.get(f"{role}_column") or role)] = role
    return roles


def refuse_roles(wanted: Sequence[str], roles: Mapping[str, str]) -> None:
    """Refuse metadata columns that are the site, the label, the patient or the file: they tell everything.

    Args:
        wanted: names of columns.
        roles: of `roles_of`.
    Raises:
        DataError: naming the first such column.
    """
    for name in wanted:
        if name in roles:
            raise DataError(
                f'"{name}" is the column of the {roles[name]}, from which site or label would be told without meaning. '
                "Take it out of --metadata-columns."
            )


def metadata_features(table: pd.DataFrame, columns: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    """Metadata columns as features.

    Args:
        table: text, as `fairpool.data.manifest.read_table` gives it.
        columns: those to take.
    Returns:
        numeric columns (float64, NaN where a cell is empty or no number) and text columns (object, None where empty);
        ``shape`` and ``spacing`` become numbers, one a dimension, and the aspect. And sentences on columns left out.
    Raises:
        DataError: a column is not there.

    >>> features, _ = metadata_features(pd.DataFrame({"shape": ["512x256"], "age": ["041"]}), ["shape", "age"])
    >>> features.iloc[0].to_dict()
    {'shape 1': 512.0, 'shape 2': 256.0, 'shape 3': nan, 'age': 41.0}
    """
    absent = [name for name in columns if name not in table]
    if absent:
        raise DataError(
            f'the manifest has no column "{absent[0]}"; it has {", ".join(map(str, table.columns))}. '
            "Name the right one with --metadata-columns."
        )
    features: dict[str, pd.Series] = {}
    notes = []
    for name in columns:
        text = table[name].astype(str).str.strip()
        text = text.where(~is_missing(text))
        number = int(text.nunique())
        if number == 0:
            notes.append(f'the metadata column "{name}" is empty')
        elif name in ("shape", "spacing"):
            parts = text.str.split("x", expand=True).reindex(columns=range(3))
            for axis in range(3):
                features[f"{name} {axis + 1}"] = pd.to_numeric(parts[axis], errors="coerce")
        elif pd.to_numeric(text, errors="coerce").notna().sum() >= _NUMERIC_SHARE * text.notna().sum():
            values = pd.to_numeric(text, errors="coerce").astype(float)
            values = values.where(np.isfinite(values))
            if _numbers_rows(values):
                notes.append(f'the metadata column "{name}" is left out: its {number:,} whole numbers number the rows')
            else:
                features[name] = values
        elif number > _MOST_VALUES * len(text) and number > _FEWEST_NUMBERED:
            notes.append(f'the metadata column "{name}" is left out: its {number:,} values name the rows')
        else:
            features[name] = text.astype(object).where(text.notna(), None)
    return pd.DataFrame(features, index=table.index), notes


def _numbers_rows(values: pd.Series) -> bool:
    there = values.dropna()
    is_whole = bool((there == there.round()).all())
    return is_whole and there.nunique() > max(_FEWEST_NUMBERED, _NUMBERED_SHARE * len(there))
