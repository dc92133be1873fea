"""The MONAI transform that finds the site in a table."""

import os
import warnings
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from monai.config.type_definitions import KeysCollection

from fairpool.data.ids import as_integer
from fairpool.data.path_names import path_below, strip_ending
from fairpool.data.scan.joins import TableJoin
from fairpool.data.site_sources import TableSites
from fairpool.transforms.site_transform import SiteTransform, name_item

__all__ = ["SiteFromTabled"]

_ON = {"name": "file", "stem": "file", "path": "path", "patient": "patient", "study": "study"}
"""By which rule a table's keys are compared; other items are compared as they are."""

_ENOUGH = 20
"""Keys of which one at least should be in the table."""


class SiteFromTabled(SiteTransform):
    r"""Adds the site that a table gives to an item's patient, study or file.

    The table is read once, at the first item; each process that loads data reads it for itself.

    Args:
        keys: see `SiteTransform`, as are the arguments from ``site_key`` on.
        table: CSV, TSV, parquet or JSON, see `fairpool.data.read_table`.
        on: column of the table that names the patient, study or file.
        site_column: column that holds the site.
        key_from: what of an item is looked up: "name", the name of its file, with or without the ending; "stem", the
            name without it; "path", the path below ``root_dir`` (or the item "path", where there is one); or another
            item, such as "patient". None is the item that is called as the column ``on``. Text and numbers are compared
            as text: "007" is not "7"; but a table may call the patient "sub-01" "01", and the study "ses-1" "1". Files
            of one name in several folders have one site by "name" and "stem": where they are of several patients, take
            "path".
        root_dir: folder of the data, for ``key_from="path"``.
        site_key: the item that takes the site.
        missing: what becomes of an item without its row, or whose row has an empty site. Where it is named, and the
            first 20 keys are all absent from the table, a warning says so once a process.
        normalize: see `SiteTransform`.
        aliases: see `SiteTransform`.
        pseudonymize: see `SiteTransform`.
        allow_missing_keys: see `SiteTransform`.
    Raises:
        DataError: at the first item: the table or a column is missing, rows have no key, rows of one key have different
            sites, or a site is spelt in several ways. At any: see `SiteTransform`. No key is in a message.
        KeyError: an item lacks ``key_from``.
        TypeError: an item's ``key_from`` is no text and no whole number.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = pathlib.Path(folder) / "sites.csv"
    ...     _ = table.write_text("patient,hospital\n007,Bern\n008,Basel\n")
    ...     attach = SiteFromTabled(table=table, on="patient", site_column="hospital")
    ...     attach({"image": "scan.png", "patient": "008"})["site"]
    'Basel'
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        table: str | os.PathLike[str],
        on: str,
        site_column: str,
        key_from: str | None = None,
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
        if not isinstance(table, str | os.PathLike):
            raise TypeError(f"table must be the path of a table, got {type(table).__name__}.")
        self.key_from = on if key_from is None else key_from
        self.root_dir = root_dir
        self._source = TableSites(TableJoin(table, site_column, on, _ON.get(self.key_from)), self.spelling)
        self._absent: set[str] | None = None if missing == "raise" else set()  # None: nothing to watch any more

    def __getstate__(self) -> dict[str, Any]:
        """Without the keys that were looked up: they can name patients."""
        return self.__dict__ | {"_absent": self._absent if self._absent is None else set()}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its site added; the item given is not changed."""
        self._source.read()  # outside find_site: a fault of the table is no fault of the item
        return super().__call__(data)

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt site of the row that fits; None where there is no row, or no site in it."""
        name = self._name_of(item, path)
        if self._absent is not None:
            self._watch(name)
        return self._source.find(name)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        return self._source.explain_missing(self.key_from)

    def _watch(self, name: str) -> None:
        """Tell of a table that seems to name other things than the items do; no item alone can show that."""
        assert self._absent is not None
        if self._source.has(name):
            self._absent = None
            return
        self._absent.add(name)
        if len(self._absent) == _ENOUGH:
            self._absent = None
            warnings.warn(
                f"none of the first {_ENOUGH} keys is in the table of sites, by {self.key_from}: each site becomes "
                f'"{self.missing}". Compare the spelling (007 is not 7), or name another column or key_from.',
                stacklevel=2,
            )

    def _name_of(self, item: Mapping[Hashable, Any], path: str) -> str:
        name = PurePath(path).name
        if self.key_from == "name":
            return name
        if self.key_from == "stem":
            return strip_ending(name)
        if self.key_from == "path" and self.key_from not in item:
            return path_below(path, self.root_dir)
        if self.key_from not in item:
            raise KeyError(
                f'{name_item(item)}the item has no "{self.key_from}", by which the table is searched. Attach it before '
                f'{type(self).__name__}, or pass key_from="name", "stem" or "path".'
            )
        value = item[self.key_from]
        number = as_integer(value)
        if number is None and not isinstance(value, str):
            raise TypeError(
                f'{name_item(item)}"{self.key_from}", by which the table is searched, must be text or a whole '
                f"number, got {type(value).__name__}."
            )
        return value if number is None else str(number)
