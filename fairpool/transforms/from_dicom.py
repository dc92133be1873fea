"""The MONAI transform that finds the site, or the scanner, in a DICOM header."""

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config.type_definitions import KeysCollection

from fairpool.data.site_sources import HeaderSites
from fairpool.transforms.site_transform import SiteTransform

__all__ = ["SiteFromDicomd"]


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
            numbers; but none that can name a patient or an examination, and free text and private elements only with
            ``pseudonymize``, see `fairpool.data.identifying`.
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
        self._source = HeaderSites(elements, are_hidden=pseudonymize is not None)

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt and combined elements of the file; None where it has none of them."""
        return self._source.find(path, self.spelling)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        return self._source.explain_missing()
