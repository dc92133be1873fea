"""What the transforms that read one image file have in common."""

import os
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.transforms.transform import MapTransform
from numpy.typing import NDArray

from fairpool.data.items import name_row
from fairpool.errors import DataError

__all__ = ["LoadPathd"]


class LoadPathd(MapTransform):
    """Replaces each path by the image that `read` makes of it, as a plain tensor; a failure names the item's row."""

    @abstractmethod
    def read(self, path: str | os.PathLike[str]) -> NDArray[np.float32]:
        """The image of one file, channel first.

        Raises:
            DataError: it cannot be used.
        """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """The item with each path replaced by its image; the item given is not changed."""
        item = dict(data)
        for key in self.key_iterator(item):
            if not isinstance(item[key], str | os.PathLike):
                raise TypeError(
                    f'{name_row(item)}"{key}" must hold the path of one file, got {type(item[key]).__name__}.'
                )
            try:
                item[key] = torch.from_numpy(self.read(item[key]))
            except DataError as error:
                raise DataError(f"{name_row(item)}{error}") from error
        return item
