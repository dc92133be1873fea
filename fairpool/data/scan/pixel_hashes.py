"""The two hashes of the pixels of one file of any format, decoded at full size: the only place that makes them."""

import hashlib
from typing import Any, BinaryIO

import numpy as np

from fairpool.data.dicom import SAFE_DECODERS
from fairpool.data.dicom_file import NamelessStream
from fairpool.data.scan.libraries import library_errors, quiet_libraries
from fairpool.data.scan.planes import middle_plane, mix_channels, open_voxels
from fairpool.errors import DataError

__all__ = ["HASH_RULE", "MAX_HASHED", "hash_pixels", "perceptual_hash"]

HASH_RULE = 2
"""Raise it whenever the same file gets other hashes, so that no journal keeps the old ones."""

MAX_HASHED = 500_000_000
"""Most numbers in an image whose pixels are hashed, for they are all in memory at once."""

_PALETTE = "PaletteColorLookupTable"
_DICOM_KEYWORDS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData"),
    *(f"{colour}{_PALETTE}{part}" for colour in ("Red", "Green", "Blue", "Alpha") for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}{_PALETTE}Data" for colour in ("Red", "Green", "Blue", "Alpha")),
)


def hash_pixels(handle: BinaryIO, kind: str) -> tuple[str, str]:
    """What is equal for equal pixels, and what is alike for images that look alike.

    Args:
        handle: the open file, at its start. Its header has been read, so its size is known to be bearable.
        kind: "dicom", "nifti", "png" or "jpeg".
    Returns:
        SHA-256 of shape, type and bytes of the stored numbers, without any rescaling, so that a file and its gzipped
        copy have one hash: of a volume or film all of it, colours in place of the indices of a palette, PNG and JPEG
        upright by EXIF, and whether low numbers are bright (MONOCHROME1). And the perceptual hash of the image in grey
        between its darkest and brightest pixel, with low values dark: of a film the middle frame, of a volume the
        `middle_plane`.
    Raises:
        DataError: the file cannot be decoded; no value of its header is in the message.
    """
    read = {"dicom": _read_dicom, "nifti": _read_nifti}.get(kind, _read_raster)
    try:
        with quiet_libraries():
            pixels, plane, is_inverted = read(handle)
            pixels = pixels.astype(pixels.dtype.newbyteorder("<"), copy=False)
            inverted = " MONOCHROME1" if is_inverted else ""
            digest = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape}{inverted}".encode())
            digest.update(np.ascontiguousarray(pixels).data.cast("B") if pixels.size else b"")
            return digest.hexdigest(), perceptual_hash(_to_grey(plane, is_inverted))
    except DataError as error:
        reason = str(error)
    except MemoryError:
        reason = "image is too large for the memory, where its pixels are hashed. Do without their hashes"
    except library_errors():
        reason = "image data are damaged, end early, or need a decoder that is not installed. Fetch it again"
    raise DataError(reason)  # outside `except`: the causes may quote the file's name


def perceptual_hash(levels: np.ndarray) -> str:
    """Perceptual hash (pHash) of a grey image, 64 bits as 16 hexadecimal digits: alike for images that look alike.

    Args:
        levels: uint8, height by width.
    Source: ImageHash's ``phash``: the 8 x 8 lowest cosine frequencies of the image at 32 x 32, above or below their
        median.

    >>> perceptual_hash(np.full((8, 8), 128, dtype=np.uint8))
    '8000000000000000'
    """
    import imagehash
    from PIL import Image

    return str(imagehash.phash(Image.fromarray(levels)))


def _read_dicom(handle: BinaryIO) -> tuple[np.ndarray, np.ndarray, bool]:
    import pydicom
    from pydicom.pixels import apply_color_lut

    handle.seek(0)
    dataset = pydicom.dcmread(NamelessStream(handle), specific_tags=list(_DICOM_KEYWORDS))  # type: ignore[arg-type]
    plugin = SAFE_DECODERS.get(dataset.file_meta.TransferSyntaxUID)
    if plugin:
        dataset.pixel_array_options(decoding_plugin=plugin)
    pixels = np.asarray(dataset.pixel_array)
    is_colour = int(dataset.get("SamplesPerPixel") or 1) > 1
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        pixels, is_colour = apply_color_lut(pixels, dataset), True
    plane = pixels
    while plane.ndim > 2 + is_colour:
        plane = plane[len(plane) // 2]
    return pixels, plane, dataset.PhotometricInterpretation == "MONOCHROME1"


def _read_nifti(handle: BinaryIO) -> tuple[np.ndarray, np.ndarray, bool]:
    pixels = np.asarray(open_voxels(handle).get_unscaled())
    while pixels.ndim > 2 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    return pixels, middle_plane(pixels), False


def _read_raster(handle: BinaryIO) -> tuple[np.ndarray, np.ndarray, bool]:
    from PIL import ImageOps
    from PIL.JpegImagePlugin import JpegImageFile
    from PIL.PngImagePlugin import PngImageFile

    image: Any = (PngImageFile if handle.read(4) == b"\x89PNG" else JpegImageFile)(_rewound(handle))
    image.load()
    image = ImageOps.exif_transpose(image)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    pixels = np.asarray(image.convert("L") if image.mode == "1" else image)
    return pixels, pixels, False


def _rewound(handle: BinaryIO) -> BinaryIO:
    handle.seek(0)
    return handle


def _to_grey(plane: np.ndarray, is_inverted: bool) -> np.ndarray:
    """A plane, or one with channels at its end, as uint8 from its darkest to its brightest pixel."""
    plane = mix_channels(plane)
    if plane.dtype.kind in "iu" and plane.dtype.itemsize <= 2 and plane.size:
        # Through a table of the possible numbers, which takes an eighth of the time on 2048 x 2048. A difference that
        # overflows is right again without its sign.
        low, high = plane.min(), plane.max()
        table = _stretch(np.arange(int(low), int(high) + 1, dtype=np.float64), is_inverted)
        return table[(plane - low).astype(f"u{plane.dtype.itemsize}")]
    return _stretch(np.nan_to_num(plane.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0), is_inverted)


def _stretch(levels: np.ndarray, is_inverted: bool) -> np.ndarray:
    levels = -levels if is_inverted else levels
    low, high = float(levels.min()), float(levels.max())
    return np.zeros(levels.shape, np.uint8) if high <= low else ((levels - low) * (255 / (high - low))).astype(np.uint8)
