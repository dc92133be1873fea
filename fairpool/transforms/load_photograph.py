"""The MONAI transform that reads photographs."""

import os
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from fairpool.data.items import name_row
from fairpool.data.photograph import FITS, height_and_width, read_photograph
from fairpool.data.pixels import MAX_PIXELS
from fairpool.errors import DataError

__all__ = ["LoadPhotographd"]


class LoadPhotographd(MapTransform):
    """Replaces a path by a reduced colour image.

    The image is a plain float32 tensor in [0, 1] of shape (3, height, width): red, green, blue; row 0 at the top. That
    is not the (channel, width, height) of MONAI's own LoadImage. It is no MetaTensor, and the path is gone from the
    item. How pixels become numbers: `read_photograph`. Nothing is random, so MONAI's CacheDataset keeps the result.

    Args:
        keys: the items that hold a path.
        size: height and width of the image in pixels, or one number for a square.
        fit: "crop" cuts the longer side at both ends to the wanted ratio, "stretch" resizes the whole image.
        max_pixels: a file that declares more is refused before it is decoded.
        allow_missing_keys: whether an item may lack a key.
    Raises:
        DataError: an image cannot be used; starts with "row R (group): " where the item has "row" and "site_name". In a
            MONAI Compose it is the cause of a RuntimeError.
        TypeError: the item holds something that is no path.
        ValueError: ``size`` or ``fit`` make no sense.

    >>> LoadPhotographd("image", 64)({"image": "nowhere.jpg", "row": 41, "site_name": "female"})
    Traceback (most recent call last):
        ...
    fairpool.errors.DataError: row 41 (female): file not found. Check the path column and the data folder
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int | Sequence[int],
        *,
        fit: str = "crop",
        max_pixels: int = MAX_PIXELS,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.size = height_and_width(size)
        if fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}; got {fit!r}.")
        self.fit = fit
        self.max_pixels = max_pixels

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with each path replaced by its image; the item given is not changed."""
        item = dict(data)
        for key in self.key_iterator(item):
            if not isinstance(item[key], str | os.PathLike):
                raise TypeError(
                    f'{name_row(item)}"{key}" must hold the path of one file, got {type(item[key]).__name__}.'
                )
            try:
                image = read_photograph(item[key], self.size, fit=self.fit, max_pixels=self.max_pixels)
            except DataError as error:
                raise DataError(f"{name_row(item)}{error}") from error
            item[key] = torch.from_numpy(image.pixels)
        return item
