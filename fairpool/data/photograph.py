"""Read one PNG or JPEG photograph into a small colour image.

`read_photograph` states the whole rule by which pixels become numbers. Messages never carry the path or the file name:
the caller adds the row and the group.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageFile, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fairpool.data.opening import describe_damage, describe_foreign, open_file
from fairpool.data.pixels import DAMAGE, MAX_PIXELS, check_pixels
from fairpool.errors import DataError

__all__ = ["FITS", "Photograph", "height_and_width", "read_photograph"]

FITS = ("crop", "stretch")

_EXIF_ORIENTATION = 0x0112


@dataclass(frozen=True, eq=False)
class Photograph:
    """A reduced colour image, and what was done to it on the way.

    Attributes:
        levels: uint8, shape (height, width, 3): row 0 at the top, red first.
        notes: what a report should count per group: "grey", "palette", "CMYK", "alpha", "16-bit grey",
            "exif orientation", "constant".
    """

    levels: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> np.ndarray:
        """The image as float32 in [0, 1], shape (3, height, width)."""
        return np.ascontiguousarray(self.levels.transpose(2, 0, 1), dtype=np.float32) / np.float32(255)


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """A size as (height, width): one number is a square.

    Raises:
        ValueError: it is neither one nor two whole numbers of at least 1.

    >>> height_and_width(64), height_and_width([218, 178])
    ((64, 64), (218, 178))
    """
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or any(isinstance(side, bool) or not isinstance(side, int) or side < 1 for side in sides):
        raise ValueError(f"size must be one whole number of pixels or (height, width), each at least 1; got {size!r}.")
    return int(sides[0]), int(sides[1])


def read_photograph(
    path: str | os.PathLike[str],
    size: int | Sequence[int],
    *,
    fit: str = "crop",
    max_pixels: int = MAX_PIXELS,
) -> Photograph:
    """One photograph, of whatever colour type, as red, green and blue of 8 bits.

    - The format is told by the content, not by the file name. EXIF orientation is applied first.
    - "crop" keeps the aspect ratio: the largest centred region with the wanted ratio is resized (a square size is the
      shorter side resized, then a centre crop); "stretch" resizes the whole image. Bilinear, antialiased.
    - Grey becomes three equal channels, 16-bit grey by 0..65535 -> 0..255; palette and CMYK are converted, transparency
      is blended on black. Colour profiles are not applied.

    Args:
        path: a PNG or JPEG file.
        size: height and width of the result in pixels, or one number for a square.
        fit: "crop" or "stretch".
        max_pixels: a file that declares more is refused before it is decoded.
    Returns:
        the reduced image and its notes.
    Raises:
        DataError: the file is missing, damaged, too large or of another format.
        ValueError: ``size``, ``fit`` or ``max_pixels`` make no sense.
        RuntimeError: Pillow was told to accept truncated images.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "red.png"
    ...     Image.new("RGB", (40, 30), (255, 0, 51)).save(file)
    ...     image = read_photograph(file, (8, 6))
    >>> image.pixels.shape, image.pixels[:, 0, 0].round(3).tolist(), image.notes
    ((3, 8, 6), [1.0, 0.0, 0.20000000298023224], ('constant',))
    """
    height, width = height_and_width(size)
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}; got {fit!r}.")
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be at least 1, got {max_pixels}.")
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so Pillow would fill the missing part of a damaged image with "
            "grey. Set it to False."
        )
    with open_file(path) as handle:
        head = handle.read(512)
        handle.seek(0)
        is_png = head.startswith(b"\x89PNG\r\n\x1a\n")
        if not is_png and not head.startswith(b"\xff\xd8\xff"):
            raise DataError(_foreign(head))
        # The plugin is called directly: Image.open has a limit of its own, set for the whole process.
        try:
            image: Image.Image = PngImageFile(handle) if is_png else JpegImageFile(handle)
        except DAMAGE as error:
            raise DataError(describe_damage(error)) from error
        check_pixels(*image.size, max_pixels)
        if getattr(image, "n_frames", 1) != 1:
            raise DataError(f"file holds {getattr(image, 'n_frames', 1)} frames; expected one image. Split it")
        try:
            image.load()
            is_turned = image.getexif().get(_EXIF_ORIENTATION, 1) in range(2, 9)
            image = ImageOps.exif_transpose(image) if is_turned else image
            colour, notes = _to_colour(image)
        except DataError:
            raise
        except DAMAGE as error:
            raise DataError(describe_damage(error)) from error
    resize = ImageOps.fit if fit == "crop" else Image.Image.resize
    levels = np.asarray(resize(colour, (width, height), Image.Resampling.BILINEAR))
    notes += ("exif orientation",) * is_turned + ("constant",) * bool((levels == levels[0, 0]).all())
    return Photograph(levels, notes)


def _foreign(head: bytes) -> str:
    name = "unsupported format (DICOM); expected PNG or JPEG. Convert the file" if head[128:132] == b"DICM" else None
    return name or describe_foreign(head).replace("PNG, JPEG or DICOM", "PNG or JPEG")


def _to_colour(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        levels = (np.asarray(image).astype(np.float32) / 257).round().clip(0, 255).astype(np.uint8)
        return Image.fromarray(levels).convert("RGB"), ("16-bit grey",)
    words = {"1": "grey", "L": "grey", "LA": "grey", "P": "palette", "PA": "palette", "CMYK": "CMYK"}
    if mode not in words and mode not in ("RGB", "RGBA", "YCbCr"):
        raise DataError(f"unsupported pixel type ({mode}); expected grey or colour of 8 bits. Convert the file")
    notes = (words[mode],) if mode in words else ()
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = image.getchannel("A")
        return ImageChops.multiply(image.convert("RGB"), Image.merge("RGB", [alpha] * 3)), (*notes, "alpha")
    return image if mode == "RGB" else image.convert("RGB"), notes
