"""Find the files that a table of images names, without ever leaving the folder of the images.

What is asked of the file system grows with the folders, not with the images: each folder is resolved once, and read as
a list once where the table names many of its files.
"""

import os
import re
from itertools import islice
from pathlib import Path

import pandas as pd

from fairpool.errors import DataError

__all__ = ["resolve_images"]

_FEW = 16  # files of a folder that are rather asked for one by one
_LISTED = 4  # entries of a folder that are read, for each file that the table names there


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
    images = [top] * len(paths)
    faults: dict[int, str] = {}
    by_folder: dict[str, list[tuple[int, str]]] = {}
    for number, cell in enumerate(paths.tolist()):
        text = str(cell).strip()
        if not text:
            faults[number] = f'"{column}" is empty'
            continue
        # Unlike pathlib, realpath and isfile raise nothing for loops of links, long names, locked folders; but for \0.
        head, slash, name = text.replace("\\", "/").rpartition("/") if "\0" not in text else ("", "", "")
        by_folder.setdefault(head + slash, []).append((number, name))
    for folder, found in by_folder.items():
        parent = os.path.realpath(os.path.join(top, folder))
        is_outside = _is_absolute(folder) or not Path(parent).is_relative_to(top)
        plain = frozenset() if is_outside or len(found) < _FEW else _plain_files(parent, _LISTED * len(found))
        prefix = os.path.join(parent, "")
        for number, name in found:
            image = images[number] = prefix + name
            if name in plain:
                continue
            if is_outside or name in ("", ".", "..") or (not folder and _is_absolute(name)):
                faults[number] = "path leaves the data folder or names no file"
            elif os.path.islink(image) and not Path(os.path.realpath(image)).is_relative_to(top):
                faults[number] = "path leaves the data folder through a link"
            elif check_files and not os.path.isfile(image):
                faults[number] = "no such file"
    if faults:
        listed = [f"row {paths.index[number]}: {faults[number]}" for number in sorted(faults)[:10]]
        more = f"; and {len(faults) - 10} more" if len(faults) > 10 else ""
        raise DataError(
            f"{len(faults)} of {len(paths)} images cannot be used: {'; '.join(listed)}{more}. "
            "Paths are relative to the manifest's folder, or to --data."
        )
    return images


def _is_absolute(path: str) -> bool:
    return os.path.isabs(path) or re.match(r"[A-Za-z]:", path) is not None


def _plain_files(folder: str, most: int) -> frozenset[str]:
    """Names of regular files among the first entries of a folder; links are left to be followed one by one."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in islice(entries, most) if entry.is_file(follow_symlinks=False))
    except OSError:  # no folder, or a locked one: each file in it will be missed by its row
        return frozenset()
