"""Name the patient of an image by a pattern of its path, or by another table."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.scan.joins import TableJoin, find_key, find_values, read_pairs
from fairpool.errors import DataError

__all__ = ["PatientSource", "digest_file"]


class PatientSource:
    """Gives the patient of each file, where headers and BIDS names do not.

    Args:
        pattern: a regular expression with the group ``patient``, found anywhere in the path below the folder.
        table: or the table that says it, joined on "path" or "file".
    Raises:
        ValueError: neither or both are given, the pattern is none or lacks the group, or the table is joined on
            something else.
        DataError: see `read_pairs`.

    >>> PatientSource(pattern=r"CHNCXR_(?P<patient>[0-9]+)_")("shenzhen/CHNCXR_0041_1.png")
    '0041'
    """

    def __init__(self, *, pattern: str | None = None, table: TableJoin | None = None) -> None:
        if (pattern is None) == (table is None):
            raise ValueError("the patient comes from a pattern or from a table: give one of them.")
        self.pattern = _compile(pattern) if pattern is not None else None
        self.table = table
        if table is not None and table.on not in ("path", "file"):
            raise ValueError(f'a table of patients is joined on "path" or "file", got {table.on!r}.')
        self._pairs = read_pairs(table, "patients") if table is not None else {}

    def __call__(self, path: str) -> str:
        """The patient of a file.

        Args:
            path: of the file below the folder, with "/" between folders.
        Raises:
            DataError: the pattern does not fit, or the table does not name the file. The path is not in the message.
        """
        if self.pattern is not None:
            found = self.pattern.search(path)
            patient = found["patient"] if found else None
            source = "pattern of the patient does not fit the path"
        else:
            assert self.table is not None
            name = PurePosixPath(path).name if self.table.on == "file" else path
            patient = self._pairs.get(find_key(self._pairs, name, self.table.on) or "")
            source = "table of patients does not name the file, or no patient for it"
        if not patient or not patient.strip():
            raise DataError(f"patient cannot be told: the {source}. Widen it, or move the file")
        return patient.strip()

    def check(self, rows: Sequence[Mapping[str, Any]], pseudonyms: Pseudonyms) -> list[str]:
        """Refuse a table whose one key means several of the images: see `find_values`, also for the notes.

        Args:
            rows: of all images.
            pseudonyms: those of the rows.
        """
        if self.table is None:
            return []
        return find_values(rows, self._pairs, self.table, pseudonyms, "patients")[1]

    def describe(self) -> str:
        """What the patients depend on, for comparison alone."""
        if self.table is None:
            return f"pattern {self.pattern.pattern if self.pattern else ''}"
        return f"{digest_file(self.table.file)} {self.table.key_column} {self.table.value_column} {self.table.on}"


def digest_file(file: str | os.PathLike[str] | None) -> str:
    """SHA-256 of a file's content; empty for no file.

    Raises:
        DataError: it cannot be read.
    """
    if file is None:
        return ""
    reason = ""
    try:
        with open(file, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        reason = error.strerror or "damaged"
    raise DataError(f"a table or list that is named for the manifest cannot be read ({reason}). Check its path.")


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"the pattern of the patient is no regular expression: {error}.") from None
    if "patient" not in compiled.groupindex:
        raise ValueError('the pattern of the patient needs a group "patient": (?P<patient>...).')
    return compiled
