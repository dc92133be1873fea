"""Find the files below a folder, without leaving it and without running in circles."""

import os
import re
import stat
import unicodedata
from collections import Counter
from dataclasses import dataclass, field

from fairpool.data.scan.formats import IMAGE_ENDINGS
from fairpool.errors import DataError

__all__ = ["FoundFile", "Walk", "walk"]

_TABLE_CELL = re.compile(r"\A\s|\s\Z|\A'[=+\-@]|\A[A-Za-z]:|\\")


@dataclass(frozen=True)
class FoundFile:
    """A file as it was found.

    Attributes:
        path: below the root, with "/" between folders.
        size: bytes.
        changed: time of the last change, ns.
    """

    path: str
    size: int
    changed: int


@dataclass
class Walk:
    """What `walk` found.

    Attributes:
        files: in the order of their paths.
        faults: reason by path, for what cannot be a row of a table: a link that leads away, a folder that may not be
            read or entered, a file that went away meanwhile, a name that no table holds. Paths may hold any character.
        skipped: number by kind of what was passed over on purpose.
    """

    files: list[FoundFile] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)


def walk(root: str | os.PathLike[str]) -> Walk:
    """Every file below a folder.

    Names that begin with a full stop are passed over, folders of such a name whole. A link to a file below the root
    counts as a file (so are the trees of DataLad), unless the file it leads to is listed itself. A link to a folder
    below the root is not followed: the folder is visited where it stands.

    Args:
        root: the folder; may be a link itself.
    Raises:
        DataError: it is no folder, or may not be read.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pathlib.Path(folder, "bern").mkdir()
    ...     _ = pathlib.Path(folder, "bern", "a.png").write_bytes(b"12")
    ...     os.symlink("/", pathlib.Path(folder, "out"))
    ...     found = walk(folder)
    >>> [(file.path, file.size) for file in found.files], found.faults
    ([('bern/a.png', 2)], {'out': 'link leads out of the folder. Copy what it leads to, or remove it'})
    """
    top = os.path.realpath(root)
    if not os.path.isdir(top):
        raise DataError("the folder to scan is not there, or is no folder. Check its path.")
    found, links = Walk(), list[str]()
    pending = [""]
    while pending:
        folder = pending.pop()
        entries: list[os.DirEntry[str]] = []
        reason = ""
        try:
            with os.scandir(os.path.join(top, folder)) as scan:
                entries = list(scan)
            os.stat(os.path.join(top, folder, "."))  # a folder whose names may be read need not let anyone in
        except OSError as error:
            entries = []
            reason = f"folder cannot be read ({(error.strerror or 'damaged').lower()}). Ask for the right to read it"
        if reason and not folder:
            raise DataError(f"the folder to scan cannot be used: {reason}.")
        if reason:
            found.faults[folder] = reason
        for entry in entries:
            path = f"{folder}/{entry.name}" if folder else entry.name
            try:
                if entry.name.startswith("."):
                    found.skipped["hidden"] += 1
                elif entry.is_symlink():
                    links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    pending.append(path)
                else:
                    _add(found, path, entry.stat(follow_symlinks=False))
            except OSError as error:
                found.faults[path] = f"file cannot be looked at ({(error.strerror or 'damaged').lower()}). Scan again"
    listed = {os.path.join(top, file.path) for file in found.files}
    for path in sorted(links):
        _follow(found, path, top, listed)
    found.files.sort(key=lambda file: file.path)
    return found


def _add(found: Walk, path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        found.faults[path] = "not a file but a pipe, socket or device. Remove it"
    elif reason := _doubt_name(path):
        # A name that is no image's is of no interest, odd or not.
        if _may_be_image(path):
            found.faults[path] = reason
        else:
            found.skipped["odd names"] += 1
    else:
        found.files.append(FoundFile(path, status.st_size, status.st_mtime_ns))


def _follow(found: Walk, path: str, top: str, listed: set[str]) -> None:
    target = os.path.realpath(os.path.join(top, path))
    try:
        status = os.stat(target)
    except OSError:
        # realpath stops inside a circle of links, and so at something that is still a link.
        in_circle = os.path.islink(target)
        found.faults[path] = (
            "links lead in a circle. Remove them"
            if in_circle
            else "link leads to nothing. Fetch the file, or remove it"
        )
        return
    if target != top and not target.startswith(top.rstrip(os.sep) + os.sep):
        found.faults[path] = "link leads out of the folder. Copy what it leads to, or remove it"
    elif stat.S_ISDIR(status.st_mode):
        if os.path.join(top, path).startswith(target.rstrip(os.sep) + os.sep):
            found.faults[path] = "link leads back to a folder above it. Remove it"
        else:
            found.skipped["links to folders of the tree"] += 1
    elif target in listed:
        found.skipped["links to files of the tree"] += 1
    else:
        _add(found, path, status)


def _doubt_name(path: str) -> str | None:
    """Why a table could not hold a path such that its reader finds the file again."""
    if any("\ud800" <= character <= "\udfff" for character in path):
        return "name is not UTF-8. Rename the file"
    if any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in path):
        return "name holds a line break or another control character. Rename the file"
    if _TABLE_CELL.search(path):
        return "name begins or ends with a space, or holds what a table cannot (\\, '=, C:). Rename the file"
    return None


def _may_be_image(path: str) -> bool:
    name = path.rsplit("/", 1)[-1].strip().lower()
    return name.endswith(IMAGE_ENDINGS) or "." not in name
