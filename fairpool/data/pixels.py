"""What the readers of every format share: their settings, the scaling to [0, 1], the errors of a damaged file."""

import math
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from fairpool.errors import DataError

__all__ = ["DAMAGE", "MAX_PIXELS", "ReadingRule", "check_pixels", "scale_levels"]

MAX_PIXELS = 200_000_000

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


@dataclass(frozen=True)
class ReadingRule:
    """By what rule the pixels of a file become numbers.

    Args:
        value_range: the two stored values that become black and white, for files of more than 8 bits and for DICOM;
            None: what the file's type or header implies.
        max_pixels: a file that declares more, in one frame, is refused before it is decoded.
        strict: whether a PNG or JPEG file in colour, with a palette or with transparency is refused, not converted.
        nan: what becomes of pixels that are NaN or infinite: "raise" refuses the image, "fill" makes them black.
        frame: of a DICOM file with several: its number, from 0, or "middle"; None refuses such files.
    Raises:
        ValueError: a setting makes no sense.
    """

    value_range: tuple[float, float] | None = None
    max_pixels: int = MAX_PIXELS
    strict: bool = False
    nan: str = "raise"
    frame: int | str | None = None

    def __post_init__(self) -> None:
        if self.max_pixels < 1:
            raise ValueError(f"max_pixels must be at least 1, got {self.max_pixels}.")
        if self.value_range is not None:
            ends = tuple(self.value_range)
            if len(ends) != 2 or not all(map(math.isfinite, ends)) or ends[0] >= ends[1]:
                raise ValueError(f"value_range must be two finite numbers, black below white, got {ends}.")
            object.__setattr__(self, "value_range", (float(ends[0]), float(ends[1])))
        if not isinstance(self.strict, bool):
            raise ValueError(f"strict must be true or false, got {self.strict!r}.")
        if self.nan not in ("raise", "fill"):
            raise ValueError(f'nan must be "raise" or "fill", got {self.nan!r}.')
        is_number = isinstance(self.frame, int) and not isinstance(self.frame, bool) and self.frame >= 0
        if self.frame not in (None, "middle") and not is_number:
            raise ValueError(f'frame must be a number from 0, "middle" or None, got {self.frame!r}.')


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
