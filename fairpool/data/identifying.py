"""Which elements of a header name a patient or an examination, and so can never be a site."""

import re

from fairpool.data.headers import find_tag

__all__ = ["is_identifying"]

_KINDS = {"PN", "DA", "TM", "DT", "LT", "ST", "UT", "UR"}
"""Kinds of elements that hold a person, a date or time, or text of any length."""

_CLASSES = ("ClassUID", "TransferSyntaxUID", "DeviceUID")
"""How identifiers end that many images share."""

_WORDS = re.compile(
    "Accession|Address|Alert|Allergies|Barcode|Comments|Container|CurrentPatientLocation|Diagnos|EpisodeDescription|GPS|"
    "History|Impressions|Insurance|LabelText|MedicalRecord|Narrative|Notes|OrderNumber|PatientID|PhoneNumber|Reason|Religious|"
    "Residence|Selector|SlideIdentifier|SpecialNeeds|Specimen|TrialSubject|TopicSubject|Telecom|Telephone|TextString"
)
_NUMBERS = {
    "AdmissionID",
    "InterpretationID",
    "Occupation",
    "PerformedProcedureStepID",
    "RequestedProcedureID",
    "ResultsID",
    "ScheduledProcedureStepID",
    "ServiceEpisodeID",
    "StudyID",
}
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
}


def is_identifying(keyword: str) -> bool:
    """Whether an element or field can name a patient, a study or an image, and so never is a site.

    Names of persons, dates and times, identifiers of studies and images, addresses, comments and other free text: those
    elements of DICOM PS3.15 annex E (table E.1-1) that can belong to one patient or examination. The institution's
    name, the station, the device and its serial number, and a patient's sex, are in that table too; they make groups.

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
    return kind in _KINDS or name in _NUMBERS or _WORDS.search(name) is not None
