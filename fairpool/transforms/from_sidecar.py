"""The MONAI transform that finds the site, or the scanner, in BIDS metadata."""

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config.type_definitions import KeysCollection

from fairpool.data.site_sources import SidecarSites
from fairpool.transforms.site_transform import SiteTransform

__all__ = ["SiteFromSidecard"]


class SiteFromSidecard(SiteTransform):
    """Adds the site, or the scanner, that the sidecars of an image name, or ``participants.tsv``.

    Which JSON file applies to which image, and which wins: `fairpool.data.sidecars.Sidecars`. Several fields make one
    name as several elements of `SiteFromDicomd` do: in the order given, separated by " | ", with "?" for one that is
    missing where others are not.

    Args:
        keys: see `SiteTransform`, as are the arguments from ``site_key`` on.
        fields: InstitutionName, StationName, DeviceSerialNumber, Manufacturer, ManufacturersModelName,
            MagneticFieldStrength, any other of text or numbers, or a column of participants.tsv, such as "site"; but
            none that can name a patient or an examination.
        root_dir: root of the data set; None finds it by ``dataset_description.json``.
        site_key: the item that takes the name, such as "scanner".
        missing: what becomes of an image that has none of the fields.
        normalize: see `SiteTransform`.
        aliases: see `SiteTransform`.
        pseudonymize: see `SiteTransform`.
        allow_missing_keys: see `SiteTransform`.
    Raises:
        DataError: a field can name a patient; in a call, see `Sidecars.find` and `SiteTransform`.
        ValueError: no field, or one twice.
    Source: BIDS specification 1.10; doi:10.1038/sdata.2016.44.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     root = pathlib.Path(folder)
    ...     _ = (root / "T1w.json").write_text('{"InstitutionName": "Inselspital", "MagneticFieldStrength": 3.0}')
    ...     attach = SiteFromSidecard(fields=["InstitutionName", "MagneticFieldStrength"], root_dir=root)
    ...     attach({"image": root / "sub-01" / "anat" / "sub-01_T1w.nii.gz"})["site"]
    'Inselspital | 3'
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        fields: Sequence[str] = ("InstitutionName",),
        root_dir: str | os.PathLike[str] | None = None,
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
        self._source = SidecarSites(fields, root_dir, are_hidden=pseudonymize is not None)

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt and combined fields of the image; None where it has none of them."""
        return self._source.find(path, self.spelling)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        return self._source.explain_missing()
