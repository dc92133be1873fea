"""Read the header of a PNG or JPEG file."""

import os
from typing import BinaryIO

from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from fairpool.data.scan.header import Header, check_size, spell_shape
from fairpool.data.scan.libraries import library_errors, quiet_libraries
from fairpool.errors import DataError

__all__ = ["read_raster_header"]

_TAIL_BYTES = 65_536


def read_raster_header(handle: BinaryIO, kind: str, *, max_pixels: int) -> Header:
    """The header of a PNG or JPEG file, as it is stored: EXIF's rotation is not applied.

    Args:
        handle: the open file, at its start.
        kind: "png" or "jpeg", as `tell_format` says.
        max_pixels: a file that declares more is refused.
    Raises:
        DataError: the header is damaged, the file ends early, or it is too large.

    The density that such files declare is that of a screen or printer, so there is no spacing.
    """
    reason = ""
    try:
        with quiet_libraries():
            # The plugin is called directly: Image.open has a limit of its own, set for the whole process.
            image = PngImageFile(handle) if kind == "png" else JpegImageFile(handle)
        (width, height), mode = image.size, image.mode
        frames = int(getattr(image, "n_frames", 1))
    except library_errors():
        reason = "image header is damaged, or the image ends early. Fetch it again"
    if reason:
        raise DataError(reason)
    shape = (height, width) if frames == 1 else (height, width, frames)
    check_size(shape, max_pixels)
    if not _is_whole(handle, kind):
        raise DataError("image ends early. Fetch it again")
    return Header(format=kind, shape=spell_shape(shape), photometric=mode)


def _is_whole(handle: BinaryIO, kind: str) -> bool:
    """Whether the mark of the end stands near the end; some writers add a few bytes of their own."""
    size = handle.seek(0, os.SEEK_END)
    handle.seek(max(0, size - _TAIL_BYTES))
    return (b"IEND\xaeB`\x82" if kind == "png" else b"\xff\xd9") in handle.read()
