"""One pass over the images: header, statistics, thumbnail and hashes of each; what cannot be read is told by row."""

import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairpool.audit.image_statistics import STATISTICS, image_statistics, reduce_blocks
from fairpool.audit.nifti_slice import read_middle_slice
from fairpool.data.image_cache import ImageCache
from fairpool.data.image_hashes import hash_image
from fairpool.data.pixels import MAX_PIXELS
from fairpool.data.scan.libraries import quiet_libraries
from fairpool.data.scan.pixel_hashes import MAX_HASHED
from fairpool.data.scan.reading import read_file
from fairpool.errors import DataError

__all__ = ["IMAGE_SIZE", "MEAN_SIZE", "THUMBNAIL_SIZE", "ImagePass", "pass_over_images"]

IMAGE_SIZE = 224
"""That of the pipelines, so that the cache serves both."""

MEAN_SIZE = 32
THUMBNAIL_SIZE = 16


@dataclass(frozen=True)
class ImagePass:
    """What one pass over N images found.

    Attributes:
        statistics: a row an image, columns `STATISTICS` and "aspect" (height over width); NaN where unreadable.
        thumbnails: float32, (N, MEAN_SIZE, MEAN_SIZE); NaN where unreadable.
        headers: columns ``format``, ``shape``, ``spacing``, ``photometric``, ``scanner`` as in a built manifest.
        hashes: columns ``pixel_hash`` and ``perceptual_hash`` of `hash_image`; empty where unreadable, and where a
            volume holds more than `MAX_HASHED` numbers.
        faults: what is the matter, by index of the image.
    """

    statistics: pd.DataFrame
    thumbnails: NDArray[np.float32]
    headers: pd.DataFrame
    hashes: pd.DataFrame
    faults: dict[int, str]


def pass_over_images(
    images: Sequence[str | os.PathLike[str]],
    *,
    cache_dir: str | os.PathLike[str] | None,
    hash_pixels: bool = True,
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> ImagePass:
    """Read every image once: PNG, JPEG and DICOM through the image cache, of a NIfTI volume the middle slice.

    Of a DICOM file with several frames the middle one is taken.

    Args:
        images: their files.
        cache_dir: keeps the reduced images; None keeps none.
        hash_pixels: whether the hashes are wanted, for which every image is decoded at full size.
        num_workers: threads.
        progress: called with (done, total).
    """
    cache = ImageCache(cache_dir, IMAGE_SIZE, frame="middle")
    number = len(images)
    statistics = np.full((number, len(STATISTICS)), np.nan)
    thumbnails = np.full((number, MEAN_SIZE, MEAN_SIZE), np.nan, np.float32)
    headers = [("",) * 5] * number
    hashes = [("", "")] * number
    faults: dict[int, str] = {}

    def read(index: int) -> None:
        path = images[index]
        found = read_file(os.fspath(path), max_pixels=MAX_PIXELS)
        header = found.header
        if found.fault:
            faults[index] = found.fault
            return
        if header is not None:
            headers[index] = (header.format, header.shape, header.spacing, header.photometric, header.scanner)
        try:
            if header is not None and header.format == "nifti":
                pixels = read_middle_slice(path, IMAGE_SIZE)
            else:
                pixels = cache.load(path).pixels
            if hash_pixels and header is not None and math.prod(map(int, header.shape.split("x"))) <= MAX_HASHED:
                hashes[index] = hash_image(path)
        except DataError as error:
            faults[index] = str(error)
            return
        statistics[index] = image_statistics(pixels)
        thumbnails[index] = reduce_blocks(pixels, MEAN_SIZE)

    with quiet_libraries(), ThreadPoolExecutor(max(1, num_workers)) as pool:
        try:
            for done, _ in enumerate(pool.map(read, range(number)), start=1):
                if progress is not None:
                    progress(done, number)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    found = pd.DataFrame(headers, columns=["format", "shape", "spacing", "photometric", "scanner"], dtype=object)
    table = pd.DataFrame(statistics, columns=list(STATISTICS))
    sizes = found["shape"].str.split("x", expand=True).reindex(columns=range(2)).apply(pd.to_numeric, errors="coerce")
    table["aspect"] = (sizes[0] / sizes[1]).to_numpy(float)
    return ImagePass(
        statistics=table,
        thumbnails=thumbnails,
        headers=found,
        hashes=pd.DataFrame(hashes, columns=["pixel_hash", "perceptual_hash"], dtype=object),
        faults=dict(sorted(faults.items())),
    )
