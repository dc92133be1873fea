"""Where a scan takes sites from: the transforms `SiteFrom...d`, chosen by one text."""

import os
import re
from typing import Any

from fairpool.data.scan.joins import JOIN_ON
from fairpool.data.scan.patients import digest_file
from fairpool.data.scan.persons import Person
from fairpool.errors import DataError

__all__ = ["SidecarScanner", "SiteSource"]

_KINDS = ("path", "level", "dicom", "sidecar", "table")
_KEY_FROM = {"path": "path", "file": "name", "patient": "patient", "study": "study"}
_SCANNER_FIELDS = ("Manufacturer", "ManufacturersModelName", "MagneticFieldStrength")


class SiteSource:
    """Gives the site of each image, by one of the transforms `SiteFrom...d`.

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
        self.kind = kind
        self._root = os.path.realpath(root)
        self._options = {
            "normalize": normalize,
            "aliases": None if aliases is None else os.fspath(aliases),
            "pseudonymize": None if key_file is None else os.fspath(key_file),
            "missing": missing,
        }
        self._text, self._key, self._on = text, key, on
        self._column, self._files = column, [aliases, key_file, value if kind == "table" else None]
        self._transform = self._make(kind, value, self._options)
        if kind == "table":  # a fault of the table is told now, and not once a file
            probe = self._make(kind, value, self._options | {"missing": "none"})
            probe({"image": os.path.join(self._root, "none"), "path": "none", "patient": "none", "study": "none"})

    def __call__(self, image: str, person: Person) -> str:
        """The site of an image.

        Args:
            image: its absolute path.
            person: whose image it is, for a table of patients or studies.
        Raises:
            DataError: it has no site, and none stands for a missing one.
        """
        path = os.path.relpath(image, self._root).replace(os.sep, "/")
        item = {"image": image, "path": path, "patient": person.patient_name, "study": person.study_name}
        return str(self._transform(item)["site"])

    def describe(self) -> str:
        """What the sites depend on besides the images, for comparison alone."""
        digests = [digest_file(file) for file in self._files]
        return repr([self._text, self._column, self._key, self._on, sorted(self._options.items(), key=str), digests])

    def _make(self, kind: str, value: str, options: dict[str, Any]) -> Any:
        # Imported here: MONAI takes seconds.
        from fairpool import transforms

        if kind == "path":
            return transforms.SiteFromPathd("image", pattern=value, root_dir=self._root, **options)
        if kind == "level":
            return transforms.SiteFromPathd("image", level=int(value), root_dir=self._root, **options)
        if kind == "dicom":
            return transforms.SiteFromDicomd("image", elements=tuple(value.split("+")), **options)
        if kind == "sidecar":
            return transforms.SiteFromSidecard("image", fields=tuple(value.split("+")), **options)
        return transforms.SiteFromTabled(
            "image",
            table=value,
            on=self._key or "",
            site_column=self._column or "",
            key_from=_KEY_FROM[self._on],
            root_dir=self._root,
            **options,
        )


class SidecarScanner:
    """Gives the scanner of a NIfTI file from its BIDS sidecar.

    Args:
        root: the folder that is scanned.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._transform: Any = None

    def __call__(self, image: str) -> str:
        """Vendor, model and field strength; empty where no sidecar says one, or the sidecar is damaged."""
        if self._transform is None:
            from fairpool.transforms import SiteFromSidecard

            self._transform = SiteFromSidecard("image", fields=_SCANNER_FIELDS, site_key="scanner", missing="")
        try:
            return str(self._transform({"image": image})["scanner"])
        except DataError:
            return ""
