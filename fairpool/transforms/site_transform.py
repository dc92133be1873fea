"""What the transforms that find a site share: the file of an item, missing sites, spellings, pseudonyms."""

import os
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from fairpool.data.items import name_row
from fairpool.data.pseudonyms import Pseudonyms, read_or_make_key
from fairpool.data.spelling import SiteSpelling
from fairpool.errors import DataError

__all__ = ["SiteTransform", "name_item"]


class SiteTransform(MapTransform, ABC):
    """Adds the text of an item's site; everything else of the item stays as it is. The base of ``SiteFrom...d``.

    A transform for other data needs `find_site` alone.

    Args:
        keys: the items whose files tell the site, each a path, or an image already loaded: then the path is its
            ``meta["filename_or_obj"]``. A list of paths, as of a series of slices, counts as each of them. All must
            tell one site.
        site_key: the item that takes the site.
        missing: "raise" refuses an item whose site cannot be told; any other text stands for it, as it is.
        normalize: whether spellings that differ in case, accents or punctuation are one: see `SiteSpelling`.
        aliases: other spellings, ``{name: [spelling, ...]}`` or a YAML file: see `SiteSpelling`.
        pseudonymize: file of the key of pseudonyms, which is made where there is none; sites are then called
            ``site-0123456789abcdef``. None keeps their names.
        allow_missing_keys: whether an item may lack a key.
    Raises:
        TypeError: a text or path is none; in a call, ``keys`` hold no path and no image that knows its file.
        DataError: the key file or the alias table cannot be used; in a call, the site is missing, or several were
            found. The message begins with the item's row where it has one, and never holds a path.
        ValueError: in a call, the item already holds ``site_key``.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        *,
        site_key: str = "site",
        missing: str = "raise",
        normalize: bool = False,
        aliases: Mapping[str, Sequence[str]] | str | os.PathLike[str] | None = None,
        pseudonymize: str | os.PathLike[str] | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if not isinstance(missing, str):
            raise TypeError(f'missing must be "raise" or the text that stands for a missing site, got {missing!r}.')
        if isinstance(pseudonymize, bool):
            raise TypeError(f"pseudonymize must be the path of a key file, got {pseudonymize!r}.")
        self.site_key = site_key
        self.missing = missing
        pseudonyms = None if pseudonymize is None else Pseudonyms(read_or_make_key(pseudonymize))
        self.spelling = SiteSpelling(normalize, aliases, pseudonyms)

    @abstractmethod
    def find_site(self, item: Mapping[Hashable, Any], path: str) -> str | None:
        """The site that one file tells, in the spelling that stands for it; None where it tells none.

        Args:
            item: the whole item.
            path: of the file.
        Raises:
            DataError: the file, or what stands beside it, cannot be used.
        """

    def explain_missing(self) -> str:
        """Why an item has no site, and what can be done: the rest of the sentence "... has no site: "."""
        return 'it is empty. Fill it in, or pass missing="unknown"'

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with its site added; the item given is not changed."""
        item = dict(data)
        if self.site_key in item:
            raise ValueError(
                f'{name_item(item)}the item already holds "{self.site_key}"; choose another site_key, or apply the '
                "transform once."
            )
        try:
            sites = dict.fromkeys(self.find_site(item, path) for path in self._paths(item))
        except DataError as error:
            raise DataError(f"{name_item(item)}{error}") from error
        if len(sites) > 1:
            found = ", ".join("none" if site is None else f'"{site}"' for site in sites)
            raise DataError(
                f"{name_item(item)}the files of one item tell several sites: {found}. Name one of the keys."
            )
        site = next(iter(sites), None)
        if site is None and self.missing == "raise":
            raise DataError(f"{name_item(item)}the image has no site: {self.explain_missing()}.")
        item[self.site_key] = self.missing if site is None else site
        return item

    def _paths(self, item: Mapping[Hashable, Any]) -> list[str]:
        paths: list[str] = []
        for key in self.key_iterator(dict(item)):
            value = item[key]
            if isinstance(value, torch.Tensor):
                value = _loaded_from(item, key)
            if isinstance(value, str | os.PathLike):
                value = [value]
            if not isinstance(value, Sequence) or not all(isinstance(path, str | os.PathLike) for path in value):
                raise TypeError(
                    f'{name_item(item)}"{key}" must hold a path, or an image that MONAI loaded, which knows its file; '
                    f"got {type(item[key]).__name__}. Put {type(self).__name__} before what loads the image."
                )
            paths += map(os.fspath, value)
        return paths


def name_item(item: Mapping[Hashable, Any]) -> str:
    """How a message about an item begins: with its row and site, or its row, or not at all.

    >>> name_item({"row": 41, "site_name": "bern"}), name_item({"row": 41}), name_item({"image": "a.png"})
    ('row 41 (bern): ', 'row 41: ', '')
    """
    row = item.get("row")
    return name_row(item) or (f"row {row}: " if isinstance(row, int) and not isinstance(row, bool) else "")


def _loaded_from(item: Mapping[Hashable, Any], key: Hashable) -> Any:
    """The file of an image that is loaded: from the tensor itself, or from the dictionary that older loaders add."""
    for meta in (getattr(item[key], "meta", None), item.get(f"{key}_meta_dict")):
        if isinstance(meta, Mapping) and meta.get("filename_or_obj"):
            return meta["filename_or_obj"]
    return None
