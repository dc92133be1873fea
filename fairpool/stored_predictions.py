"""What a run keeps of its predictions, read back and checked."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fairpool.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_predictions"]

_FILE = "predictions.parquet"
_COLUMNS = ("site", "split", "label", "probability")


def read_predictions(path: str | os.PathLike[str]) -> "pd.DataFrame":
    """The stored predictions of a run.

    Only the parquet format is read, and of it only the named columns: nothing is unpickled, and patients stay unread.

    Args:
        path: a run's folder, or its ``predictions.parquet``.
    Returns:
        columns ``site`` (text), ``split`` (text), ``label`` (0 or 1, int64) and ``probability`` of label 1 (in [0, 1],
        float64), one row a case.
    Raises:
        DataError: there is no such file, it is no parquet file, a column is missing, or a cell is empty or out of range;
            the message gives how many rows and the first of them, counted from 1.

    >>> read_predictions("nowhere.parquet")
    Traceback (most recent call last):
        ...
    fairpool.errors.DataError: there is no file "nowhere.parquet". Give a finished run's folder, or its predictions.parquet.
    """  # noqa: E501
    import pyarrow
    import pyarrow.parquet

    file = Path(path)
    if file.is_dir():
        if not (file / _FILE).is_file():
            raise DataError(f'there is no {_FILE} in the folder "{file.name}"; a run leaves it when it is finished.')
        file = file / _FILE
    if not file.is_file():
        raise DataError(f'there is no file "{file.name}". Give a finished run\'s folder, or its {_FILE}.')
    try:
        with pyarrow.parquet.ParquetFile(file) as content:
            missing = [column for column in _COLUMNS if column not in content.schema_arrow.names]
            if missing:
                raise DataError(
                    f'"{file.name}" has no column {", ".join(missing)}; it has '
                    f"{', '.join(content.schema_arrow.names) or 'none'}. Needed are {', '.join(_COLUMNS)}."
                )
            table = content.read(columns=list(_COLUMNS)).to_pandas(ignore_metadata=True)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f'"{file.name}" is not a parquet file, or is damaged. Give the {_FILE} of a run.') from error
    return _checked(table, file.name)


def _checked(table: "pd.DataFrame", name: str) -> "pd.DataFrame":
    import pandas as pd

    for column in ("site", "split"):
        _refuse(table[column].isna(), name, f"no {column}", "Drop these rows, or name it")
    label, probability = (pd.to_numeric(table[column], errors="coerce") for column in ("label", "probability"))
    _refuse(~label.isin([0, 1]), name, "a label other than 0 and 1", "Encode the labels, and drop what has none")
    _refuse(probability.isna(), name, "no probability (empty, or NaN)", "Score these cases again, or drop them")
    _refuse(~probability.between(0, 1), name, "a probability outside 0..1", "Store probabilities, not logits")
    return pd.DataFrame(
        {
            "site": table["site"].astype(str),
            "split": table["split"].astype(str),
            "label": label.astype("int64"),
            "probability": probability.astype("float64"),
        }
    )


def _refuse(is_bad: "pd.Series", name: str, what: str, remedy: str) -> None:
    if is_bad.any():
        first = int(is_bad.to_numpy().argmax()) + 1
        raise DataError(
            f'"{name}": {int(is_bad.sum())} of {len(is_bad)} rows have {what}, first row {first}. {remedy}.'
        )
