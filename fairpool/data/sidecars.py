"""Metadata beside an image, as BIDS lays them out: JSON sidecars with inheritance, and participants.tsv."""

import json
import os
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from fairpool.data.checks import is_empty, is_missing, list_rows
from fairpool.data.path_names import strip_ending
from fairpool.data.table_text import read_table
from fairpool.errors import DataError

__all__ = ["Sidecars", "split_name"]

_LARGEST = 20_000_000
_DESCRIPTION = "dataset_description.json"
_PARTICIPANTS = "participants.tsv"


class Sidecars:
    """Finds the fields of images in their sidecars; each sidecar and folder is read once.

    A JSON file applies to an image if it lies in the image's folder or one above it, up to the root of the data set,
    has the image's suffix, and no entity that the image has not: ``task-rest_bold.json`` at the root applies to
    ``sub-01/func/sub-01_task-rest_run-1_bold.nii.gz``. The file nearest to the image wins, field by field. A field that
    no JSON file has is looked up in ``participants.tsv`` at the root, by the image's ``sub-`` entity.

    Outside BIDS a file ``scan.json`` beside ``scan.nii.gz`` is its sidecar by the same rule.

    Args:
        fields: the names that are wanted.
        root_dir: root of the data set; None is the nearest folder above the image with ``dataset_description.json``, or
            else the one that holds its ``sub-`` folder, or else its own.
    Source: BIDS specification 1.10, "The Inheritance Principle", rules 1 to 5; doi:10.1038/sdata.2016.44.
    """

    def __init__(self, fields: Sequence[str], root_dir: str | os.PathLike[str] | None = None) -> None:
        self.fields = tuple(fields)
        self._root = None if root_dir is None else os.path.abspath(root_dir)
        self._roots: dict[str, str] = {}
        self._folders: dict[str, list[tuple[frozenset[str], str, str]]] = {}
        self._contents: dict[str, dict[str, str]] = {}
        self._participants: dict[str, dict[str, dict[str, str]]] = {}

    def find(self, path: str) -> dict[str, str | None]:
        """The fields of one image as text; None where they are missing, empty or n/a.

        Args:
            path: of the image, ``.nii``, ``.nii.gz`` or any other.
        Raises:
            DataError: a sidecar is no JSON object, a field holds an object, two sidecars of one folder disagree, or
                participants.tsv is no such table. No path and no participant is in the message.
        """
        folder, name = os.path.split(os.path.abspath(path))
        entities, suffix = split_name(name)
        root = self._roots.get(folder) or self._roots.setdefault(folder, self._root_of(folder))
        found: dict[str, str] = {}
        for level in _levels(folder, root):
            here: dict[str, str] = {}
            for sidecar_entities, sidecar_suffix, file in self._list(level):
                if sidecar_suffix == suffix and sidecar_entities <= entities:
                    _join(here, self._read(file))
            found |= {field: text for field, text in here.items() if field not in found}
        subject = next(_subjects(entities, folder), None)
        if subject is not None and len(found) < len(self.fields):
            found = self._of_participant(root, subject) | found
        return {field: found.get(field) for field in self.fields}

    def _root_of(self, folder: str) -> str:
        if self._root is not None:
            if os.path.relpath(folder, self._root).split(os.sep)[0] == "..":
                raise DataError("the image does not lie below root_dir. Correct root_dir")
            return self._root
        above = list(_levels(folder, None))
        for level in above:
            if os.path.isfile(os.path.join(level, _DESCRIPTION)):
                return level
        subjects = [level for level in above if os.path.basename(level).startswith("sub-")]
        return os.path.dirname(subjects[-1]) if subjects else folder

    def _list(self, folder: str) -> list[tuple[frozenset[str], str, str]]:
        """Entities, suffix and path of the JSON files of a folder."""
        if folder not in self._folders:
            try:
                names = [entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(".json")]
            except OSError:  # a folder above the data may be locked
                names = []
            self._folders[folder] = [(*split_name(name), os.path.join(folder, name)) for name in sorted(names)]
        return self._folders[folder]

    def _read(self, file: str) -> dict[str, str]:
        if file not in self._contents:
            content = _read_json(file)
            texts = {field: _as_text(field, content[field]) for field in self.fields if field in content}
            self._contents[file] = {field: text for field, text in texts.items() if text}
        return self._contents[file]

    def _of_participant(self, root: str, subject: str) -> dict[str, str]:
        if root not in self._participants:
            self._participants[root] = self._read_participants(os.path.join(root, _PARTICIPANTS))
        return self._participants[root].get(subject, {})

    def _read_participants(self, file: str) -> dict[str, dict[str, str]]:
        if not os.path.isfile(file):
            return {}
        table = read_table(file)
        columns = [field for field in self.fields if field in table]
        if not columns:
            return {}
        if "participant_id" not in table:
            raise DataError("participants.tsv has no column participant_id. Correct it: BIDS asks for one")
        table.index = table.index + 1
        subjects = table["participant_id"].str.strip().str.removeprefix("sub-")
        values = table[columns].apply(lambda column: column.str.strip().mask(is_missing(column), ""))
        unlike = (values.groupby(subjects).transform("nunique") > 1).any(axis=1)
        if unlike.any():
            raise DataError(
                f"participants.tsv gives one participant several values of {', '.join(columns)} "
                f"({list_rows(table.index[unlike])}). Leave one row"
            )
        rows = zip(subjects, values.to_dict("records"), strict=True)
        return {subject: {str(column): text for column, text in row.items() if text} for subject, row in rows}


