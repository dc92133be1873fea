"""The MONAI transform that finds the site in a table."""

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pandas as pd
from monai.config.type_definitions import KeysCollection

from fairpool.data.checks import check_spellings, is_missing, list_rows
from fairpool.data.ids import as_integer
from fairpool.data.table_text import read_table
from fairpool.errors import DataError
from fairpool.transforms.from_path import path_below
from fairpool.transforms.site_transform import SiteTransform, name_item

__all__ = ["SiteFromTabled"]

_ENDINGS = (".nii.gz", ".tar.gz")


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
            as text: "007" is not "7".
        root_dir: folder of the data, for ``key_from="path"``.
        site_key: the item that takes the site.
        missing: what becomes of an item without its row, or whose row has an empty site.
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
        self.table = table
        self.on, self.site_column = on, site_column
        self.key_from = on if key_from is None else key_from
        self.root_dir = root_dir
        self._sites: dict[str, str | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the table: a worker process gets the transform, and reads the table for itself."""
        return self.__dict__ | {"_sites": None}

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its site added; the item given is not changed."""
        if self._sites is None:
            self._sites = self._read()  # outside find_site: a fault of the table is no fault of the item
        return super().__call__(data)

    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The spelt site of the row that fits; None where there is no row, or no site in it."""
        sites = self._sites or {}
        return next((sites[key] for key in self._keys_of(item, path) if key in sites), None)

    def explain_missing(self) -> str:
        """See `SiteTransform.explain_missing`."""
        return (
            f'no row of the table, or none with a site, has its {self.key_from} in column "{self.on}". Add the row, '
            'compare the spelling (007 is not 7), or pass missing="unknown"'
        )

    def _keys_of(self, item: Mapping[Hashable, Any], path: str) -> list[str]:
        name = PurePath(path).name
        if self.key_from == "name":
            return [name, _stem(name)]
        if self.key_from == "stem":
            return [_stem(name)]
        if self.key_from == "path" and self.key_from not in item:
            return [path_below(path, self.root_dir)]
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
        return [(value if number is None else str(number)).strip()]

    def _read(self) -> dict[str, str | None]:
        table = read_table(self.table)
        table.index = pd.RangeIndex(1, len(table) + 1)
        for column in (self.on, self.site_column):
            if column not in table:
                raise DataError(
                    f'the table of sites has no column "{column}"; it has {", ".join(table.columns)}. Name the right '
                    "one"
                )
        keys = table[self.on].str.strip()
        nameless = is_missing(keys)
        if nameless.any():
            raise DataError(
                f'the table of sites has {int(nameless.sum())} rows without "{self.on}" '
                f"({list_rows(table.index[nameless])}). Fill the column or drop the rows"
            )
        if self.key_from == "path":
            keys = keys.str.replace("\\", "/").str.removeprefix("./")
        sites = table[self.site_column][~is_missing(table[self.site_column])]
        spelt = {text: self.spelling.canonical(text) for text in sites.unique()}
        self._check_spellings(sites.map(spelt))
        shown = {text: self.spelling(text) for text in spelt}
        found = table[self.site_column].map(shown)
        unlike = found.fillna("").groupby(keys).transform("nunique") > 1
        if unlike.any():
            names = ", ".join(f'"{name}"' for name in found[unlike].fillna("").unique()[:5])
            raise DataError(
                f'the table of sites gives one "{self.on}" several sites ({list_rows(table.index[unlike])}: {names}). '
                "Leave one of them, pass normalize=True, or look up the file instead"
            )
        return {key: site if isinstance(site, str) else None for key, site in zip(keys, found, strict=True)}

    def _check_spellings(self, sites: "pd.Series[str]") -> None:
        if self.spelling.pseudonyms is None:
            check_spellings(sites, f'the table of sites, column "{self.site_column}",')
            return
        reason = None
        try:
            check_spellings(sites, "the table")
        except DataError:
            reason = (  # confidential names stay out of it
                f'the table of sites, column "{self.site_column}", spells a site in several ways. Pass normalize=True'
            )
        if reason:
            raise DataError(reason)


def _stem(name: str) -> str:
    ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), PurePath(name).suffix)
    return name[: len(name) - len(ending)] if ending else name
