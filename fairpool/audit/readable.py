"""Which rows of a table count in an audit that reads the images: those whose image a training could read as well."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairpool.errors import DataError

__all__ = ["countable_rows"]


def countable_rows(records: pd.DataFrame, looked_at: NDArray[np.int64], faults: Mapping[int, str]) -> NDArray[np.bool_]:
    """Rows that count: not those whose image cannot be read, nor any of a site of which no image could.

    Args:
        records: columns ``site`` and ``row``, one row an image, N of them.
        looked_at: places of the images that were read, or tried; the others of a large table count as readable.
        faults: what is the matter, by index in ``looked_at``.
    Returns:
        (N,).
    Raises:
        DataError: no image could be read.

    >>> records = pd.DataFrame({"site": ["a", "a", "b"], "row": [1, 2, 3]})
    >>> countable_rows(records, np.array([0, 2]), {1: "it is empty"}).tolist()
    [True, True, False]
    """
    if faults and len(faults) == len(looked_at):
        index, reason = next(iter(faults.items()))
        first = records.iloc[looked_at[index]]
        raise DataError(
            f"none of {len(faults):,} images can be read; the first, row {first['row']} ({first['site']}): {reason}. "
            "Is --data the folder of the images? Or pass --no-images to audit the table alone."
        )
    is_read = np.ones(len(looked_at), bool)
    is_read[list(faults)] = False
    of_images = records["site"].to_numpy()[looked_at]
    lost_sites = set(of_images) - set(of_images[is_read])
    counts = ~records["site"].isin(lost_sites).to_numpy()
    counts[looked_at[~is_read]] = False
    return counts
