"""Read the pixels of one DICOM file with pydicom, without a word of its header in any message."""

import math
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from fairpool.data.dicom_file import NamelessStream, check_dicom_start, list_dicom_damage
from fairpool.data.pixels import ReadingRule, check_pixels, scale_levels
from fairpool.errors import DataError

__all__ = ["SAFE_DECODERS", "read_dicom"]

SAFE_DECODERS = {"1.2.840.10008.1.2.5": "pydicom", "1.2.840.10008.1.2.4.50": "pillow"}
"""Decoder by transfer syntax, of RLE and baseline JPEG.

On damaged data pylibjpeg's decoder of the one ends the program with a panic, and that of the other never returns.
"""

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


def read_dicom(handle: BinaryIO, rule: ReadingRule) -> tuple[Image.Image, int, tuple[str, ...]]:
    """One monochrome frame of a file at full size.

    Args:
        handle: the open file, at its start.
        rule: how pixels become numbers: see `read_radiograph`.
    Returns:
        the image in Pillow's float mode, 0 black and 1 white; 8 or 16 bits to keep of it; notes.
    Raises:
        DataError: the file is damaged, too large, no monochrome frame, or its header has no meaning.
    """
    check_dicom_start(handle.read(1_000_000))
    header = _parse_dicom(handle, pixels=False)
    inverted = _check_dicom_kind(header)
    frame, frames = _choose_frame(header, rule.frame)
    height, width = _integer(header, "Rows"), _integer(header, "Columns")
    check_pixels(width, height, rule.max_pixels)
    slope, intercept = _number(header, "RescaleSlope", 1.0), _number(header, "RescaleIntercept", 0.0)
    if slope == 0:
        raise DataError("RescaleSlope (0028,1053) is zero, which would erase the image. Correct the header")

    stored = _decode_dicom(_parse_dicom(handle, pixels=True), width, height, frame, frames)
    lost = ~np.isfinite(stored) if stored.dtype.kind == "f" else np.zeros(0, dtype=bool)
    if stored.dtype.kind == "f":
        _check_finite(lost, rule.nan)
        if rule.value_range is None:
            raise DataError("pixels are floating point, so the header implies no range. Pass value_range")
        low, high, bits = *rule.value_range, 16
    else:
        stored, ends = _check_bits(header, stored, strict=rule.value_range is None)
        low, high = rule.value_range or sorted(slope * end + intercept for end in ends)
        bits = 8 if _integer(header, "BitsStored") <= 8 else 16
    factor, offset = slope / (high - low), (intercept - low) / (high - low)
    if not (math.isfinite(factor) and math.isfinite(offset) and abs(factor) < 1e30 and abs(offset) < 1e30):
        raise DataError(
            "RescaleSlope (0028,1053) or RescaleIntercept (0028,1052) is out of any range. Correct the header"
        )
    if lost.any():
        stored = np.where(lost, -offset / factor, stored)  # black, so that it is not counted as clipped
    notes: tuple[str, ...]
    image, notes = scale_levels(stored, factor, offset)
    if inverted:
        image, notes = Image.fromarray(1 - np.asarray(image)), (*notes, "monochrome1")
    if frames > 1:
        notes = (*notes, "one of several frames")
    if lost.any():
        image, notes = Image.fromarray(np.where(lost, np.float32(0), np.asarray(image))), (*notes, "nan filled")
    return image, bits, notes


def _parse_dicom(handle: BinaryIO, *, pixels: bool) -> Any:
    # Errors of the parser are raised outside `except` and without a cause: their text may quote any element.
    import pydicom

    handle.seek(0)
    keywords: list[Any] = [*_HEADER_KEYWORDS, *_PIXEL_KEYWORDS] if pixels else [*_HEADER_KEYWORDS]
    try:
        # pydicom puts the name of the stream into a warning about a truncated file; this one has none.
        return pydicom.dcmread(NamelessStream(handle), stop_before_pixels=not pixels, specific_tags=keywords)
    except RecursionError:
        reason = "DICOM sequences are nested too deeply to be an image. Do not use the file"
    except list_dicom_damage() as error:
        early = isinstance(error, EOFError)
        reason = "image ends early. Fetch it again" if early else "DICOM header is damaged. Fetch it again"
    raise DataError(reason)


def _check_dicom_kind(header: Any) -> bool:
    """Refuse what is not one monochrome frame; say whether low values are bright (MONOCHROME1)."""
    samples = _integer(header, "SamplesPerPixel", 1)
    kind = _text(header, "PhotometricInterpretation")
    if samples != 1 or kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise DataError(
            f"DICOM in colour or of unknown kind (samples per pixel: {samples}); expected MONOCHROME1 or MONOCHROME2"
        )
    if "ModalityLUTSequence" in header:
        raise DataError("DICOM with a modality lookup table (0028,3000) is not read. Convert it to rescaled values")
    return kind == "MONOCHROME1"


def _choose_frame(header: Any, wanted: int | str | None) -> tuple[int, int]:
    """Number of the frame to read, from 0, and how many there are."""
    found = _number(header, "NumberOfFrames", 1)
    if found < 1 or found != int(found):
        raise DataError(f"{_name_tag('NumberOfFrames')} is no whole number of at least 1. Correct the header")
    frames = int(found)
    if wanted is None and frames != 1:
        raise DataError(f"DICOM holds {frames} frames; expected one image. Split it, or pass frame")
    if isinstance(wanted, int) and wanted >= frames:
        raise DataError(f"DICOM holds {frames} frame{'s' * (frames > 1)}, so there is no frame {wanted}, from 0")
    return (frames // 2 if wanted == "middle" else int(wanted or 0)), frames


def _check_finite(lost: np.ndarray, nan: str) -> None:
    count = int(np.count_nonzero(lost))
    if count and (nan == "raise" or count == lost.size):
        remedy = "Drop the image" if count == lost.size else 'Repair or drop the image, or pass nan="fill"'
        raise DataError(f"{count:,} of {lost.size:,} pixels are NaN or infinite. {remedy}")


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
    except list_dicom_damage():
        value = None
    if not isinstance(value, int):
        raise DataError(f"{_name_tag(keyword)} is missing or not one whole number. Correct the header")
    return value


def _name_tag(keyword: str) -> str:
    from pydicom.tag import Tag

    tag = Tag(keyword)
    return f"{keyword} ({tag.group:04x},{tag.element:04x})"


def _decode_dicom(dataset: Any, width: int, height: int, frame: int, frames: int) -> np.ndarray:
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
        except list_dicom_damage():
            plain, available, name, found = False, False, "an unknown transfer syntax", 0
        if not available:
            raise DataError(f"no decoder for {name}. Install fairpool[decoders], or convert the file to plain DICOM")
        expected = (frames * width * height * _integer(dataset, "BitsAllocated") + 7) // 8
        if plain and found < expected:
            raise DataError(f"image ends early ({found:,} of {expected:,} bytes). Fetch it again")
    try:
        options: dict[str, Any] = {"correct_unused_bits": False}  # see _check_bits
        if frames > 1:
            options["index"] = frame
        if dataset.file_meta.TransferSyntaxUID in SAFE_DECODERS:
            options["decoding_plugin"] = SAFE_DECODERS[dataset.file_meta.TransferSyntaxUID]
        dataset.pixel_array_options(**options)
        stored = np.asarray(dataset.pixel_array)
    except list_dicom_damage() as error:
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
