"""The MONAI transform that reads photographs."""

import os
from collections.abc import Sequence

import numpy as np
from monai.config.type_definitions import KeysCollection
from numpy.typing import NDArray

from fairpool.data.photograph import FITS, height_and_width, read_photograph
from fairpool.data.pixels import MAX_PIXELS
from fairpool.transforms.load_path import LoadPathd

__all__ = ["LoadPhotographd"]


class LoadPhotographd(LoadPathd):
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

    def read(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """The reduced image of one file, (3, height, width)."""
        return read_photograph(path, self.size, fit=self.fit, max_pixels=self.max_pixels).pixels
