"""Who an image is of: one key for each patient and study, by DICOM, BIDS, the path, or the file alone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Person", "find_person"]

_SUBJECT = re.compile(r"(?:^|/)(sub-[0-9A-Za-z]+)(?=[_/.]|$)")
_SESSION = re.compile(r"(?:^|[_/])(ses-[0-9A-Za-z]+)(?=[_/.]|$)")
_DERIVED = re.compile(r"(?:^|/)(?:derivatives/[^/]+|derivatives|rawdata|sourcedata)(?=/|$)")


@dataclass(frozen=True)
class Person:
    """What identifies the patient and study of an image. It names people: nothing of it is written anywhere.

    Attributes:
        patient: the key of the patient.
        study: that of the study; empty where it is not known.
        patient_name: what a table of patients would call the patient; empty where no table could.
        study_name: the same for the study.
        source: "dicom", "study" (DICOM without a patient), "bids", "given" or "file".
    """

    patient: str
    study: str
    patient_name: str
    study_name: str
    source: str


def find_person(path: str, elements: Mapping[str, str], given: str | None = None) -> Person:
    """Whose image a file is.

    Args:
        path: of the file, below the folder that is scanned.
        elements: `IDENTITY_KEYWORDS` of its header, where it is DICOM.
        given: the patient by a pattern or table, which goes before everything else.
    Returns:
        of DICOM, PatientID with IssuerOfPatientID (``id^^^issuer``, as HL7 writes it), without a PatientID the study;
        of BIDS, the subject in its data set, for "sub-01" of two data sets are two people, though in the raw data and
        the derivatives of one it is one; else the file.

    >>> find_person("scan.dcm", {"PatientID": "7", "IssuerOfPatientID": "bern"}).patient
    '7^^^bern'
    >>> find_person("derivatives/seg/sub-01/ses-2/anat/sub-01_ses-2_T1w.nii", {})
    Person(patient='/sub-01', study='/sub-01/ses-2', patient_name='sub-01', study_name='ses-2', source='bids')
    >>> find_person("basel/a.png", {}).source
    'file'
    """
    study = elements.get("StudyInstanceUID", "")
    number, issuer = elements.get("PatientID", ""), elements.get("IssuerOfPatientID", "")
    subject = _SUBJECT.search(path)
    if given is not None:
        return Person(given, study, given, study, "given")
    if number:
        return Person(f"{number}^^^{issuer}" if issuer else number, study, number, study, "dicom")
    if study:
        return Person(f"study {study}", study, "", study, "study")
    if subject:
        data_set = _DERIVED.sub("", path[: subject.start()]).strip("/")
        patient = f"{data_set}/{subject[1]}"
        session = _SESSION.search(path, subject.start())
        name = session[1] if session else ""
        return Person(patient, f"{patient}/{name}" if name else "", subject[1], name, "bids")
    return Person(f"file {path}", "", "", "", "file")
