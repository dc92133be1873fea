"""Where a scan takes sites from, chosen by one text."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fairpool.data.pseudonyms import Pseudonyms, read_or_make_key
from fairpool.data.scan.header import spell_scanner
from fairpool.data.scan.joins import JOIN_ON, TableJoin, find_values
from fairpool.data.scan.patients import digest_file
from fairpool.data.scan.persons import Person
from fairpool.data.sidecars import Sidecars
from fairpool.data.site_sources import HeaderSites, PathSites, SidecarSites, TableSites
from fairpool.data.spelling import SiteSpelling
from fairpool.errors import DataError

__all__ = ["SidecarScanner", "SiteSource"]

_KINDS = ("path", "level", "dicom", "sidecar", "table")
_SCANNER_FIELDS = ("Manufacturer", "ManufacturersModelName", "MagneticFieldStrength")


class SiteSource:
    """Gives the site of each image, as the transforms ``SiteFrom...d`` do.

    Args:
        text: ``path:PATTERN`` (a regular expression with the group ``site``), ``level:N`` (a folder of the path),
            ``dicom:KEYWORD+KEYWORD``, ``sidecar:FIELD`` (of BIDS) or ``table:FILE``.
        root: the folder that is scanned.
        column: of the table, that holds the site.
        key: column of the table that names the image, patient or study.
        on: what ``key`` holds: "path", "file", "patient" or "study", as in `TableJoin`.
        normalize: join spellings: see `fairpool.data.spelling.SiteSpelling`.
        aliases: YAML table of other spellings.
        key_file: of the pseudonyms that replace the names of sites; None keeps the names.
        missing: the site of an image that has none; "raise" makes it unreadable.
    Raises:
        ValueError: the text is none of these, or what follows it makes no sense.
        DataError: the table, the spellings or the key file cannot be used, or an element can name a patient.
    """

    def __init__(
        self,
        text: str,
        *,
        root: str | os.PathLike[str],
        column: str | None = None,
        key: str | None = None,
        on: str = "path",
        normalize: bool = False,
        aliases: str | os.PathLike[str] | None = None,
        key_file: str | os.PathLike[str] | None = None,
        missing: str = "raise",
    ) -> None:
        kind, _, value = text.partition(":")
        if kind not in _KINDS or not value:
            raise ValueError(
                "sites come from path:PATTERN, level:N, dicom:KEYWORD, sidecar:FIELD or table:FILE; got "
                f"{kind + ':' if kind in _KINDS else text!r}."
            )
        if on not in JOIN_ON:
            raise ValueError(f"a table of sites is joined on {', '.join(JOIN_ON)}; got {on!r}.")
        if kind == "level" and not re.fullmatch(r"-?[0-9]{1,3}", value):
            raise ValueError(f"level:N takes the number of a folder in the path, got {value!r}.")
        if kind == "table" and (column is None or key is None):
            raise ValueError("table:FILE needs the column of the site and the column that names the image or patient.")
        self._root = os.path.realpath(root)
        self._on, self._missing = on, missing
        self._spelling = SiteSpelling(normalize, aliases, Pseudonyms(read_or_make_key(key_file)) if key_file else None)
        options = [normalize, aliases and os.fspath(aliases), key_file and os.fspath(key_file), missing]
        self._settings = [text, column, key, on, *options]
        self._files = [aliases, key_file, value if kind == "table" else None]
        self._table: TableSites | None = None
        self._source: PathSites | HeaderSites | SidecarSites | None = None
        if kind == "table":
            self._table = TableSites(TableJoin(value, column or "", key or "", on), self._spelling)
            self._table.read()  # a fault of the table is told now, and not once a file
        elif kind == "dicom":
            self._source = HeaderSites(value.split("+"), are_hidden=key_file is not None)
        elif kind == "sidecar":
            self._source = SidecarSites(value.split("+"), are_hidden=key_file is not None)
        else:
            pattern, level = (value, None) if kind == "path" else (None, int(value))
            self._source = PathSites(pattern, level, self._root)

    @property
    def keywords(self) -> tuple[str, ...]:
        """Elements of DICOM headers that sites come from, so that whoever reads headers anyway takes them along."""
        return self._source.elements if isinstance(self._source, HeaderSites) else ()

    def __call__(self, image: str, person: Person, header: Mapping[str, str | None] | None = None) -> str:
        """The site of an image.

        Args:
            image: its absolute path.
            person: whose image it is, for a table of patients or studies.
            header: what `read_dicom_header` gives for `keywords`; without it the file is opened, where it is needed.
        Raises:
            DataError: it has no site, and none stands for a missing one.
        """
        if self._table is not None:
            path = PurePosixPath(os.path.relpath(image, self._root).replace(os.sep, "/"))
            names = {"file": path.name, "patient": person.patient_name, "study": person.study_name}
            site = self._table.find(names.get(self._on, str(path)))
            why = self._table.explain_missing(self._on)
        else:
            assert self._source is not None
            if header and isinstance(self._source, HeaderSites):
                site = self._source.combine(header, self._spelling)
            else:
                site = self._source.find(image, self._spelling)
            why = self._source.explain_missing()
        if site is None and self._missing == "raise":
            raise DataError(f"the image has no site: {why}.")
        return self._missing if site is None else site

    def check(self, rows: Sequence[Mapping[str, Any]], pseudonyms: Pseudonyms) -> list[str]:
        """Refuse a table that names none of the images, or with one key several: see `find_values`, also for the notes.

        Args:
            rows: of all images.
            pseudonyms: those of the rows.
        """
        if self._table is None:
            return []
        return find_values(rows, self._table.read(), self._table.join, pseudonyms, "sites")[1]

    def describe(self) -> str:
        """What the sites depend on besides the images, for comparison alone."""
        return repr([*self._settings, *map(digest_file, self._files)])


class SidecarScanner:
    """Gives the scanner of a NIfTI file from its BIDS sidecar."""

    def __init__(self) -> None:
        self._sidecars = Sidecars(_SCANNER_FIELDS)

    def __call__(self, image: str) -> str:
        """See `spell_scanner`; empty where no sidecar says one of them, or the sidecar is damaged."""
        try:
            return spell_scanner(list(self._sidecars.find(image).values()))
        except DataError:
            return ""
