"""Which elements of a header name a patient or an examination, and so can never be a site; which may, in free text."""

import re

from fairpool.data.headers import find_tag

__all__ = ["is_free_text", "is_identifying"]

_KINDS = {"PN", "DA", "TM", "DT", "LT", "ST", "UT", "UR"}
"""Kinds of elements that hold a person, a date or time, or text of any length."""

_CLASSES = ("ClassUID", "TransferSyntaxUID", "DeviceUID")
"""How identifiers end that many images share."""

_WORDS = re.compile(
    "Accession|Address|Barcode|Container|Diagnos|GPS|Notes|OrderNumber|PhoneNumber|Reason|Selector|SlideIdentifier|Specimen|"
    "Telephone|TextString|TrialSubject"
)
_PATIENT_GROUPS = (0x0010, 0x0038)
"""Groups of tags that describe a patient, and a visit: age, weight, rank, pregnancy, smoking, state, admission..."""

_OF_MANY = {"PatientSex", "EthnicGroup"}
"""Of these groups what many patients share, and what may itself be the protected attribute."""

_OF_ONE_EXAMINATION = {
    "ClinicalTrialSeriesID",
    "ClinicalTrialTimePointID",
    "InterpretationID",
    "PatientTransportArrangements",
    "PerformedProcedureStepID",
    "PreMedication",
    "RequestedProcedureID",
    "ResultsID",
    "ScheduledProcedureStepID",
    "StudyID",
    "TopicAuthor",
}
_TYPED_FIELDS = ("Description", "ProtocolName")
_TYPED = (*_TYPED_FIELDS, "Label", "PlanName", "ROIName", "StructureSetName", "TopicKeywords", "TopicTitle")
_TYPED_NAMES = {"EntityName", "EthnicGroup", "TreatmentSite", "TreatmentSites"}
# Lower-case spellings of sidecars and tables.
_IDENTIFYING_FIELDS = {
    "participantid",
    "subjectid",
    "dateofbirth",
    "birthdate",
    "dob",
    "mrn",
    "acquisitiontime",
    "patientid",
    "patientname",
    "age",
    "height",
    "weight",
}


def is_identifying(keyword: str) -> bool:
    """Whether an element or field can name a patient, a study or an image, and so never is a site.

    Names of persons, dates and times, identifiers of studies and images, addresses, comments: those elements of DICOM
    PS3.15 annex E (table E.1-1) that can belong to one patient or examination; and all that DICOM keeps in its groups
    of the patient (0010) and of the visit (0038), such as age, weight, rank, pregnancy and smoking. The institution's
    name, the station, the department, the device, its serial number and its UID, and a patient's sex are in that table
    too; they make groups. Free text has a rule of its own: see `is_free_text`.

    Args:
        keyword: of DICOM, a tag, or the field of a sidecar.

    >>> is_identifying("PatientID"), is_identifying("0010,0030"), is_identifying("StationName")
    (True, True, False)
    """
    from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR

    try:
        tag = find_tag(keyword)
    except ValueError:
        return re.sub(r"[^a-z]", "", keyword.lower()) in _IDENTIFYING_FIELDS
    if not dictionary_has_tag(tag):
        return False
    name, kind = dictionary_keyword(tag), dictionary_VR(tag)
    if kind == "UI":
        return not name.endswith(_CLASSES)
    if tag >> 16 in _PATIENT_GROUPS and name not in _OF_MANY:
        return True
    return kind in _KINDS or name in _OF_ONE_EXAMINATION or _WORDS.search(name) is not None


def is_free_text(keyword: str) -> bool:
    """Whether an element or field holds what somebody typed, or what only its vendor knows: it may name a patient.

    Descriptions of studies, series and procedures, names of protocols, plans and regions, labels, a patient's ethnic
    group, and private elements. They can tell groups apart, so they are sites, but only as pseudonyms.

    Args:
        keyword: of DICOM, a tag, or the field of a sidecar.

    >>> is_free_text("SeriesDescription"), is_free_text("0009,1027"), is_free_text("InstitutionName")
    (True, True, False)
    """
    from pydicom.datadict import dictionary_has_tag, dictionary_keyword

    try:
        tag = find_tag(keyword)
    except ValueError:
        return keyword.endswith(_TYPED_FIELDS)
    if not dictionary_has_tag(tag):
        return True  # private, or of no known meaning
    name = dictionary_keyword(tag)
    return name.endswith(_TYPED) or name in _TYPED_NAMES
