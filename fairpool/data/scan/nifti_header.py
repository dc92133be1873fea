"""Read the header of a NIfTI file, plain or compressed."""

import os
import zlib
from typing import Any, BinaryIO

import numpy as np

from fairpool.data.scan.formats import HEAD_BYTES, inflate_head
from fairpool.data.scan.header import Header, check_size, spell_shape, spell_spacing
from fairpool.data.scan.libraries import library_errors, quiet_libraries
from fairpool.errors import DataError

__all__ = ["read_nifti_header"]

_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_CHUNK = 1 << 20


def read_nifti_header(handle: BinaryIO, *, max_pixels: int) -> Header:
    """The header of a NIfTI-1 or NIfTI-2 file.

    Args:
        handle: the open file, at its start; gzip or plain.
        max_pixels: a file whose first two dimensions declare more is refused.
    Returns:
        shape and spacing in the order of storage (i, j, k, then time), without trailing dimensions of 1; the spacing is
        that of space alone, and empty where it is 0.
    Raises:
        DataError: the header is damaged, the file ends early, or it is too large.

    Of a compressed file the length that it declares at its end is compared with the header. Only where they differ is
    it unpacked, piece by piece, to see whether it is whole.
    """
    head = handle.read(HEAD_BYTES)
    size = handle.seek(0, os.SEEK_END)
    is_packed = head.startswith(b"\x1f\x8b")
    header = _parse(inflate_head(head) if is_packed else head)
    reason = ""
    try:
        with quiet_libraries():
            shape = tuple(int(extent) for extent in header.get_data_shape())
            zooms = tuple(float(zoom) for zoom in header.get_zooms())
            unit = header.get_xyzt_units()[0]
            item = int(header.get_data_dtype().itemsize)
            start = int(header.get_data_offset())
    except library_errors():
        reason = "NIfTI header has no meaning. Fetch it again, or convert it anew"
    if reason:
        raise DataError(reason)
    while len(shape) > 2 and shape[-1] == 1:
        shape, zooms = shape[:-1], zooms[:-1]
    if len(shape) < 2 or min(shape) < 0:
        raise DataError(f"NIfTI declares the shape {spell_shape(shape) or 'of nothing'}; expected an image. Convert it")
    check_size(shape, max_pixels)
    expected = start + item * int(np.prod(shape, dtype=object))
    if not (_unpacks_to(handle, size, expected) if is_packed else size >= expected):
        raise DataError("image ends early. Fetch it again")
    millimetres = tuple(zoom * _MM_PER_UNIT.get(unit, 1.0) for zoom in zooms[:3])
    return Header(format="nifti", shape=spell_shape(shape), spacing=spell_spacing(millimetres))


def _parse(plain: bytes) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header

    kind, length = (Nifti2Header, 540) if plain[4:8] == b"n+2\0" else (Nifti1Header, 348)
    reason = ""
    try:
        with quiet_libraries():
            return kind(plain[:length], check=False)
    except library_errors():
        reason = "NIfTI header is damaged, or ends early. Fetch it again"
    raise DataError(reason)  # outside `except`: nibabel quotes what it found


def _unpacks_to(handle: BinaryIO, size: int, expected: int) -> bool:
    """Whether a gzip file holds at least so many bytes."""
    handle.seek(max(0, size - 4))
    if int.from_bytes(handle.read(4), "little") == expected % 2**32:
        return True
    # Several members one after another, bytes after the image, or a file that was cut off.
    handle.seek(0)
    found, unpacker, pending = 0, zlib.decompressobj(wbits=31), b""
    try:
        while found < expected and (pending or (pending := handle.read(_CHUNK))):
            found += len(unpacker.decompress(pending, _CHUNK))
            pending = unpacker.unconsumed_tail
            if unpacker.eof:
                pending, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
    except zlib.error:
        return False
    return found >= expected
