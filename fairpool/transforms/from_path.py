"""The MONAI transform that finds the site in the path of an image."""

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config.type_definitions import KeysCollection

from fairpool.data.site_sources import PathSites
from fairpool.transforms.site_transform import SiteTransform

__all__ = ["SiteFromPathd"]


class SiteFromPathd(SiteTransform):
    """Adds the site that a path names: by a regular expression, or by the folder at a level.

    Args:
        keys: see `SiteTransform`, as are the arguments from ``site_key`` on.
        pattern: a regular expression with the group ``site``, found anywhere in the path: with ``/`` between folders,
            below ``root_dir`` where that is given. Anchor it: ``^(?P<site>[^/]+)/``.
        level: or the folder: 0 is the first below ``root_dir``, 1 the next; -1 is the file's own folder, -2 the one
            above it.
        root_dir: folder of the data. A path that does not lie below it is refused.
        site_key: the item that takes the site.
        missing: what becomes of a path that the pattern does not fit, or that has no such folder.
        normalize: see `SiteTransform`.
        aliases: see `SiteTransform`.
        pseudonymize: see `SiteTransform`.
        allow_missing_keys: see `SiteTransform`.
    Raises:
        ValueError: neither or both of ``pattern`` and ``level``, a pattern that is none or lacks the group, a level
            from the root without ``root_dir``.
        DataError: see `SiteTransform`.

    >>> SiteFromPathd(pattern=r"/(?P<site>bern|basel)_[0-9]+")({"image": "scans/basel_041.png"})["site"]
    'basel'
    >>> SiteFromPathd(level=0, root_dir="/data")({"image": "/data/bern/ct/041.png"})["site"]
    'bern'
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        pattern: str | None = None,
        level: int | None = None,
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
        self._source = PathSites(pattern, level, root_dir)

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt text of the group or folder; None where there is none."""
        return self._source.find(path, self.spelling)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        return self._source.explain_missing()
