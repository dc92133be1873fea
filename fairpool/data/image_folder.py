"""The files of a folder of images, listed once, and what is wrong with them as far as no file has to be opened."""

import os
from collections.abc import Mapping

from fairpool.errors import DataError

__all__ = ["describe_entry", "is_inside", "list_folder", "name_faults"]


def list_folder(folder: str | os.PathLike[str]) -> dict[str, "os.DirEntry[str]"]:
    """The entries of a folder by name; 200,000 take about half a second.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries}
    except OSError as error:
        reason = error.strerror or type(error).__name__
    raise DataError(f'the folder of images "{os.path.basename(folder)}" cannot be listed ({reason}).')


def is_inside(path: str | os.PathLike[str], top: str) -> bool:
    """Whether a path, all links followed, is the resolved folder ``top`` or below it."""
    resolved = os.path.realpath(path)
    return resolved == top or resolved.startswith(os.path.join(top, ""))


def describe_entry(entry: "os.DirEntry[str]", top: str) -> str | None:
    """Why an entry is no image that may be read, or None; at the cost of one ``stat``.

    Args:
        entry: of the folder of images.
        top: the data folder, resolved.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pathlib.Path(folder, "a.jpg").touch()
    ...     describe_entry(list_folder(folder)["a.jpg"], os.path.realpath(folder))
    'the file is empty'
    """
    if entry.is_symlink() and not is_inside(entry.path, top):
        return "path leaves the data folder through a link"
    try:
        if not entry.is_file():
            return "not a file but a folder or device, or a link that leads nowhere"
        return None if entry.stat().st_size else "the file is empty"
    except OSError as error:
        return f"the file cannot be looked at ({error.strerror or type(error).__name__})"


def name_faults(faults: Mapping[int, str], total: int, remedy: str, most: int = 10) -> str:
    """One message over all images that cannot be used.

    Args:
        faults: why, by row.
        total: number of images.
        remedy: what to do, a sentence.
        most: how many are named.

    >>> name_faults({7: "the file is empty"}, 60, "Leave the rows out.")
    '1 of 60 images cannot be used: row 7: the file is empty. Leave the rows out.'
    """
    named = "; ".join(f"row {row}: {fault.rstrip('.')}" for row, fault in list(faults.items())[:most])
    more = f"; and {len(faults) - most} more" if len(faults) > most else ""
    return f"{len(faults)} of {total} images cannot be used: {named}{more}. {remedy}"
