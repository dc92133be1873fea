"""Find the files that a table of images names, without ever leaving the folder of the images."""

import os
import re
from pathlib import Path

import pandas as pd

from fairpool.errors import DataError

__all__ = ["resolve_images"]


def resolve_images(
    paths: pd.Series, root: str | os.PathLike[str], column: str, *, check_files: bool = True
) -> list[str]:
    """Absolute paths below the root, each directory resolved once; all bad rows are named together.

    Args:
        paths: as they stand in the table, relative to the root; index 1 for the first row.
        root: folder of the images.
        column: name of the column.
        check_files: whether each must be a file that is there.
    Raises:
        DataError: a cell is empty or names no file, or a path or a link leaves the root.
    """
    top = os.path.realpath(root)
    folders: dict[str, str | None] = {}
    images, faults = [], []
    for row, cell in paths.items():
        text = str(cell).strip()
        # Unlike pathlib, realpath and isfile raise nothing for loops of links, long names, locked folders; but for \0.
        folder, name = os.path.split(text.replace("\\", "/")) if "\0" not in text else ("", "")
        if folder not in folders:
            resolved = os.path.realpath(os.path.join(top, folder))
            folders[folder] = resolved if Path(resolved).is_relative_to(top) else None
        parent = folders[folder]
        image = os.path.join(parent or top, name)
        if not text:
            faults.append(f'row {row}: "{column}" is empty')
        elif parent is None or os.path.isabs(text) or re.match(r"[A-Za-z]:", text) or name in ("", ".", ".."):
            faults.append(f"row {row}: path leaves the data folder or names no file")
        elif os.path.islink(image) and not Path(os.path.realpath(image)).is_relative_to(top):
            faults.append(f"row {row}: path leaves the data folder through a link")
        elif check_files and not os.path.isfile(image):
            faults.append(f"row {row}: no such file")
        images.append(image)
    if faults:
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise DataError(
            f"{len(faults)} of {len(paths)} images cannot be used: {'; '.join(faults[:10])}{more}. "
            "Paths are relative to the manifest's folder, or to --data."
        )
    return images
