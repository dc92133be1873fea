"""Read one PNG, JPEG or DICOM file into a small square greyscale image.

This file holds the whole rule by which pixels become numbers. Depth, colour, polarity and rotation differ between sites
and so are shortcuts a model can learn: what was done to an image is returned as notes, to be counted per site. Messages
never carry the path, the file name or header text: the caller adds the row and the site.
"""

import math
import os
import re
import stat
import struct
import zlib
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageChops, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fairpool.errors import DataError

__all__ = ["MAX_PIXELS", "Radiograph", "check_reading", "read_radiograph"]

MAX_PIXELS = 200_000_000

_DAMAGE = (
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
_EXIF_ORIENTATION = 0x0112
_EXIF_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_CLIPPED_SHARE = 0.01

_DEFLATED_SYNTAX = b"1.2.840.10008.1.2.1.99"
_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_HEADER_KEYWORDS = (
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleIntercept",
    "RescaleSlope",
    "ModalityLUTSequence",
)


@dataclass(frozen=True, eq=False)
class Radiograph:
    """A reduced greyscale image, and what was done to it on the way.

    Attributes:
        levels: the image as it is cached, shape (size, size): height by width, row 0 at the top; uint8 where the file
            had 8 bits, uint16 where it had more. 0 is black, the largest value of the type is white.
        notes: what a report should count per site, in this order of doing: "colour", "palette", "alpha",
            "16-bit colour read as 8 bits", "8-bit" (only where a `value_range` was declared, which 8-bit PNG and JPEG
            files do not use), "clipped" (over 1 % of the pixels lie outside the range), "monochrome1",
            "exif orientation", "constant".
    """

    levels: np.ndarray
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> np.ndarray:
        """The image as float32 in [0, 1], shape (size, size): height by width."""
        return self.levels.astype(np.float32) / np.float32(np.iinfo(self.levels.dtype).max)


def read_radiograph(
    path: str | os.PathLike[str],
    size: int,
    *,
    value_range: tuple[float, float] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Radiograph:
    """One image file as a square of size x size grey levels.

    The format is told by the content, not by the file name. The square does not keep the aspect ratio; the resize is
    bilinear over the area (antialiased), after a whole-number reduction to not less than twice the size.

    - 8-bit PNG and JPEG: 0..255 becomes 0..1, always.
    - 16-bit grey PNG: `value_range`, else 0..65535, becomes 0..1; values outside are clipped. Never per image.
    - Colour, palette, alpha: blended on black, then ITU-R 601 luminance. EXIF orientation is applied.
    - DICOM, one monochrome frame: slope * stored + intercept, then `value_range` (in those units), else the range that
      BitsStored, PixelRepresentation, slope and intercept imply, becomes 0..1; MONOCHROME1 is inverted last. The window
      in the header is not used: it is set per image and per vendor, so it would make brightness a mark of the site.

    Args:
        path: a PNG, JPEG or DICOM file.
        size: height and width of the result, in pixels.
        value_range: the two stored values that become black and white, for files of more than 8 bits and for DICOM.
        max_pixels: a file that declares more is refused before it is decoded.
    Returns:
        the reduced image and its notes.
    Raises:
        DataError: the file is missing, damaged, too large, of another format, or has pixels that are not finite.
        ValueError: `size`, `value_range` or `max_pixels` make no sense.
        RuntimeError: Pillow was told to accept truncated images.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "grey.png"
    ...     Image.new("L", (40, 30), 51).save(file)
    ...     image = read_radiograph(file, 8)
    >>> image.pixels.shape, float(image.pixels[0, 0].round(3)), image.notes
    ((8, 8), 0.20000000298023224, ('constant',))
    """
    check_reading(size, value_range, max_pixels)
    with _open(path) as handle:
        head = handle.read(512)
        handle.seek(0)
        if head[128:132] == b"DICM":
            image, bits, notes = _read_dicom(handle, value_range, max_pixels)
        elif head.startswith(b"\x89PNG\r\n\x1a\n"):
            image, bits, notes = _read_pillow(PngImageFile, handle, value_range, max_pixels)
        elif head.startswith(b"\xff\xd8\xff"):
            image, bits, notes = _read_pillow(JpegImageFile, handle, value_range, max_pixels)
        else:
            raise DataError(_describe_foreign(head))
        levels, more = _reduce(image, size, bits)
    return Radiograph(levels, (*notes, *more))


def check_reading(size: int, value_range: tuple[float, float] | None, max_pixels: int) -> None:
    """Refuse settings under which no image can be read.

    Raises:
        ValueError: a size or limit below 1, or a range that is not two finite, rising numbers.
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 pixel, got {size}.")
    if max_pixels < 1:
        raise ValueError(f"max_pixels must be at least 1, got {max_pixels}.")
    if value_range is not None and (
        len(value_range) != 2 or not all(map(math.isfinite, value_range)) or value_range[0] >= value_range[1]
    ):
        raise ValueError(f"value_range must be two finite numbers, black below white, got {tuple(value_range)}.")


def _open(path: str | os.PathLike[str]) -> BinaryIO:
    # The error is raised outside `except`: Python would otherwise keep the OSError, and with it the path, as context.
    try:
        if stat.S_ISREG(os.stat(path).st_mode):
            return open(path, "rb")
        reason = "not a file but a folder or device"
    except FileNotFoundError:
        reason = "file not found. Check the path column and the data folder"
    except PermissionError:
        reason = "file may not be read (permission denied)"
    except (OSError, ValueError) as error:
        text = getattr(error, "strerror", None) or "the path is not valid"
        reason = f"file cannot be opened ({text})"
    raise DataError(reason)


def _describe_foreign(head: bytes) -> str:
    if not head:
        return "not an image; the download was probably refused (the file is empty). Fetch it again"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "not an image; the download was probably refused (the file is a web page). Fetch it again"
    known = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"GIF8": "GIF", b"BM": "BMP", b"\x1f\x8b": "gzip or NIfTI"}
    name = next((name for magic, name in known.items() if head.startswith(magic)), "unknown")
    return f"unsupported format ({name}); expected PNG, JPEG or DICOM. Convert the file"


def _check_pixels(width: int, height: int, max_pixels: int) -> None:
    if width < 1 or height < 1:
        raise DataError(f"image has no pixels ({width} x {height})")
    if width * height > max_pixels:
        raise DataError(
            f"image declares {width} x {height} = {width * height:,} pixels; the limit is {max_pixels:,}. "
            "If that is right, raise max_pixels"
        )


def _read_pillow(
    plugin: type[PngImageFile] | type[JpegImageFile],
    handle: BinaryIO,
    value_range: tuple[float, float] | None,
    max_pixels: int,
) -> tuple[Image.Image, int, tuple[str, ...]]:
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES is set, so Pillow would fill the missing part of a damaged image with "
            "grey. Set it to False."
        )
    # The plugin is called directly: Image.open has a limit of its own, set for the whole process.
    try:
        image = plugin(handle)
    except _DAMAGE as error:
        raise DataError(_describe_damage(error)) from error
    _check_pixels(*image.size, max_pixels)
    frames = getattr(image, "n_frames", 1)
    if frames != 1:
        raise DataError(f"file holds {frames} frames; expected one image. Split it")
    raw_mode = str(image.tile[0][3]) if plugin is PngImageFile and image.tile else ""
    try:
        image.load()
    except _DAMAGE as error:
        raise DataError(_describe_damage(error)) from error
    grey, bits, notes = _to_grey(image, value_range)
    if bits == 8 and "16" in raw_mode:
        notes = (*notes, "16-bit colour read as 8 bits")
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except _DAMAGE as error:
        raise DataError("EXIF data are damaged; the orientation cannot be told. Rewrite the file") from error
    if orientation in _EXIF_TRANSPOSE:
        grey, notes = grey.transpose(_EXIF_TRANSPOSE[orientation]), (*notes, "exif orientation")
    return grey, bits, notes


def _describe_damage(error: BaseException) -> str:
    text = str(error).lower()
    if isinstance(error, EOFError) or "truncated" in text or "unexpected end" in text:
        return "image ends early. Fetch it again"
    return "image data are damaged. Fetch it again"


def _to_grey(image: Image.Image, value_range: tuple[float, float] | None) -> tuple[Image.Image, int, tuple[str, ...]]:
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        stored = np.asarray(image)
        transparent = image.info.get("transparency")
        notes: tuple[str, ...] = ()
        if transparent is not None:
            stored, notes = np.where(stored == transparent, 0, stored), ("alpha",)
        low, high = value_range or (0, 65535)
        scaled, clipped = _scale(stored, 1 / (high - low), -low / (high - low))
        return scaled, 16, (*notes, *clipped)
    notes = ()
    if mode in ("P", "PA"):
        notes = ("palette",)
    elif mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
        notes = ("colour",)
    elif mode not in ("1", "L", "LA"):
        raise DataError(f"unsupported pixel type ({mode}); expected grey or colour of 8 bits, or grey of 16 bits")
    if image.has_transparency_data:
        # Luminance is linear, so blending on black before or after it is the same product.
        image = image.convert("LA" if mode in ("1", "L", "LA") else "RGBA")
        grey = ImageChops.multiply(image.convert("RGB").convert("L"), image.getchannel("A"))
        notes = (*notes, "alpha")
    elif mode in ("1", "L"):
        grey = image if mode == "L" else image.convert("L")
    else:
        grey = image.convert("RGB").convert("L")
    if value_range is not None:
        notes = (*notes, "8-bit")
    return grey, 8, notes


def _scale(stored: np.ndarray, factor: float, offset: float) -> tuple[Image.Image, tuple[str, ...]]:
    """The full-size image as Pillow's float mode, clipped to [0, 1] before it is reduced, so no outlier spreads."""
    scaled = stored.astype(np.float32)
    scaled *= np.float32(factor)
    scaled += np.float32(offset)
    tolerance = 1e-4  # float32 rounding at the ends of the range is not clipping
    outside = np.count_nonzero(scaled < -tolerance) + np.count_nonzero(scaled > 1 + tolerance)
    np.clip(scaled, 0, 1, out=scaled)
    return Image.fromarray(scaled), ("clipped",) if outside > _CLIPPED_SHARE * scaled.size else ()


def _reduce(image: Image.Image, size: int, bits: int) -> tuple[np.ndarray, tuple[str, ...]]:
    # reducing_gap: 0.16 s instead of 0.25 s on 4892 x 4020, and no visible difference at a gap of 2.
    small = np.array(image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2.0))
    kind = np.uint8 if bits == 8 else np.uint16
    if small.dtype != np.uint8:
        small = np.rint(np.clip(small, 0, 1) * np.iinfo(kind).max).astype(kind)
    return small, ("constant",) if small.min() == small.max() else ()


def _read_dicom(
    handle: BinaryIO, value_range: tuple[float, float] | None, max_pixels: int
) -> tuple[Image.Image, int, tuple[str, ...]]:
    _check_dicom_start(handle.read(1_000_000))
    header = _parse_dicom(handle, pixels=False)
    inverted = _check_dicom_kind(header)
    height, width = _integer(header, "Rows"), _integer(header, "Columns")
    _check_pixels(width, height, max_pixels)
    slope, intercept = _number(header, "RescaleSlope", 1.0), _number(header, "RescaleIntercept", 0.0)
    if slope == 0:
        raise DataError("RescaleSlope (0028,1053) is zero, which would erase the image. Correct the header")

    stored = _decode_dicom(_parse_dicom(handle, pixels=True), width, height)
    if stored.dtype.kind == "f":
        bad = stored.size - np.count_nonzero(np.isfinite(stored))
        if bad:
            raise DataError(f"{bad:,} of {stored.size:,} pixels are NaN or infinite. Repair or drop the image")
        if value_range is None:
            raise DataError("pixels are floating point, so the header implies no range. Pass value_range")
        low, high, bits = *value_range, 16
    else:
        stored, ends = _check_bits(header, stored, strict=value_range is None)
        low, high = value_range or sorted(slope * end + intercept for end in ends)
        bits = 8 if _integer(header, "BitsStored") <= 8 else 16
    factor, offset = slope / (high - low), (intercept - low) / (high - low)
    if not (math.isfinite(factor) and math.isfinite(offset) and abs(factor) < 1e30 and abs(offset) < 1e30):
        raise DataError(
            "RescaleSlope (0028,1053) or RescaleIntercept (0028,1052) is out of any range. Correct the header"
        )
    notes: tuple[str, ...]
    image, notes = _scale(stored, factor, offset)
    if inverted:
        image, notes = Image.fromarray(1 - np.asarray(image)), (*notes, "monochrome1")
    return image, bits, notes


def _check_dicom_start(head: bytes) -> None:
    """Refuse what pydicom would answer with a leak or a bomb, before pydicom sees it.

    Of a transfer syntax or character set that is no such thing pydicom quotes the value in a warning. Where a length is
    damaged, that value can be the rest of the file, patient included (found by flipping bytes).
    """
    at, syntax, readable = 132, None, True
    while head[at : at + 2] == b"\x02\0" and readable:
        kind, length, start = head[at + 4 : at + 6], int.from_bytes(head[at + 6 : at + 8], "little"), at + 8
        if kind in (b"OB", b"UN"):
            length, start = int.from_bytes(head[at + 8 : at + 12], "little"), at + 12
        # Of any other kind pydicom may take the length from elsewhere, and so arrive at another syntax.
        readable = kind in (b"OB", b"UN", b"AE", b"SH", b"UI", b"UL")
        if head[at + 2 : at + 4] == b"\x10\0":
            syntax, readable = head[start : start + length].rstrip(b"\0 "), kind == b"UI"
        at = start + length
    if not readable or syntax is None or not re.fullmatch(rb"[0-9.]{5,64}", syntax):
        raise DataError("DICOM names no valid transfer syntax (0002,0010), or the image ends early. Fetch it again")
    if syntax == _DEFLATED_SYNTAX:
        raise DataError("deflated DICOM is not read, for it can expand without limit. Convert it to plain DICOM")
    for found in re.finditer(rb"\x08\0\x05\0CS(..)", head, re.DOTALL):
        length = int.from_bytes(found[1], "little")
        if not re.fullmatch(rb"[A-Z0-9_ \\\0]*", head[found.end() : found.end() + length]):
            raise DataError("SpecificCharacterSet (0008,0005) is damaged. Fetch it again")


def _parse_dicom(handle: BinaryIO, *, pixels: bool) -> Any:
    # Errors of the parser are raised outside `except` and without a cause: their text may quote any element.
    import pydicom

    handle.seek(0)
    keywords: list[Any] = [*_HEADER_KEYWORDS, *_PIXEL_KEYWORDS] if pixels else [*_HEADER_KEYWORDS]
    try:
        # pydicom puts the name of the stream into a warning about a truncated file; this one has none.
        return pydicom.dcmread(_Nameless(handle), stop_before_pixels=not pixels, specific_tags=keywords)
    except RecursionError:
        reason = "DICOM sequences are nested too deeply to be an image. Do not use the file"
    except _list_dicom_damage() as error:
        early = isinstance(error, EOFError)
        reason = "image ends early. Fetch it again" if early else "DICOM header is damaged. Fetch it again"
    raise DataError(reason)


def _list_dicom_damage() -> tuple[type[Exception], ...]:
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*_DAMAGE, BytesLengthException, InvalidDicomError)


