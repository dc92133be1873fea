"""Where the site of an image can be found: its path, its DICOM header, its sidecars, a table.

The transforms ``SiteFrom...d`` and the scan of a folder both call these; each gives None where it finds no site, and a
sentence about why.
"""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fairpool.data.checks import check_spellings, is_empty
from fairpool.data.device_values import combine_values, refuse_identifying, spell_number
from fairpool.data.headers import find_tag, read_dicom_header
from fairpool.data.ids import as_integer
from fairpool.data.path_names import path_below
from fairpool.data.scan.joins import TableJoin, find_key, read_pairs
from fairpool.data.sidecars import Sidecars
from fairpool.data.spelling import SiteSpelling
from fairpool.errors import DataError

__all__ = ["HeaderSites", "PathSites", "SidecarSites", "TableSites"]

_PREAMBLE = 128


class PathSites:
    """Sites that paths name: see `fairpool.transforms.SiteFromPathd`, also for the arguments and what is raised.

    >>> PathSites(level=0, root_dir="/data").find("/data/bern/ct/041.png", SiteSpelling())
    'bern'
    """

    def __init__(
        self,
        pattern: str | None = None,
        level: int | None = None,
        root_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if (pattern is None) == (level is None):
            raise ValueError("the site comes from a pattern or from a folder's level: give one of them.")
        self.pattern = _compile(pattern) if pattern is not None else None
        self.level = as_integer(level)
        if level is not None and self.level is None:
            raise ValueError(f"level must be a whole number, got {level!r}.")
        if self.level is not None and self.level >= 0 and root_dir is None:
            raise ValueError(
                f"level {level} counts from the data's folder: name it as root_dir, or count from the file, -1 being "
                "its own folder."
            )
        self.root_dir = root_dir

    def find(self, path: str, spelling: SiteSpelling) -> str | None:
        """The spelt text of the group or folder; None where there is none."""
        text = path_below(path, self.root_dir)
        if self.pattern is not None:
            found = self.pattern.search(text)
            site = found["site"] if found else None
        else:
            folders = [part for part in text.split("/")[:-1] if part not in ("", ".")]
            level = self.level or 0
            site = folders[level] if -len(folders) <= level < len(folders) else None
        return None if site is None or is_empty(site) else spelling(site)

    def explain_missing(self) -> str:
        """Why there is no site, and what can be done: the rest of the sentence "... has no site: "."""
        if self.pattern is not None:
            return 'the pattern does not fit its path. Widen the pattern, or pass missing="unknown"'
        return f'its path has no folder at level {self.level}. Move the file, or pass missing="unknown"'


class HeaderSites:
    """Sites that elements of DICOM headers name: see `fairpool.transforms.SiteFromDicomd`."""

    def __init__(self, elements: Sequence[str], *, are_hidden: bool = False) -> None:
        refuse_identifying(elements, "element", are_hidden=are_hidden)
        self.elements = tuple(elements)
        self._names = {element: _keyword(element) for element in self.elements}

    def find(self, path: str, spelling: SiteSpelling) -> str | None:
        """The spelt and combined elements of the file; None where it has none of them."""
        return self.combine(read_dicom_header(_first_file(path), self.elements), spelling)

    def combine(self, header: Mapping[str, str | None], spelling: SiteSpelling) -> str | None:
        """The same of elements that have been read, as `read_dicom_header` gives them."""
        return combine_values([self._spell(element, header[element]) for element in self.elements], spelling)

    def explain_missing(self) -> str:
        """See `PathSites.explain_missing`."""
        return f'its header has no {" and no ".join(self.elements)}. Take another element, or pass missing="unknown"'

    def _spell(self, element: str, text: str | None) -> str | None:
        values = [value for value in (text or "").split("\\") if not is_empty(value)]
        return "+".join(spell_number(value, self._names[element]) for value in values) or None


class SidecarSites:
    """Sites that sidecars or ``participants.tsv`` name: see `fairpool.transforms.SiteFromSidecard`."""

    def __init__(
        self, fields: Sequence[str], root_dir: str | os.PathLike[str] | None = None, *, are_hidden: bool = False
    ) -> None:
        refuse_identifying(fields, "field", are_hidden=are_hidden)
        self.fields, self.root_dir = tuple(fields), root_dir
        self._sidecars = Sidecars(self.fields, root_dir)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read: a worker process reads the sidecars of its own images."""
        return self.__dict__ | {"_sidecars": Sidecars(self.fields, self.root_dir)}

    def find(self, path: str, spelling: SiteSpelling) -> str | None:
        """The spelt and combined fields of the image; None where it has none of them."""
        found = self._sidecars.find(path)
        values = [found[field] for field in self.fields]
        spelt = [
            None if value is None else "+".join(spell_number(part, field) for part in value.split("+"))
            for field, value in zip(self.fields, values, strict=True)
        ]
        return combine_values(spelt, spelling)

    def explain_missing(self) -> str:
        """See `PathSites.explain_missing`."""
        return (
            f"neither its sidecars nor participants.tsv have {' or '.join(self.fields)}. Take another field, or pass "
            'missing="unknown"'
        )


class TableSites:
    """Sites of a table, by the name of an image that `TableJoin.on` says; the table is read on first use.

    Args:
        join: the table.
        spelling: of the sites.
    """

    def __init__(self, join: TableJoin, spelling: SiteSpelling) -> None:
        self.join, self._spelling = join, spelling
        self._pairs: dict[str, str] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the table: a worker process reads it for itself."""
        return self.__dict__ | {"_pairs": None}

    def read(self) -> dict[str, str]:
        """Spelt site by key; empty where the table has none.

        Raises:
            DataError: see `read_pairs`; or the table spells a site in several ways.
        """
        if self._pairs is None:
            self._pairs = read_pairs(self.join, "sites", self._spell)
        return self._pairs

    def has(self, name: str) -> bool:
        """Whether a row fits, with a site or without."""
        return find_key(self.read(), name, self.join.on) is not None

    def find(self, name: str) -> str | None:
        """The site of the row that fits; None where there is no row, or no site in it."""
        pairs = self.read()
        key = find_key(pairs, name, self.join.on)
        return None if key is None else pairs[key] or None

    def explain_missing(self, name: str) -> str:
        """See `PathSites.explain_missing`; ``name`` is what the images are looked up by."""
        return (
            f'no row of the table, or none with a site, has its {name} in column "{self.join.key_column}". Add the '
            'row, compare the spelling (007 is not 7), or pass missing="unknown"'
        )

    def _spell(self, sites: "pd.Series[str]") -> "pd.Series[str]":
        spelt = {text: self._spelling.canonical(text) for text in sites.unique()}
        place = f'the table of sites, column "{self.join.value_column}",'
        reason = None
        try:
            check_spellings(sites.map(spelt), place)
        except DataError as error:
            reason = str(error)
            if self._spelling.pseudonyms is not None:  # confidential names stay out of it
                reason = f"{place} spells a site in several ways. Pass normalize=True"
        if reason:
            raise DataError(reason)
        return sites.map({text: self._spelling(text) for text in spelt})


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"the pattern of the site is no regular expression: {error}.") from None
    if "site" not in compiled.groupindex:
        raise ValueError('the pattern of the site needs a group "site": (?P<site>...).')
    return compiled


def _keyword(element: str) -> str:
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(find_tag(element)) or element


def _first_file(path: str) -> str:
    """The file itself, or of a folder the first that is DICOM; DICOMDIR, the index of a medium, is none."""
    if not os.path.isdir(path):
        return path
    reason = "the folder holds no DICOM file. Name the folder of one series"
    try:
        names = sorted(entry.name for entry in os.scandir(path) if entry.is_file())
        for name in names:
            file = os.path.join(path, name)
            if name.upper() != "DICOMDIR" and _is_dicom(file):
                return file
    except OSError as error:
        reason = f"the folder cannot be read ({error.strerror or 'damaged'})"
    raise DataError(reason)  # outside `except`: the cause quotes the path


def _is_dicom(file: str) -> bool:
    with open(file, "rb") as handle:
        return handle.read(_PREAMBLE + 4)[_PREAMBLE:] == b"DICM"