def split_name(name: str) -> tuple[frozenset[str], str]:
    """Entities and suffix of a file name.

    >>> entities, suffix = split_name("sub-01_task-rest_bold.nii.gz")
    >>> sorted(entities), suffix
    (['sub-01', 'task-rest'], 'bold')
    """
    stem = strip_ending(name)
    *parts, last = stem.split("_")
    if re.fullmatch(r"[A-Za-z0-9]+-.+", last):
        return frozenset([*parts, last]), ""
    return frozenset(parts), last


def _levels(folder: str, root: str | None) -> Iterator[str]:
    """The folder, then those above it, up to and with the root."""
    while True:
        yield folder
        above = os.path.dirname(folder)
        if folder == root or above == folder:
            return
        folder = above


def _subjects(entities: frozenset[str], folder: str) -> Iterator[str]:
    """What follows "sub-" in the name, or else in a folder."""
    for part in (*sorted(entities), *reversed(folder.split(os.sep))):
        if part.startswith("sub-") and len(part) > len("sub-"):
            yield part.removeprefix("sub-")


def _join(here: dict[str, str], more: dict[str, str]) -> None:
    for field, text in more.items():
        if here.setdefault(field, text) != text:
            raise DataError(
                f"two sidecars in one folder apply to the image and differ in {field}. BIDS allows one: move the "
                "general one to a folder above"
            )


def _read_json(file: str) -> dict[str, Any]:
    reason, content = "", None
    try:
        if os.path.getsize(file) > _LARGEST:
            reason = f"larger than {_LARGEST:,} bytes"
        else:
            with open(file, encoding="utf-8-sig") as handle:
                content = json.load(handle)
    except json.JSONDecodeError as error:
        reason = f"no JSON, line {error.lineno}"
    except (UnicodeDecodeError, RecursionError, ValueError):
        reason = "not UTF-8 text, or nested too deeply"
    except OSError as error:
        reason = error.strerror or "damaged"
    if not reason and not isinstance(content, dict):
        reason = "no JSON object"
    if reason:  # outside `except`: the causes quote the path or the text
        raise DataError(f"a sidecar of the image cannot be read ({reason}). Correct the JSON file")
    assert isinstance(content, dict)
    return content


def _as_text(field: str, value: Any) -> str:
    """Text of one value; of a list its values joined by "+"; nothing for null."""
    values = value if isinstance(value, list) else [value]
    texts = []
    for each in values:
        if isinstance(each, dict | list):
            raise DataError(f"{field} of a sidecar holds an object, and a site is text. Name another field")
        if isinstance(each, float):
            each = f"{Decimal(repr(each)).normalize():f}" if abs(each) < 1e15 else repr(each)
        text = "" if each is None else " ".join(str(each).split())
        if not text.isascii() and text != text.encode("utf-8", "replace").decode():
            raise DataError(f"{field} of a sidecar holds half of a character. Write the text as UTF-8")
        if not is_empty(text):
            texts.append(text)
    return "+".join(texts)
