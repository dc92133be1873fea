"""Canaries: values by which a leak is known, planted in all that can name a patient, and the search for them.

Every planted text holds "KANARI" and the number of its element; dates, times, numbers and identifiers are such as occur
nowhere else. `find_canaries` looks through a file as far as its formats go: archives, compressed streams, parquet,
sqlite, base64, hexadecimal, UTF-16.
"""

import base64
import binascii
import io
import re
import sqlite3
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from dicom_files import write_dicom
from identifying_elements import IDENTIFYING, PRIVATE_GROUPS, REPEATING
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

SEARCHED = re.compile(
    rb"(?i:kanari)[0-9a-z]{0,12}"  # texts, names, bytes, and names of files and folders
    rb"|1\.2\.826\.0\.1\.3680043\.10\.7777[.0-9]*"  # identifiers
    rb"|(?<![0-9A-Za-z])18[6-9]\d-?[01]\d-?[0-3]\d(?![0-9A-Za-z])"  # dates
    rb"|(?<!\d)(?:18[6-9]\d{5})?\d{6}\.9042\d\d(?!\d)"  # times, and dates with times
    rb"|(?<!\d)731\.9\d{1,4}(?!\d)|(?<!\d)7319\d{4}(?!\d)"  # decimal and whole numbers
    rb"|(?<!\w)173Y(?!\w)"  # ages
)
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}[ :]?){8,}")
_UNPLANTED = {
    "AffectedSOPInstanceUID",
    "RequestedSOPInstanceUID",
    "MediaStorageSOPInstanceUID",
}  # no data set holds them


def canary(keyword, number):
    """A value of the right kind for an element of file or patient ``number``, by which it will be known."""
    element = IDENTIFYING.index(keyword)
    kind, text = dictionary_VR(tag_for_keyword(keyword)), f"KANARI{element:03d}F{number:03d}"
    day, second = f"18{60 + element % 40}{1 + element % 12:02d}{1 + number % 28:02d}", f"0{element:03d}00"[:4]
    time = f"{int(second) % 24:02d}{element % 60:02d}17.9042{number % 100:02d}"
    values = {"DA": day, "TM": time, "DT": f"{day}{time}", "DS": f"731.9{element:03d}", "IS": f"7319{element:04d}"}
    values |= {"AS": "173Y", "PN": f"{text}^Anna=", "UI": f"1.2.826.0.1.3680043.10.7777.{element + 1}.{number + 1}"}
    values |= {"US": 7319, "OB": f"{text} ".encode(), "UN": f"{text} ".encode(), "UR": f"https://{text}.invalid/"}
    return _item(number, depth=2) if kind == "SQ" else values.get(kind, text)


def _item(number, depth):
    item = Dataset()
    item.PatientID, item.PatientName = canary("PatientID", number), canary("PatientName", number)
    item.CodeValue, item.CodeMeaning = "KANARI000", "KANARI in a code"
    item.RequestedProcedureID, item.StudyDate = "KANARI001", canary("StudyDate", number)
    if depth:
        item.OtherPatientIDsSequence = _item(number, depth - 1)
    return Sequence([item])


def write_canary(path, number, *, institution=None, **options):
    """A DICOM file with a canary in every identifying element; ``options`` as for `write_dicom`, set last.

    Args:
        path: the file.
        number: of the patient, who has one file.
        institution: value of InstitutionName; None plants a canary there as well.
    """
    planted = {keyword: canary(keyword, number) for keyword in IDENTIFYING if keyword not in _UNPLANTED}
    planted["OtherPatientIDs"] = ["KANARI7A", "KANARI7B"]
    if institution is not None:
        planted["InstitutionName"] = institution
    meta = {
        "SourceApplicationEntityTitle": "KANARI_SOURCE",
        "SendingApplicationEntityTitle": "KANARI_SENDER",
        "ReceivingApplicationEntityTitle": "KANARI_RECEIVER",
        "PrivateInformationCreatorUID": "1.2.826.0.1.3680043.10.7777.9",
        "PrivateInformation": b"KANARI private",
    }
    write_dicom(path, meta=meta, vendor=options.pop("vendor", "GE"), **{**planted, **options})
    import pydicom

    dataset = pydicom.dcmread(path)
    for group in PRIVATE_GROUPS:
        block = dataset.private_block(group, "KANARI 1.0", create=True)
        block.add_new(0x01, "LO", "KANARI private text")
        block.add_new(0x02, "OB", b"KANARI private bytes")
        block.add_new(0x03, "SQ", _item(number, depth=1))
    for group, elements in REPEATING.items():
        for element in elements:
            is_text = element == 0x4000
            dataset.add_new((group, element), "LT" if is_text else "OW", "KANARI note" if is_text else b"KANARI")
    dataset.preamble = b"KANARI".ljust(128, b"\0")
    dataset.save_as(path)
    return Path(path)


def find_canaries(content, _depth=0):
    """The canaries in some bytes or text, whatever it was packed in."""
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogateescape")
    found = {match.decode("latin-1") for match in SEARCHED.findall(content)}
    if b"\0" in content:
        found |= {match.decode("latin-1") for match in SEARCHED.findall(content.replace(b"\0", b""))}  # UTF-16 and -32
    if _depth < 3:
        for part in _unpack(content):
            found |= find_canaries(part, _depth + 1)
    return found


def _unpack(content):
    for run in _HEX.findall(content):
        digits = re.sub(rb"[ :]", b"", run)
        yield binascii.unhexlify(digits[: len(digits) // 2 * 2])
        yield binascii.unhexlify(digits[1 : 1 + (len(digits) - 1) // 2 * 2])
    for run in _BASE64.findall(content):
        core = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):  # the run may begin with a letter that is not its
            part = core[start:]
            with suppress(ValueError):
                yield base64.b64decode(part + b"=" * (-len(part) % 4))
    if content[:2] == b"PK":
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                yield member.filename.encode()
                yield archive.read(member)
    for magic, window in ((b"\x1f\x8b", 31), (b"\x78", 15)):
        if content.startswith(magic):
            with suppress(zlib.error):
                yield zlib.decompressobj(window).decompress(content)
    if content[:8] == b"\x89PNG\r\n\x1a\n":
        yield from _png_texts(content)
    if content[:4] == b"PAR1":
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(io.BytesIO(content))
        yield repr((table.schema.metadata, table.to_pydict())).encode()
    if content[:15] == b"SQLite format 3":
        with sqlite3.connect(":memory:") as database:
            database.deserialize(content)
            yield "\n".join(database.iterdump()).encode()


def _png_texts(content):
    at = 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        body = content[at + 8 : at + 8 + length]
        if kind in (b"zTXt", b"iTXt", b"eXIf"):
            for start in range(len(body)):
                if body[start : start + 1] == b"\x78":
                    with suppress(zlib.error):
                        yield zlib.decompress(body[start:])
        at += 12 + length


def find_in_folder(folder, *, skip=()):
    """The canaries in every file below a folder and in the files' names, by file; ``skip`` names files left out."""
    leaks = {}
    for file in sorted(Path(folder).rglob("*")):
        if file.is_file() and file.name not in skip:
            place = str(file.relative_to(folder))
            found = find_canaries(place) | find_canaries(file.read_bytes())
            if found:
                leaks[place] = sorted(found)[:10]
    return leaks
