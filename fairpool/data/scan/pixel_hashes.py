"""Hashes of the pixels of one file of any format, decoded at full size."""

import gzip
import hashlib
from typing import Any, BinaryIO

import numpy as np

from fairpool.data.dicom import _Nameless
from fairpool.data.scan.libraries import library_errors, quiet_libraries
from fairpool.errors import DataError

__all__ = ["MAX_HASHED", "hash_pixels"]

MAX_HASHED = 500_000_000
"""Most numbers in an image whose pixels are hashed, for they are all in memory at once."""

_DICOM_KEYWORDS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
)


def hash_pixels(handle: BinaryIO, kind: str) -> tuple[str, str]:
    """What is equal for equal pixels, and what is alike for images that look alike.

    Args:
        handle: the open file, at its start. Its header has been read, so its size is known to be bearable.
        kind: "dicom", "nifti", "png" or "jpeg".
    Returns:
        SHA-256 of shape, type and bytes of the stored numbers, without any rescaling, so that a file and its gzipped
        copy have one hash; and the perceptual hash of the image in grey between its darkest and brightest pixel, with
        low values dark: of a volume or film the middle slice or frame.
    Raises:
        DataError: the file cannot be decoded; no value of its header is in the message.
    """
    read = {"dicom": _read_dicom, "nifti": _read_nifti}.get(kind, _read_raster)
    from fairpool.data.image_hashes import perceptual_hash

    try:
        with quiet_libraries():
            pixels, plane = read(handle)
            digest = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape}".encode())
            digest.update(np.ascontiguousarray(pixels).data.cast("B") if pixels.size else b"")
            return digest.hexdigest(), perceptual_hash(_to_grey(plane))
    except DataError as error:
        reason = str(error)
    except MemoryError:
        reason = "image is too large for the memory. Leave out --hash-pixels"
    except library_errors():
        reason = "image data are damaged, end early, or need a decoder that is not installed. Fetch it again"
    raise DataError(reason)  # outside `except`: the causes may quote the file's name


def _read_dicom(handle: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    import pydicom
    from pydicom.uid import JPEGBaseline8Bit, RLELossless

    handle.seek(0)
    dataset = pydicom.dcmread(_Nameless(handle), specific_tags=list(_DICOM_KEYWORDS))  # type: ignore[arg-type]
    plugin = {RLELossless: "pydicom", JPEGBaseline8Bit: "pillow"}.get(dataset.file_meta.TransferSyntaxUID)
    if plugin:
        # On damage pylibjpeg's decoder of the one ends the program with a panic, and that of the other never returns.
        dataset.pixel_array_options(decoding_plugin=plugin)
    pixels = _little_endian(np.asarray(dataset.pixel_array))
    plane = pixels
    while plane.ndim > 2 + (int(dataset.get("SamplesPerPixel") or 1) > 1):
        plane = plane[len(plane) // 2]
    return pixels, -plane.astype(np.float32) if dataset.PhotometricInterpretation == "MONOCHROME1" else plane


def _read_nifti(handle: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    is_packed = handle.read(2) == b"\x1f\x8b"
    handle.seek(0)
    stream: Any = gzip.GzipFile(fileobj=handle, filename="") if is_packed else handle
    kind = Nifti2Image if stream.read(8)[4:7] == b"n+2" else Nifti1Image
    stream.seek(0)
    proxy: Any = kind.from_stream(stream).dataobj
    pixels = _little_endian(np.asarray(proxy.get_unscaled()))
    while pixels.ndim > 2 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    plane = pixels
    while plane.ndim > 2:
        plane = plane[..., plane.shape[-1] // 2]
    if plane.dtype.fields:  # colour
        plane = np.stack([plane[name] for name in plane.dtype.names or ()], axis=-1)
    return pixels, plane


def _read_raster(handle: BinaryIO) -> tuple[np.ndarray, np.ndarray]:
    from PIL import ImageOps
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    image: Any = (PngImageFile if handle.read(4) == b"\x89PNG" else JpegImageFile)(_rewound(handle))
    image.load()
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("P", "PA", "1"):
        upright = upright.convert("RGBA")
    return _little_endian(np.asarray(image)), np.asarray(upright)


def _rewound(handle: BinaryIO) -> BinaryIO:
    handle.seek(0)
    return handle


def _little_endian(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)


def _to_grey(plane: np.ndarray) -> np.ndarray:
    """A plane, or one with channels at its end, as uint8 from its darkest to its brightest pixel."""
    if np.iscomplexobj(plane):
        plane = np.abs(plane)
    if plane.ndim == 3:
        channels = plane.shape[-1]
        plane = plane[..., : channels - 1 if channels in (2, 4) else channels].mean(axis=-1)  # without opacity
    levels = np.nan_to_num(plane.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(levels.min()), float(levels.max())
    return np.zeros(levels.shape, np.uint8) if high <= low else ((levels - low) * (255 / (high - low))).astype(np.uint8)
