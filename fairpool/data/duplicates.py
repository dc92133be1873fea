"""Images that occur twice: the same pixels, and nearly the same; across sites, splits and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from fairpool.data.checks import list_rows
from fairpool.data.counted import counted
from fairpool.data.hash_pairs import near_pairs
from fairpool.errors import DataError

__all__ = ["NEAR_DISTANCE", "Duplicates", "find_duplicates", "parse_hashes"]

NEAR_DISTANCE = 4
"""Bits of 64 in which two perceptual hashes (pHash) may differ; docs/how-to/own-data.md has what was measured."""


@dataclass(frozen=True)
class Duplicates:
    """What `find_duplicates` found; rows, sites, labels and splits are named, files and patients are not.

    Attributes:
        num_images: images in the table.
        num_hashed: those with a pixel hash.
        num_blank: those of one grey value, which are compared with nothing.
        split_columns: columns that hold a split.
        distance: most bits in which the hashes of a near pair differ.
        equal: images that share their pixels with another: ``group`` (from 1), ``row``, ``site``, ``label``, and the
            split columns; ``across_sites``, ``across_labels``, ``across_splits`` say it of the group.
        near: pairs of other images whose perceptual hashes are near: ``row``, ``other_row``, ``distance``, ``site``,
            ``other_site``, ``label``, ``other_label``, ``same_patient`` and the same three; nearest first.
    """

    num_images: int
    num_hashed: int
    num_blank: int
    split_columns: tuple[str, ...]
    distance: int
    equal: pd.DataFrame
    near: pd.DataFrame

    def faults(self) -> list[str]:
        """What spoils a result: the same pixels in two splits, or with two labels."""
        return [
            f"{counted(number, 'image occurs', 'images occur')} {words} with the same pixels"
            for words, column in (("in two splits", "across_splits"), ("with two labels", "across_labels"))
            if (number := self.equal["group"][self.equal[column]].nunique())
        ]

    def counts(self) -> dict[str, dict[str, int]]:
        """Groups of equal pixels and near pairs: in all, across sites, across splits, with two labels."""
        groups = self.equal.drop_duplicates("group")
        found = {}
        for name, table in (("same_pixels", groups), ("near", self.near)):
            found[name] = {"all": len(table)} | {
                key: int(table[key].sum()) for key in ("across_sites", "across_splits", "across_labels")
            }
        found["same_pixels"]["images"] = len(self.equal)
        found["near"]["same_patient"] = int(self.near["same_patient"].sum())
        return found

    def to_json(self, most: int = 1000) -> dict[str, Any]:
        """Plain values for JSON; of near pairs the nearest ``most``."""
        return {
            "images": self.num_images,
            "hashed": self.num_hashed,
            "blank": self.num_blank,
            "distance": self.distance,
            "split_columns": list(self.split_columns),
            "counts": self.counts(),
            "faults": self.faults(),
            "same_pixels": _plain(self.equal),
            "near": _plain(self.near.head(most)),
        }


def find_duplicates(
    records: pd.DataFrame, *, split_columns: Sequence[str] = (), distance: int = NEAR_DISTANCE
) -> Duplicates:
    """Find images with the same pixels, and pairs that are nearly the same.

    Args:
        records: columns ``row``, ``site``, ``patient``, ``label`` (any text), ``pixel_hash``, ``perceptual_hash`` (64
            bits as 16 hexadecimal digits) and those of ``split_columns``; an empty cell is not compared.
        split_columns: columns that hold a split.
        distance: most bits in which near images' hashes differ, 0 to 11.
    Raises:
        DataError: a perceptual hash is none.
        ValueError: ``distance`` is out of range.

    >>> records = pd.DataFrame(
    ...     {"row": [1, 2, 3], "site": ["x", "y", "y"], "patient": ["a", "b", "c"], "label": ["0", "0", "1"],
    ...      "pixel_hash": ["p", "p", "q"], "perceptual_hash": ["0123456789abcdef"] * 2 + ["0123456789abcdee"]}
    ... )
    >>> found = find_duplicates(records)
    >>> found.equal["row"].tolist(), found.near[["row", "other_row", "distance"]].values.tolist()
    ([1, 2], [[1, 3, 1], [2, 3, 1]])
    """
    records = records.reset_index(drop=True)
    hashes, has_hash = parse_hashes(records["perceptual_hash"], records["row"])
    # The pHash of one grey value has no bit but the first: blank images are alike, whoever was in front of them.
    is_blank = has_hash & (np.bitwise_count(hashes) <= 1)
    splits = list(split_columns)
    shown = ["row", "site", "label", *splits]
    names = ["site", "label", *splits]
    coded = pd.DataFrame({name: pd.factorize(records[name].replace("", pd.NA))[0] for name in names})

    pixels = records["pixel_hash"]
    equal = records[(pixels != "") & ~is_blank & pixels.where(~is_blank, "").duplicated(keep=False)]
    equal = equal.assign(group=equal.groupby("pixel_hash", sort=False).ngroup() + 1)
    for name, columns in (("sites", ["site"]), ("labels", ["label"]), ("splits", splits)):
        differ = [
            coded.loc[equal.index, column].where(lambda codes: codes >= 0).groupby(equal["group"]).transform("nunique")
            > 1
            for column in columns
        ]
        equal[f"across_{name}"] = np.logical_or.reduce(differ) if differ else False
    flags = ["across_sites", "across_labels", "across_splits"]
    equal = equal.sort_values(["group", "row"])[["group", *shown, *flags]].reset_index(drop=True)

    compared = np.flatnonzero(has_hash & ~is_blank)
    pairs = near_pairs(hashes[compared], distance)
    first, second = compared[pairs.first], compared[pairs.second]
    pixel_codes = pd.factorize(pixels)[0]
    is_other = (pixel_codes[first] != pixel_codes[second]) | (pixels.to_numpy()[first] == "")
    first, second, bits = first[is_other], second[is_other], pairs.distance[is_other]
    order = np.argsort(bits, kind="stable")
    first, second, bits = first[order], second[order], bits[order]
    near = pd.DataFrame({"row": records["row"].to_numpy()[first], "other_row": records["row"].to_numpy()[second]})
    near["distance"] = bits
    for column in shown[1:]:
        values = records[column].to_numpy()
        near[column], near[f"other_{column}"] = values[first], values[second]
    patients = pd.factorize(records["patient"])[0]
    near["same_patient"] = patients[first] == patients[second]
    for name, columns in (("sites", ["site"]), ("labels", ["label"]), ("splits", splits)):
        near[f"across_{name}"] = False
        for column in columns:
            one, other = coded[column].to_numpy()[first], coded[column].to_numpy()[second]
            near[f"across_{name}"] |= (one != other) & (one >= 0) & (other >= 0)
    return Duplicates(
        num_images=len(records),
        num_hashed=int((pixels != "").sum()),
        num_blank=int(is_blank.sum()),
        split_columns=tuple(splits),
        distance=distance,
        equal=equal,
        near=near,
    )


def parse_hashes(texts: pd.Series, rows: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Perceptual hashes as numbers, and which cells hold one.

    Args:
        texts: 16 hexadecimal digits each, or empty.
        rows: what a message calls them.
    Returns:
        uint64 (0 where empty) and bool, both of shape (N,).
    Raises:
        DataError: a cell is something else.
    """
    text = texts.fillna("").str.strip()
    has_hash = (text != "").to_numpy()
    bad = has_hash & ~text.str.fullmatch("[0-9a-fA-F]{16}").to_numpy(dtype=bool)
    if bad.any():
        raise DataError(
            f'{counted(int(bad.sum()), "row has", "rows have")} another "perceptual_hash" than 16 hexadecimal digits '
            f"({list_rows(rows[bad].tolist())}). Drop the column, and the images are read instead."
        )
    raw = bytes.fromhex("".join(text.where(has_hash, "0" * 16)))
    return np.frombuffer(raw, dtype=">u8").astype(np.uint64), has_hash


def _plain(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
