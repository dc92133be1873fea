"""The text files that come with CelebA: attributes, partition, identities."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fairpool.data.checks import list_rows
from fairpool.errors import DataError

__all__ = ["read_attributes", "read_pairs"]


def read_attributes(file: Path, attributes: Sequence[str]) -> pd.DataFrame:
    """``name`` and the attributes as 0 and 1, int8, index 1 for the first image.

    Args:
        file: ``list_attr_celeba.txt``.
        attributes: their names, which may stand in the file in another order.
    Raises:
        DataError: a line is not what the format says.
    """
    with file.open(encoding="utf-8-sig", errors="replace") as text:
        count, names = text.readline().strip(), text.readline().split()
    if not count.isdecimal():
        raise DataError(f'line 1 of list_attr_celeba.txt must be the number of images, got "{count[:20]}".')
    if set(names) != set(attributes) or len(names) != len(attributes):
        strange = [name for name in names if name not in attributes] or ["a name twice or none"]
        lacking = [name for name in attributes if name not in names] or ["none"]
        raise DataError(
            f"line 2 of list_attr_celeba.txt must name the 40 attributes; it has {len(names)} names, unknown: "
            f"{', '.join(strange[:5])}; missing: {', '.join(lacking[:5])}."
        )
    table = _read_columns(file, ["name", *names], skip=2, what="attribute")
    values = table[names]
    numbers = values.apply(pd.to_numeric, errors="coerce")  # a column with one strange cell was read as text
    wrong = ~numbers.isin((-1, 1))
    if wrong.to_numpy().any():
        rows = wrong.any(axis=1)
        column = next(name for name in names if wrong[name].any())
        found = str(values[column][wrong[column]].iloc[0])
        raise DataError(
            f"{int(rows.sum())} images have an attribute other than -1 and 1 ({list_rows(table.index[rows])}), such as "
            f'{column}: "{found[:20]}".'
        )
    if len(table) != int(count):
        raise DataError(
            f"list_attr_celeba.txt announces {count} images in line 1 and lists {len(table)}: it is cut off, or was "
            "edited."
        )
    table[names] = (numbers == 1).astype("int8")
    return table[["name", *attributes]].astype(dict.fromkeys(attributes, "int8"))


def read_pairs(file: Path, what: str) -> pd.Series:
    """Whole number of each image, by its name.

    Args:
        file: the partition or the identities.
        what: the word for the file in messages.
    Raises:
        DataError: a line is not what the format says.
    """
    table = _read_columns(file, ["name", "number"], skip=0, what=what)
    number = pd.to_numeric(table["number"], errors="coerce")
    bad = number.isna() | (number % 1 != 0) | (number < 0)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} lines of the {what} file hold no whole number ({list_rows(table.index[bad])})."
        )
    return pd.Series(number.astype("int64").to_numpy(), index=table["name"])


def _read_columns(file: Path, columns: list[str], *, skip: int, what: str) -> pd.DataFrame:
    """Columns separated by white space; index 1 for the first line after those skipped."""
    try:
        # One column more than there may be: it shows the lines that are too long.
        table = pd.read_csv(
            file,
            sep=r"\s+",
            header=None,
            names=[*columns, "surplus"],
            index_col=False,
            skiprows=skip,
            quoting=3,
            encoding="utf-8-sig",
            encoding_errors="replace",
        )
    except pd.errors.ParserError:
        raise DataError(f"a line of the {what} file has more than {len(columns)} columns; it is damaged.") from None
    except pd.errors.EmptyDataError:
        raise DataError(f"the {what} file lists no image.") from None
    table.index = pd.RangeIndex(1, len(table) + 1)
    ragged = table["surplus"].notna() | table[columns[-1]].isna()
    if ragged.any():
        raise DataError(
            f"{int(ragged.sum())} lines of the {what} file do not have {len(columns)} columns "
            f"({list_rows(table.index[ragged])}): it is cut off or damaged."
        )
    names = table["name"].astype(str)
    foreign = ~names.str.fullmatch(r"\d+\.(?:jpg|png)")
    if foreign.any():
        raise DataError(
            f"{int(foreign.sum())} lines of the {what} file do not begin with an image such as 000001.jpg "
            f"({list_rows(table.index[foreign])})."
        )
    twice = names.duplicated()
    if twice.any():
        raise DataError(f"{int(twice.sum())} images stand twice in the {what} file ({list_rows(table.index[twice])}).")
    return table.drop(columns="surplus").assign(name=names)
