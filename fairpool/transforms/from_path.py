"""The MONAI transform that finds the site in the path of an image."""

import os
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from monai.config.type_definitions import KeysCollection

from fairpool.data.ids import as_integer
from fairpool.errors import DataError
from fairpool.transforms.site_transform import SiteTransform, is_empty

__all__ = ["SiteFromPathd", "path_below"]


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

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt text of the group or folder; None where there is none."""
        text = path_below(path, self.root_dir)
        if self.pattern is not None:
            found = self.pattern.search(text)
            site = found["site"] if found else None
        else:
            folders = [part for part in text.split("/")[:-1] if part not in ("", ".")]
            level = self.level or 0
            site = folders[level] if -len(folders) <= level < len(folders) else None
        return None if site is None or is_empty(site) else self.spelling(site)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        if self.pattern is not None:
            return 'the pattern does not fit its path. Widen the pattern, or pass missing="unknown"'
        return f'its path has no folder at level {self.level}. Move the file, or pass missing="unknown"'


def path_below(path: str, root_dir: str | os.PathLike[str] | None) -> str:
    """A path with ``/`` between its folders, and below the root where there is one.

    Args:
        path: as `open` would take it; links are not followed.
        root_dir: None keeps the path as it is.
    Raises:
        DataError: the path does not lie below the root. Neither is in the message.

    >>> path_below("/data/bern/../basel/1.png", "/data"), path_below("bern/1.png", None)
    ('basel/1.png', 'bern/1.png')
    """
    if root_dir is None:
        return PurePath(path).as_posix()
    below = os.path.relpath(os.path.abspath(path), os.path.abspath(root_dir)).replace(os.sep, "/")
    if below in (".", "..") or below.startswith("../"):
        raise DataError("the image does not lie below root_dir, so its path tells no site. Correct root_dir")
    return below


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"the pattern of the site is no regular expression: {error}.") from None
    if "site" not in compiled.groupindex:
        raise ValueError('the pattern of the site needs a group "site": (?P<site>...).')
    return compiled
