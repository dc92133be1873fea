"""Canary files that are damaged, each in a way that makes some reader speak."""

import io

import pydicom
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.uid import RLELossless

FAULTS = [
    *("cut in its pixels", "cut in its compressed pixels", "cut in its header", "a wrong length", "no pixels"),
    *("a character set of canaries", "a transfer syntax of canaries", "rows of canaries", "a slope of canaries"),
    *("several values", "no size", "nested too deeply"),
    *("a page about canaries", "a JPEG with a comment", "a PNG with a text"),
]


def spoil(path, how):
    """Damage a canary file in a way that makes some reader speak."""
    content = path.read_bytes()
    dataset = pydicom.dcmread(io.BytesIO(content))
    if how == "cut in its pixels":
        path.write_bytes(content[: content.index(b"\xe0\x7f\x10\0OW") + 200])
    elif how == "cut in its compressed pixels":
        dataset.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        dataset.save_as(path)
        content = path.read_bytes()
        path.write_bytes(content[: content.index(b"\xe0\x7f\x10\0OB") + 200])
    elif how == "cut in its header":
        path.write_bytes(content[: len(content) // 3])
    elif how == "a wrong length":
        at = content.index(b"\x10\0\x10\0PN") + 6
        path.write_bytes(content[:at] + b"\xf0\xff" + content[at + 2 :])
    elif how == "a character set of canaries":
        at = content.index(b"\x08\0\x05\0CS") + 8
        path.write_bytes(content[:at] + b"KANARI_SET"[:10] + content[at + 10 :])
    elif how == "a transfer syntax of canaries":
        at = content.index(b"1.2.840.10008.1.2.1\0")
        path.write_bytes(content[:at] + b"KANARI-SYNTAX-XXXX\0\0" + content[at + 20 :])
    elif how == "rows of canaries":
        at = content.index(b"\x28\0\x10\0US") + 4
        path.write_bytes(content[:at] + b"LO" + content[at + 2 :])
    elif how == "a slope of canaries":
        dataset.add_new("RescaleSlope", "LO", "KANARI slope")
        dataset.save_as(path)
    elif how == "several values":
        for keyword in ("InstitutionName", "PatientID", "StationName", "Manufacturer"):
            dataset.add_new(keyword, "LO", ["KANARI one", "KANARI two"])
        dataset.NumberOfFrames = 1
        dataset.add_new("PhotometricInterpretation", "CS", ["MONOCHROME2", "KANARI"])
        dataset.save_as(path)
    elif how == "no pixels":
        del dataset.PixelData
        dataset.save_as(path)
    elif how == "no size":
        del dataset.Rows, dataset.Columns
        dataset.save_as(path)
    elif how == "nested too deeply":
        item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        sequence = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff" + item
        at = content.index(b"\x10\0\x10\0PN")
        path.write_bytes(content[:at] + sequence * 3000 + content[at:])
    elif how == "a page about canaries":
        path.write_bytes(b"<html>KANARI is not allowed to see KANARI</html>")
    elif how == "a JPEG with a comment":
        Image.new("L", (32, 32)).save(path, "JPEG", comment=b"KANARI", exif=b"Exif\0\0KANARI")
        path.write_bytes(path.read_bytes()[:-30])
    elif how == "a PNG with a text":
        notes = PngInfo()
        notes.add_text("Patient", "KANARI" * 30, zip=True)
        Image.new("L", (32, 32)).save(path, "PNG", pnginfo=notes)
        path.write_bytes(path.read_bytes()[:-40])
    return path
