"""Read the header of a DICOM file, and see whether the file is whole, without its pixels."""

import os
import re
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

from fairpool.data.dicom_file import check_dicom_start
from fairpool.data.headers import element_text, find_tag, parse_elements
from fairpool.data.scan.formats import HEAD_BYTES
from fairpool.data.scan.header import Header, NoImageError, check_size, spell_scanner, spell_shape, spell_spacing
from fairpool.data.scan.libraries import library_errors, quiet_libraries
from fairpool.errors import DataError

__all__ = ["DEVICE_KEYWORDS", "IDENTITY_KEYWORDS", "read_dicom_file_header"]

IDENTITY_KEYWORDS = ("PatientID", "IssuerOfPatientID", "StudyInstanceUID")
"""Elements that say whose image it is."""

DEVICE_KEYWORDS = ("DeviceSerialNumber", "StationName")
"""Elements that say which machine made it; they go into a table as a pseudonym alone."""

_SCANNER = ("Manufacturer", "ManufacturerModelName", "MagneticFieldStrength")
_PLANE_SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_SLICE_SPACINGS = ("SpacingBetweenSlices", "SliceThickness")
_KEYWORDS = (
    *(
        "SOPClassUID",
        "Rows",
        "Columns",
        "NumberOfFrames",
        "PhotometricInterpretation",
        "SharedFunctionalGroupsSequence",
    ),
    *(*_SCANNER, *_PLANE_SPACINGS, *_SLICE_SPACINGS, *IDENTITY_KEYWORDS, *DEVICE_KEYWORDS),
)
_UNDEFINED = 0xFFFFFFFF
# What stands at the place of the pixels, as pydicom's stop_before_pixels has it.
_PIXEL_TAGS = (0x7FE00008, 0x7FE00009, 0x7FE00010)
_DAMAGED = "DICOM header is damaged. Fetch it again"
_EARLY = "image ends early. Fetch it again"


def read_dicom_file_header(handle: BinaryIO, *, max_pixels: int, keywords: Sequence[str] = ()) -> Header:
    """The header of a DICOM file with one image or several frames.

    Args:
        handle: the open file, at its start.
        max_pixels: a file that declares more in a frame is refused.
        keywords: more elements that are wanted, by keyword or tag: see `read_dicom_header`.
    Returns:
        the header; the spacing is that of the pixels and, where the file says so, of the slices (their distance, or
        else their thickness). ``elements`` has what is there of `IDENTITY_KEYWORDS` and `DEVICE_KEYWORDS`: text,
        several values joined by "+"; ``asked`` has ``keywords``.
    Raises:
        DataError: the header is damaged, the file ends early, is too large, or says nothing of its size, or an element
            of ``keywords`` holds no text. No value of the header is in the message.
        NoImageError: the file is no image by its kind: a report, a plan, a DICOMDIR.
    """
    check_dicom_start(handle.read(HEAD_BYTES))
    tags = [find_tag(keyword) for keyword in (*_KEYWORDS, *keywords)]
    reason = _EARLY
    try:
        with quiet_libraries():
            header, _ = parse_elements(handle, tags, stop=_PIXEL_TAGS.__contains__)
            end_of_header = handle.tell()
            shape = _read_shape(header)
            spacing = _read_spacing(header)
            names = (*IDENTITY_KEYWORDS, *DEVICE_KEYWORDS)
            elements = {name: text for name in names if (text := _read_text(header, name))}
            asked = {keyword: element_text(header, keyword) for keyword in keywords}
            photometric = _read_text(header, "PhotometricInterpretation")
            scanner = spell_scanner([_read_text(header, keyword) for keyword in _SCANNER])
        reason = ""
    except RecursionError:
        reason = "DICOM sequences are nested too deeply to be an image. Do not use the file"
    except EOFError:
        pass
    except DataError as error:
        reason = str(error)
    except library_errors():
        reason = _DAMAGED
    if reason:
        raise DataError(reason)  # outside `except`: the causes may quote any element
    check_size(shape, max_pixels)
    frames = shape[2] if len(shape) > 2 else 1
    if not _holds_pixels(handle, end_of_header, "<" if header.original_encoding[1] else ">", frames):
        raise DataError(_EARLY)
    if not re.fullmatch(r"[A-Z0-9_ ]{0,16}", photometric):
        raise DataError("PhotometricInterpretation (0028,0004) is damaged. Fetch it again")
    return Header("dicom", spell_shape(shape), spell_spacing(spacing), photometric, scanner, elements, asked)