class _Nameless:
    """What pydicom needs of an open file, without the file's name."""

    def __init__(self, handle: BinaryIO) -> None:
        self.read, self.seek, self.tell = handle.read, handle.seek, handle.tell


def _check_dicom_kind(header: Any) -> bool:
    """Refuse what is not one monochrome frame; say whether low values are bright (MONOCHROME1)."""
    samples = _integer(header, "SamplesPerPixel", 1)
    kind = _text(header, "PhotometricInterpretation")
    if samples != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(
            f"DICOM in colour or of unknown kind (samples per pixel: {samples}); expected MONOCHROME1 or MONOCHROME2"
        )
    frames = _number(header, "NumberOfFrames", 1)
    if frames != 1:
        raise DataError(f"DICOM holds {frames:.0f} frames; expected one image. Split it")
    if "ModalityLUTSequence" in header:
        raise DataError("DICOM with a modality lookup table (0028,3000) is not read. Convert it to rescaled values")
    return kind == "MONOCHROME1"


def _text(header: Any, keyword: str) -> str | None:
    # The raw bytes: pydicom's conversion would quote an invalid value in a warning.
    from pydicom.tag import Tag

    tag = Tag(keyword)
    if tag not in header:
        return None
    value = header.get_item(tag).value
    return value.decode("latin-1").strip(" \0") if isinstance(value, bytes) else ""


