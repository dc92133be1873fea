"""Hashes of radiographs, by which copies are found: of their pixels, and of what they look like."""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from fairpool.data.image_cache import ImageCache

__all__ = ["hash_images", "perceptual_hash"]


def hash_images(
    images: Sequence[str],
    cache: ImageCache,
    *,
    describe: Callable[[int], str],
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Both hashes of every image, as it is read for training: reduced, with its orientation and polarity set right.

    Args:
        images: PNG, JPEG or DICOM files.
        cache: reads and keeps the reduced images.
        describe: names an image in a message by its index, never by its path.
        num_workers: threads.
        progress: called with (done, total).
    Returns:
        ``pixel_hash``, SHA-256 of the reduced pixels, and ``perceptual_hash``, both hexadecimal.
    Raises:
        DataError: images cannot be used; lists them.
    """
    cache.prepare(images, describe=describe, num_workers=num_workers, progress=progress)
    hashes = []
    for image in images:
        levels = cache.load(image).levels
        hashes.append((hashlib.sha256(levels.tobytes()).hexdigest(), perceptual_hash(levels)))
    return pd.DataFrame(hashes, columns=["pixel_hash", "perceptual_hash"], dtype=object)


def perceptual_hash(levels: np.ndarray) -> str:
    """Perceptual hash (pHash) of a grey image, 64 bits as 16 hexadecimal digits: alike for images that look alike.

    Args:
        levels: uint8 or uint16 over the whole range of the type, height by width.
    Source: ImageHash's ``phash``: the 8 x 8 lowest cosine frequencies of the image at 32 x 32, above or below their
        median.

    >>> perceptual_hash(np.full((8, 8), 128, dtype=np.uint8))
    '8000000000000000'
    """
    import imagehash
    from PIL import Image

    grey = (levels >> 8).astype(np.uint8) if levels.dtype == np.uint16 else levels
    return str(imagehash.phash(Image.fromarray(grey)))
