"""What the header of one image file says."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from fairpool.data.pixels import check_pixels
from fairpool.errors import DataError

__all__ = ["MAX_VOXELS", "Header", "NoImageError", "check_size", "spell_scanner", "spell_shape", "spell_spacing"]

MAX_VOXELS = 4_000_000_000
"""Most numbers that a volume or a film may declare; a brain in 4D of 100 x 100 x 70 x 1000 has 700 million."""


class NoImageError(Exception):
    """The file is of a format that is read, and holds no image on purpose: a report, a directory of files."""


@dataclass(frozen=True)
class Header:
    """What the header of one image file says, as text for a table.

    Attributes:
        format: "dicom", "nifti", "png" or "jpeg".
        shape: rows x columns, then slices or frames; of NIfTI as it is stored.
        spacing: mm, in the order of ``shape``; empty where the header does not say.
        photometric: DICOM's photometric interpretation, or the mode of PNG and JPEG in Pillow's words.
        scanner: vendor, model and field strength.
        elements: values that name a patient, a study, a device. They stay in memory: see `make_row`.
        asked: the elements that were asked for besides, as `read_dicom_header` gives them; of a DICOM file alone.
    """

    format: str
    shape: str
    spacing: str = ""
    photometric: str = ""
    scanner: str = ""
    elements: dict[str, str] = field(default_factory=dict)
    asked: dict[str, str | None] = field(default_factory=dict)


def check_size(shape: tuple[int, ...], max_pixels: int, max_voxels: int = MAX_VOXELS) -> None:
    """Refuse an image that declares no pixels, or more than the limits.

    Args:
        shape: two numbers or more; the first two make a plane.
        max_pixels: most in a plane.
        max_voxels: most in all.
    Raises:
        DataError: naming the size and the limit.
    """
    check_pixels(shape[1], shape[0], max_pixels)
    total = 1
    for extent in shape:
        total *= extent
    if total < 1:
        raise DataError(f"image has no pixels ({spell_shape(shape)})")
    if total > max_voxels:
        raise DataError(
            f"image declares {spell_shape(shape)} = {total:,} numbers; the limit is {max_voxels:,}. Split it"
        )


def spell_scanner(parts: Sequence[str | None]) -> str:
    """Vendor, model and, where there is one, field strength; "?" for a vendor or model that is missing alone.

    >>> spell_scanner(["GE", "", "1.50"]), spell_scanner(["GE", "Signa", None]), spell_scanner(["", "", ""])
    ('GE | ? | 1.5', 'GE | Signa', '')
    """
    *words, strength = parts
    if not any(parts):
        return ""
    shown = [word or "?" for word in words]
    if strength:
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*T?", strength)
        shown.append(f"{float(found[1]):g}" if found else strength)
    return " | ".join(shown)


def spell_shape(shape: tuple[int, ...]) -> str:
    """Extents as text.

    >>> spell_shape((512, 512))
    '512x512'
    """
    return "x".join(str(extent) for extent in shape)


def spell_spacing(spacing: tuple[float, ...]) -> str:
    """Spacing as text, to a thousandth of its value; empty if a number is not positive or not finite.

    >>> spell_spacing((0.5, 0.48828125)), spell_spacing((1.0, 0.0)), spell_spacing((3.0, 0.9999999))
    ('0.5x0.4883', '', '3x1')
    """
    if not spacing or not all(0 < number < 1e6 for number in spacing):
        return ""
    return "x".join(f"{number:.4g}" for number in spacing)
