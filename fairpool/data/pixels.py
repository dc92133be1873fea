"""What the readers of every format share: the limit on pixels, the scaling to [0, 1], the errors of a damaged file."""

import struct
import zlib

import numpy as np
from PIL import Image

from fairpool.errors import DataError

__all__ = ["DAMAGE", "check_pixels", "scale_levels"]

DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,  # Pillow's word for a broken header
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow and pydicom raise on a damaged file."""

_CLIPPED_SHARE = 0.01


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Refuse an image without pixels, or with more than the limit, before it is decoded.

    Raises:
        DataError: with the size and the limit.
    """
    if width < 1 or height < 1:
        raise DataError(f"image has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise DataError(
            f"image declares {width} x {height} = {width * height:,} pixels; the limit is {max_pixels:,}. "
            "If that is right, raise max_pixels"
        )


def scale_levels(stored: np.ndarray, factor: float, offset: float) -> tuple[Image.Image, tuple[str, ...]]:
    """Stored numbers as a full-size image in Pillow's float mode.

    Args:
        stored: height by width.
        factor: and ``offset``: ``factor * stored + offset`` is 0 at black and 1 at white.
        offset: see ``factor``.
    Returns:
        the image, clipped to [0, 1] before it is reduced, so that no outlier spreads; and the note "clipped" where more
        than 1 % of the pixels lie outside.
    """
    scaled = stored.astype(np.float32)
    scaled *= np.float32(factor)
    scaled += np.float32(offset)
    tolerance = 1e-4  # float32 rounding at the ends of the range is not clipping
    outside = np.count_nonzero(scaled < -tolerance) + np.count_nonzero(scaled > 1 + tolerance)
    np.clip(scaled, 0, 1, out=scaled)
    return Image.fromarray(scaled), ("clipped",) if outside > _CLIPPED_SHARE * scaled.size else ()
