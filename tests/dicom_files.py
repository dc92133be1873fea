"""Small DICOM files of many kinds, written with pydicom: transfer syntaxes, depths, polarities, frames, vendors."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
    generate_uid,
)

SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big endian": ExplicitVRBigEndian,
    "rle": RLELossless,
    "jpeg": JPEGBaseline8Bit,  # loses a little; 8 bits at most
    "jpeg lossless": JPEGLosslessSV1,
    "jpeg 2000": JPEG2000Lossless,
}
"""What `write_dicom` writes, by short name. There is no encoder for JPEG-LS: pydicom bundles files in it."""

VENDORS = {
    "GE": {"Manufacturer": "GE MEDICAL SYSTEMS", "ManufacturerModelName": "Optima XR220", "StationName": "GEXR1"},
    "Siemens": {"Manufacturer": "SIEMENS", "ManufacturerModelName": "FD-X", "StationName": "AXIOM07"},
    "Philips": {
        "Manufacturer": "Philips Medical Systems",
        "ManufacturerModelName": "DigitalDiagnost",
        "StationName": "DX-R2",
    },
    "Canon": {"Manufacturer": "Canon Inc.", "ManufacturerModelName": "CXDI Control Software NE", "StationName": "CXDI"},
    "Fuji": {
        "Manufacturer": "FUJIFILM Corporation",
        "ManufacturerModelName": "0000",
        "StationName": "FCR 5",
        "PhotometricInterpretation": "MONOCHROME1",
        "BitsStored": 10,
        "HighBit": 9,
    },
}
"""How the vendors spell themselves; Fuji's computed radiography stores ten bits with low values bright."""

_CR_IMAGE = "1.2.840.10008.5.1.4.1.1.1"
_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.7.3"  # multi-frame grayscale word secondary capture


def write_dicom(
    path,
    *,
    pixels=None,
    transfer_syntax="explicit",
    photometric="MONOCHROME2",
    bits=16,
    frames=1,
    vendor="GE",
    signed=False,
    size=(32, 32),
    seed=0,
    meta=None,
    **elements,
):
    """Write one file and give back its path.

    Args:
        path: the file; its folder is made.
        pixels: stored numbers, (rows, columns) or (frames, rows, columns); None draws them over all of ``bits``.
        transfer_syntax: a name of `SYNTAXES`, or a UID of one.
        photometric: "MONOCHROME1" or "MONOCHROME2".
        bits: bits stored; up to 8 are allocated as 8, more as 16.
        frames: number of frames that are drawn.
        vendor: a name of `VENDORS`, whose elements are set; None for none.
        signed: whether drawn numbers are signed.
        size: rows and columns that are drawn; JPEG 2000 needs 32 at least.
        seed: of the drawing.
        meta: elements of the file meta information, by keyword.
        elements: more elements by keyword, set last; None deletes one.
    """
    syntax = SYNTAXES.get(transfer_syntax, transfer_syntax)
    if pixels is None:
        pixels = draw_pixels(bits, signed=signed, size=size, frames=frames, seed=seed)
    pixels = np.asarray(pixels)
    dataset = _describe(pixels, bits, photometric)
    maker = dict(VENDORS[vendor]) if vendor else {}
    if bits != 16 or photometric != "MONOCHROME2" or pixels.dtype.itemsize == 1 or pixels.dtype.kind == "i":
        maker = {key: value for key, value in maker.items() if key not in ("BitsStored", "HighBit")}
    elif "BitsStored" in maker:
        pixels = pixels >> (16 - maker["BitsStored"])
    for keyword, value in maker.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    _encode(dataset, pixels, syntax)
    for keyword, value in (meta or {}).items():
        setattr(dataset.file_meta, keyword, value)
    for keyword, value in elements.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return Path(path)


def draw_pixels(bits=16, *, signed=False, size=(32, 32), frames=1, seed=0):
    """Noise over every number that the bits can hold, (rows, columns) or (frames, rows, columns)."""
    shape = size if frames == 1 else (frames, *size)
    drawn = np.random.default_rng(seed).integers(0, 2**bits, shape)
    width = 8 if bits <= 8 else 16
    return (drawn - signed * 2 ** (bits - 1)).astype(f"{'i' if signed else 'u'}{width // 8}")


def _describe(pixels, bits, photometric):
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.SOPClassUID = _CR_IMAGE if pixels.ndim == 2 else _MULTI_FRAME
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=[str(pixels.tobytes()[:64]), str(bits)])
    dataset.Modality = "CR"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.BitsAllocated, dataset.BitsStored = pixels.dtype.itemsize * 8, min(bits, pixels.dtype.itemsize * 8)
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(pixels.dtype.kind == "i")
    return dataset


def _encode(dataset, pixels, syntax):
    kind = "OB" if pixels.dtype.itemsize == 1 else "OW"
    planes = pixels if pixels.ndim == 3 else pixels[None]
    if syntax in (JPEGBaseline8Bit, JPEGLosslessSV1):
        encode = _jpeg if syntax == JPEGBaseline8Bit else _jpeg_lossless
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.add_new("PixelData", "OB", encapsulate([encode(plane) for plane in planes]))
        dataset["PixelData"].is_undefined_length = True
        return
    is_plain = syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    content = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax if is_plain else ExplicitVRLittleEndian
    dataset.add_new("PixelData", kind, content + b"\0" * (len(content) % 2))
    if not is_plain:
        options = {"encoding_plugin": "pydicom"} if syntax == RLELossless else {}
        dataset.compress(syntax, generate_instance_uid=False, **options)


def _jpeg(plane):
    if plane.dtype != np.uint8:
        raise ValueError("JPEG baseline holds 8 bits, unsigned: pass bits=8.")
    file = io.BytesIO()
    Image.fromarray(plane).save(file, "JPEG", quality=95)
    return file.getvalue()


def _jpeg_lossless(plane):
    """ITU-T T.81 process 14, first-order prediction (SV1), one Huffman table that gives each category five bits."""
    depth = plane.dtype.itemsize * 8
    rows, columns = plane.shape
    values = plane.astype(np.int64) & (2**depth - 1)
    predicted = np.empty_like(values)
    predicted[:, 1:] = values[:, :-1]
    predicted[1:, 0] = values[:-1, 0]
    predicted[0, 0] = 2 ** (depth - 1)
    bits = []
    for difference in ((values - predicted) % 2**16).ravel().tolist():
        difference -= 2**16 * (difference > 2**15)  # the range is -32767..32768, the last without more bits
        category = math.frexp(abs(difference))[1] if difference else 0
        bits.append(f"{category:05b}")
        if 0 < category < 16:
            bits.append(f"{difference if difference > 0 else difference + 2**category - 1:0{category}b}")
        elif category == 16 and difference != 2**15:
            raise AssertionError(difference)
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    scan = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\0")
    frame = _segment(0xC3, bytes([depth, *divmod(rows, 256), *divmod(columns, 256), 1, 1, 0x11, 0]))
    table = _segment(0xC4, bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)]))
    start = _segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
    return b"\xff\xd8" + frame + table + start + scan + b"\xff\xd9"


def _segment(marker, body):
    return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body
