"""What a manifest says of one image, with no name left in it that could tell who the patient is."""

from typing import Any

from fairpool.data.pseudonyms import Pseudonyms
from fairpool.data.scan.dicom_header import DEVICE_KEYWORDS
from fairpool.data.scan.persons import Person
from fairpool.data.scan.reading import FileReading

__all__ = ["make_row"]


def make_row(
    reading: FileReading, person: Person, site: str, scanner: str, pseudonyms: Pseudonyms, *, per_device: bool = False
) -> dict[str, Any]:
    """The values of a row, all text.

    Args:
        reading: of the file; it holds a header.
        person: whose image it is; comes out as pseudonyms of the kinds "patient" and "study".
        site: its site.
        scanner: its scanner; empty: that of the header.
        pseudonyms: replace the names.
        per_device: add a pseudonym of the serial number and station to the scanner, where the header has them.
    Returns:
        the columns of a manifest but for the path and the label; and ``patient_name``, ``study_name`` (pseudonyms of
        what another table would call them), ``issued`` (whether an issuer is part of the patient) and ``source``, how
        the patient was found. The fingerprint is a pseudonym of the reading's digest: a plain hash of a header would
        let anybody find a PatientID by trying all of them.
    """
    header = reading.header
    assert header is not None
    scanner = scanner or header.scanner
    device = "^".join(header.elements.get(keyword, "") for keyword in DEVICE_KEYWORDS)
    if per_device and device.strip("^"):
        scanner = " | ".join(filter(None, [scanner, pseudonyms.of(device, "device")]))

    def hide(name: str, kind: str) -> str:
        return pseudonyms.of(name, kind) if name.strip() else ""

    return {
        "patient": hide(person.patient, "patient"),
        "study": hide(person.study, "study"),
        "site": site,
        "scanner": scanner,
        "format": header.format,
        "shape": header.shape,
        "spacing": header.spacing,
        "photometric": header.photometric,
        "fingerprint": pseudonyms.of(reading.digest, "file"),
        "pixel_hash": reading.pixel_hash,
        "perceptual_hash": reading.perceptual_hash,
        "patient_name": hide(person.patient_name, "patient"),
        "study_name": hide(person.study_name, "study"),
        "issued": person.source == "dicom" and person.patient != person.patient_name,
        "source": person.source,
    }
