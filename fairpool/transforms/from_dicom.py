"""The MONAI transform that finds the site, or the scanner, in a DICOM header."""

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config.type_definitions import KeysCollection

from fairpool.data.headers import find_tag, read_dicom_header
from fairpool.errors import DataError
from fairpool.transforms.device_values import combine_values, refuse_identifying, spell_number
from fairpool.transforms.site_transform import SiteTransform, is_empty

__all__ = ["SiteFromDicomd"]

_PREAMBLE = 128


class SiteFromDicomd(SiteTransform):
    """Adds the site, or the scanner, that elements of a DICOM header name. Pixels are not read.

    Several elements make one name, in the order given, separated by " | "; "?" stands for one that is missing where
    others are not. An element of several values is joined by "+". Missing, empty, blank and "n/a" are the same.
    MagneticFieldStrength, KVP and other numbers are one text however they are written: "1.5", "1.50", "1.5 T"; no
    number is rounded (a nominal 1.5 T can stand as 1.494 in the header) and no unit converted: that, and the spellings
    of vendors (SIEMENS, Siemens Healthineers), is what ``aliases`` are for. They are applied to each part, and then to
    the whole.

    Args:
        keys: see `SiteTransform`, as are the arguments from ``site_key`` on. A folder, as MONAI reads it as a series,
            is told by the first of its files, by name, that is DICOM.
        elements: DICOM keywords, or tags as "0008,1010", of the top level of the file. InstitutionName, StationName,
            DeviceSerialNumber, Manufacturer, ManufacturerModelName, MagneticFieldStrength, KVP and any other of text or
            numbers; but none that can name a patient or an examination, see `fairpool.data.identifying`.
        site_key: the item that takes the name, such as "scanner".
        missing: what becomes of a file that has none of the elements.
        normalize: see `SiteTransform`.
        aliases: see `SiteTransform`.
        pseudonymize: see `SiteTransform`.
        allow_missing_keys: see `SiteTransform`.
    Raises:
        DataError: an element can name a patient; in a call, see `read_dicom_header` and `SiteTransform`.
        ValueError: no element, one twice, or one that DICOM does not know.
    Source: DICOM PS3.3 sections C.7.5.1 (general equipment) and C.8.3.1; PS3.15 annex E.

    >>> from pydicom.data import get_testdata_file
    >>> scanner = SiteFromDicomd(elements=["Manufacturer", "ManufacturerModelName", "KVP"], site_key="scanner")
    >>> scanner({"image": get_testdata_file("CT_small.dcm")})["scanner"]
    'GE MEDICAL SYSTEMS | RHAPSODE | 120'
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        elements: Sequence[str] = ("InstitutionName",),
        site_key: str = "site",
        missing: str = "raise",
        normalize: bool = False,
        aliases: Mapping[str, Sequence[str]] | str | os.PathLike[str] | None = None,
        pseudonymize: str | os.PathLike[str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(
            keys,
            site_key=site_key,
            missing=missing,
            normalize=normalize,
            aliases=aliases,
            pseudonymize=pseudonymize,
            allow_missing_keys=allow_missing_keys,
        )
        refuse_identifying(elements, "element")
        self.elements = tuple(elements)
        self._names = {element: _keyword(element) for element in self.elements}

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt and combined elements of the file; None where it has none of them."""
        header = read_dicom_header(_first_file(path), self.elements)
        return combine_values([self._spell(element, header[element]) for element in self.elements], self.spelling)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        return f'its header has no {" and no ".join(self.elements)}. Take another element, or pass missing="unknown"'

    def _spell(self, element: str, text: str | None) -> str | None:
        values = [value for value in (text or "").split("\\") if not is_empty(value)]
        return "+".join(spell_number(value, self._names[element]) for value in values) or None


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