def _number(header: Any, keyword: str, default: float) -> float:
    text = _text(header, keyword)
    if text is None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{_name_tag(keyword)} is not a finite number. Correct the header")
    return number


def _integer(header: Any, keyword: str, default: int | None = None) -> int:
    try:
        value = header.get(keyword, default)
    except _list_dicom_damage():
        value = None
    if not isinstance(value, int):
        raise DataError(f"{_name_tag(keyword)} is missing or not one whole number. Correct the header")
    return value


def _name_tag(keyword: str) -> str:
    from pydicom.tag import Tag

    tag = Tag(keyword)
    return f"{keyword} ({tag.group:04x},{tag.element:04x})"


def _decode_dicom(dataset: Any, width: int, height: int) -> np.ndarray:
    from pydicom.pixels.decoders.base import get_decoder

    keyword = next((keyword for keyword in _PIXEL_KEYWORDS if keyword in dataset), None)
    if keyword is None:
        raise DataError("DICOM holds no pixels, or the image ends early. Fetch it again")
    if keyword == "PixelData":
        try:
            syntax = dataset.file_meta.TransferSyntaxUID
            decoder = get_decoder(syntax)
            plain, available, name = not syntax.is_compressed, decoder.is_available, syntax.name
            found = len(dataset.get_item("PixelData").value or b"")
        except _list_dicom_damage():
            plain, available, name, found = False, False, "an unknown transfer syntax", 0
        if not available:
            raise DataError(f"no decoder for {name}. Install pylibjpeg[all], or convert the file to plain DICOM")
        expected = (width * height * _integer(dataset, "BitsAllocated") + 7) // 8
        if plain and found < expected:
            raise DataError(f"image ends early ({found:,} of {expected:,} bytes). Fetch it again")
    try:
        dataset.pixel_array_options(correct_unused_bits=False)  # see _check_bits
        stored = np.asarray(dataset.pixel_array)
    except _list_dicom_damage() as error:
        # Only the pixel module is read here, so the cause holds no patient data.
        raise DataError("image ends early or its data are damaged. Fetch it again") from error
    if stored.shape != (height, width):
        raise DataError(f"pixels have shape {stored.shape}, the header declares {(height, width)}. Correct the file")
    return stored


def _check_bits(header: Any, stored: np.ndarray, *, strict: bool) -> tuple[np.ndarray, tuple[int, int]]:
    """The stored numbers with their sign, and the range that the declared bits can hold.

    A signed number may lie in its 12 bits of 16 with or without its sign repeated above them. Anything else up there is
    an old overlay or a header that lies, and pydicom's own correction would wrap it round to some other grey.
    """
    bits = _integer(header, "BitsStored")
    if not 1 <= bits <= 8 * stored.dtype.itemsize:
        raise DataError(f"{_name_tag('BitsStored')} is {bits}, more or less than the pixels hold. Correct the header")
    first, last = 0, 2**bits - 1
    if stored.dtype.kind == "i":
        first, last = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
        unrepeated = (stored > last) & (stored < 2**bits)
        if unrepeated.any():
            stored = np.where(unrepeated, stored.astype(np.int64) - 2**bits, stored)
    outside = np.count_nonzero(stored < first) + np.count_nonzero(stored > last)
    if strict and outside:
        raise DataError(
            f"{outside:,} of {stored.size:,} pixels do not fit the {bits} bits of {_name_tag('BitsStored')}. "
            "Correct the header, or pass value_range"
        )
    return stored, (first, last)
