"""Paths and names of files as text, in the one form in which they are compared."""

import os
import posixpath
import re
from pathlib import PurePath

from fairpool.errors import DataError

__all__ = ["path_below", "strip_ending", "tidy_path"]

_ENDING = re.compile(r"(\.(nii|img|tar)\.gz|\.ome\.tiff?|\.[A-Za-z][A-Za-z0-9]{0,7})$", re.IGNORECASE)


def path_below(path: str, root_dir: str | os.PathLike[str] | None) -> str:
    """A path with ``/`` between its folders, and below the root where there is one.

    Args:
        path: as `open` would take it; links are not followed.
        root_dir: None keeps the path as it is.
    Raises:
        DataError: the path does not lie below the root. Neither is in the message.

    >>> path_below("/data/bern/../basel/1.png", "/data"), path_below("bern/1.png", None)
    ('basel/1.png', 'bern/1.png')
    """
    if root_dir is None:
        return PurePath(path).as_posix()
    below = os.path.relpath(os.path.abspath(path), os.path.abspath(root_dir)).replace(os.sep, "/")
    if below in (".", "..") or below.startswith("../"):
        raise DataError("the image does not lie below root_dir, so its path tells no site. Correct root_dir")
    return below


def tidy_path(text: str) -> str:
    r"""A path as a table may write it, without ``.\``, ``./``, ``..`` and doubled slashes.

    >>> tidy_path(r".\bern\1.png"), tidy_path("bern//x/../1.png")
    ('bern/1.png', 'bern/1.png')
    """
    return posixpath.normpath(text.replace("\\", "/"))


def strip_ending(name: str) -> str:
    """The name of a file without its ending, which begins with a letter: identifiers keep their last number.

    >>> strip_ending("scan.nii.gz"), strip_ending("1.2.840.dcm"), strip_ending("1.2.840")
    ('scan', '1.2.840', '1.2.840')
    """
    return _ENDING.sub("", name)
