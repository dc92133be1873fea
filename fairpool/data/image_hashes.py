"""Hashes of many images, by which copies are found: of their pixels, and of what they look like."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pandas as pd

from fairpool.data.image_cache import list_faults
from fairpool.data.pixels import MAX_PIXELS
from fairpool.data.scan.libraries import quiet_libraries
from fairpool.data.scan.reading import read_file
from fairpool.errors import DataError

__all__ = ["hash_image", "hash_images"]


def hash_image(image: str | os.PathLike[str]) -> tuple[str, str]:
    """The pixel hash and the perceptual hash of one file, as `fairpool.data.scan.pixel_hashes.hash_pixels` makes them.

    Args:
        image: a DICOM, NIfTI, PNG or JPEG file.
    Raises:
        DataError: the image cannot be used; without its path.
    """
    found = read_file(os.fspath(image), max_pixels=MAX_PIXELS, hash_pixels=True)
    if found.header is None:
        raise DataError(found.fault or "not a DICOM, NIfTI, PNG or JPEG image. Drop its row")
    return found.pixel_hash, found.perceptual_hash


def hash_images(
    images: Sequence[str | os.PathLike[str]],
    *,
    describe: Callable[[int], str],
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Both hashes of every image, the same as `fairpool manifest build --hash-pixels` writes.

    Args:
        images: DICOM, NIfTI, PNG or JPEG files.
        describe: names an image in a message by its index, never by its path.
        num_workers: threads; each holds a whole image.
        progress: called with (done, total).
    Returns:
        ``pixel_hash``, 64 hexadecimal digits, and ``perceptual_hash``, 16.
    Raises:
        DataError: images cannot be used; lists them, the first 20 in full.
    """
    faults: dict[int, str] = {}

    def read(index: int) -> tuple[str, str]:
        try:
            return hash_image(images[index])
        except DataError as error:
            faults[index] = str(error)
            return "", ""

    hashes = []
    with quiet_libraries(), ThreadPoolExecutor(max(1, num_workers)) as pool:
        try:
            for done, found in enumerate(pool.map(read, range(len(images))), start=1):
                hashes.append(found)
                if progress is not None:
                    progress(done, len(images))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    if faults:
        listed = list_faults([f"{describe(index)}: {text}" for index, text in sorted(faults.items())])
        raise DataError(
            f"{len(faults)} of {len(images)} images cannot be used: {listed}. Mend them or drop their rows."
        )
    return pd.DataFrame(hashes, columns=["pixel_hash", "perceptual_hash"], dtype=object)
