"""The MONAI transform that reads radiographs."""

import os

import numpy as np
from monai.config.type_definitions import KeysCollection
from numpy.typing import NDArray

from fairpool.data.image_cache import ImageCache
from fairpool.transforms.load_path import LoadPathd

__all__ = ["LoadRadiographd"]


class LoadRadiographd(LoadPathd):
    """Replaces a path by a reduced greyscale image.

    The image is a plain float32 tensor in [0, 1] of shape (1, size, size): channel, HEIGHT, WIDTH, row 0 at the top,
    column 0 at the left. That is how Pillow and matplotlib show it, and not the (channel, width, height) of MONAI's own
    LoadImage. It is no MetaTensor, and the path is gone from the item. How pixels become numbers: `read_radiograph`.
    Nothing is random, so MONAI's CacheDataset keeps the result.

    Args:
        keys: the items that hold a path.
        size: height and width of the image.
        cache_dir: folder for reduced images, see `ImageCache`; None decodes every time.
        value_range: the two stored values that become 0 and 1, for files of more than 8 bits and for DICOM.
        strict: whether a PNG or JPEG file in colour, with a palette or with transparency is refused, not converted.
        nan: what becomes of pixels that are NaN or infinite: "raise" refuses the image, "fill" makes them black.
        frame: of a DICOM file with several: its number, from 0, or "middle"; None refuses such files.
        allow_missing_keys: whether an item may lack a key.
    Raises:
        DataError: an image cannot be used; starts with "row R (site): " where the item has "row" and "site_name". In a
            MONAI Compose it is the cause of a RuntimeError.
        TypeError: the item holds something that is no path.

    >>> LoadRadiographd("image", 128)({"image": "nowhere.png", "row": 41, "site_name": "bern"})
    Traceback (most recent call last):
        ...
    fairpool.errors.DataError: row 41 (bern): file not found. Check the path column and the data folder
    """

    def __init__(
        self,
        keys: KeysCollection,
        size: int,
        *,
        cache_dir: str | os.PathLike[str] | None = None,
        value_range: tuple[float, float] | None = None,
        strict: bool = False,
        nan: str = "raise",
        frame: int | str | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.cache = ImageCache(cache_dir, size, value_range=value_range, strict=strict, nan=nan, frame=frame)

    def read(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """The reduced image of one file, (1, size, size)."""
        return self.cache.load(path).pixels[None]
