"""Sex, age and findings from the clinical readings of the Montgomery and Shenzhen sets."""

import re
from dataclasses import dataclass

__all__ = ["Reading", "parse_reading"]

_YEARS_PER = {"y": 1.0, "m": 1 / 12, "w": 7 / 365.25, "d": 1 / 365.25}
_SEX = re.compile(r"(?:sex\s*:\s*(?P<letter>[fmo])\b)|(?<![a-z])(?P<word>(?:fe?)?male?)(?![a-z])", re.IGNORECASE)
_AGE = re.compile(r"(?<!\w)(?:age\s*:)?\s*,?\s*(?P<number>\d{1,3}(?:\.\d+)?)\s*(?P<unit>[ymwd])?", re.IGNORECASE)
_SAME_PATIENT = re.compile(r"same\s+(?:pt|patient)\s+as\s+(?P<stem>[a-z]+_\d{4,})", re.IGNORECASE)


@dataclass(frozen=True)
class Reading:
    """What a reading states.

    Attributes:
        sex: "F", "M", "O", or "" where none is stated.
        age: years, NaN where none is stated.
        findings: the remaining text, lines joined by "; ".
        same_patient_as: stem of another image of the patient, such as "MCUCXR_0162", or "".
    """

    sex: str
    age: float
    findings: str
    same_patient_as: str


def parse_reading(text: str) -> Reading:
    r"""Parse a reading of either site, lenient about spelling, spaces and line ends.

    >>> parse_reading("Patient's Sex: F \nPatient's Age: 027Y\nnormal")
    Reading(sex='F', age=27.0, findings='normal', same_patient_as='')
    >>> parse_reading("femal 32yrs\r\nleft PTB").sex
    'F'
    """
    lines = [line.strip() for line in text.replace("\ufeff", "").splitlines() if line.strip()]
    # The person stands in the first line (Shenzhen), or in the first two, each with its word (Montgomery).
    num_head = sum(bool(re.match(r"patient.?s\s+(sex|age)", line, re.IGNORECASE)) for line in lines[:2]) or 1
    head, findings = " ".join(lines[:num_head]), "; ".join(lines[num_head:])
    sex = _SEX.search(head)
    letter = "" if sex is None else (sex["letter"] or sex["word"][0]).upper()
    age = _AGE.search(head[sex.end() :] if sex and sex["word"] else head)
    years = float("nan")
    if age is not None:
        years = float(age["number"]) * _YEARS_PER[(age["unit"] or "y").lower()]
    same = _SAME_PATIENT.search(findings)
    return Reading(letter, round(years, 3), findings, same["stem"].upper() if same else "")