def _read_shape(header: Any) -> tuple[int, ...]:
    from pydicom.uid import UID

    rows, columns = _read_text(header, "Rows"), _read_text(header, "Columns")
    frames = _read_text(header, "NumberOfFrames") or "1"
    if not rows and not columns:
        kind = UID(_read_text(header, "SOPClassUID")).keyword
        if "ImageStorage" not in kind:
            raise NoImageError
        raise DataError("DICOM says nothing of its size, or ends early. Fetch it again")
    if not re.fullmatch(r"[0-9]{1,9},[0-9]{1,9}", f"{rows},{columns}"):
        raise DataError("Rows (0028,0010) or Columns (0028,0011) is missing or no number. Correct the header")
    if not re.fullmatch(r"[0-9]{1,9}(\.0*)?", frames):
        raise DataError("NumberOfFrames (0028,0008) is no whole number. Correct the header")
    number = int(frames.split(".")[0])
    return (int(rows), int(columns)) if number == 1 else (int(rows), int(columns), number)


def _read_spacing(header: Any) -> tuple[float, ...]:
    """Spacing of rows and columns, and of slices where it is known; empty where the header has none, or no numbers."""
    sources = [header]
    if "SharedFunctionalGroupsSequence" in header:
        for group in header.SharedFunctionalGroupsSequence:
            sources += list(group.get("PixelMeasuresSequence") or [])
    plane: list[float] = []
    between: list[float] = []
    for source in sources:
        plane = plane or next((found for name in _PLANE_SPACINGS if len(found := _numbers(source, name)) == 2), [])
        between = between or next((found for name in _SLICE_SPACINGS if len(found := _numbers(source, name)) == 1), [])
    if not plane:
        return ()
    return (*plane, *between) if between and between[0] > 0 else tuple(plane)


def _numbers(source: Any, keyword: str) -> list[float]:
    try:
        return [float(part) for part in _read_text(source, keyword).split("+")]
    except ValueError:
        return []


def _read_text(source: Any, keyword: str) -> str:
    """The text of an element; several values are joined by "+". One that is empty, missing or no text is empty."""
    try:
        text = element_text(source, keyword) or ""
    except DataError:
        return ""
    return "+".join(part for part in text.split("\\") if part)


def _holds_pixels(handle: BinaryIO, start: int, order: str, frames: int) -> bool:
    """Whether the pixels, whose element begins at ``start``, are there to their end; none of them is read.

    Compressed pixels need an item for each frame at least, or a decoder would ask for the memory of frames that are not
    there.
    """
    size = handle.seek(0, os.SEEK_END)
    handle.seek(start)
    head = handle.read(12).ljust(12, b"\0")
    if head[:2] != struct.pack(f"{order}H", 0x7FE0):
        return False
    # By what stands there: some writers leave out the kind of this one element.
    has_kind = head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"OV", b"UN")
    at = 8 if has_kind else 4
    begin, length = start + at + 4, struct.unpack(f"{order}L", head[at : at + 4])[0]
    if length != _UNDEFINED:
        return length > 0 and begin + length <= size
    items = -1  # the first is a table of offsets
    while True:  # compressed pixels: an item a fragment, then the mark of the end
        handle.seek(begin)
        item = handle.read(8)
        if item == struct.pack(f"{order}HHL", 0xFFFE, 0xE0DD, 0):
            return items >= frames
        if len(item) < 8 or item[:4] != struct.pack(f"{order}HH", 0xFFFE, 0xE000):
            return False
        begin += 8 + struct.unpack(f"{order}L", item[4:])[0]
        items += 1
