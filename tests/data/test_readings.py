"""Every reading that data/README.md quotes, and the slips that hands make."""

import math

import pytest

from fairpool.data.readings import parse_reading


@pytest.mark.parametrize(
    ("text", "sex", "age", "findings"),
    [
        ("Patient's Sex: F \nPatient's Age: 027Y\nnormal", "F", 27, "normal"),
        ("Patient's Sex: O \nPatient's Age: 005Y\nnormal", "O", 5, "normal"),
        ("male 45yrs\nnormal", "M", 45, "normal"),
        ("male 16month\nnormal", "M", 16 / 12, "normal"),
        ("female 64days\nnormal", "F", 64 / 365.25, "normal"),
        ("male 42\nnormal", "M", 42, "normal"),
        ("femal 32yrs\nnormal", "F", 32, "normal"),
        ("female24yrs\nnormal", "F", 24, "normal"),
        ("male , 29yrs  \t\nbilateral secondary PTB", "M", 29, "bilateral secondary PTB"),
    ],
)
def test_quoted_formats_are_read(text, sex, age, findings):
    reading = parse_reading(text)
    assert (reading.sex, reading.findings, reading.same_patient_as) == (sex, findings, "")
    assert reading.age == pytest.approx(age, abs=0.001)


def test_reading_that_names_the_same_patient_gives_the_stem():
    reading = parse_reading("Patient's Sex: M \nPatient's Age: 049Y\nNO REPORT (same pt as MCUCXR_0162_1)")
    assert (reading.sex, reading.age, reading.same_patient_as) == ("M", 49, "MCUCXR_0162")


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("male 3yrs\nsame patient as mcucxr_0113_1", "MCUCXR_0113"),
        ("male 3yrs\nSame  pt  as CHNCXR_12345_0.", "CHNCXR_12345"),
        ("male 3yrs\nsame as before", ""),
    ],
)
def test_other_image_of_the_patient_is_found_in_other_words(text, stem):
    assert parse_reading(text).same_patient_as == stem


@pytest.mark.parametrize(
    ("text", "sex", "age"),
    [
        ("MALE 45YRS", "M", 45),
        ("Male 45 yrs", "M", 45),
        ("female, 7 months", "F", 7 / 12),
        ("male 3weeks", "M", 21 / 365.25),
        ("female 1.5yrs", "F", 1.5),
        ("\ufeffmale 45yrs", "M", 45),
        ("Patient’s Sex: F\r\nPatient’s Age: 027Y\r\nnormal", "F", 27),
        ("patient's sex:m\npatient's age:101y\n", "M", 101),
        ("Patient's Sex: Female\nPatient's Age: 27\n", "F", 27),
        ("\n\n  male 45yrs  \n\n", "M", 45),
    ],
)
def test_spaces_case_and_spelling_do_not_matter(text, sex, age):
    reading = parse_reading(text)
    assert reading.sex == sex
    assert reading.age == pytest.approx(age, abs=0.001)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n", " \n\t"])
def test_line_ends_do_not_matter(end):
    reading = parse_reading(end.join(["female 33yrs", "right PTB", "left pleuritis"]) + end)
    assert (reading.sex, reading.age, reading.findings) == ("F", 33, "right PTB; left pleuritis")


def test_numbers_and_words_in_the_findings_are_not_the_person():
    reading = parse_reading("normal chest\nfemale nurse, 40yrs of contact")
    assert reading.sex == ""
    assert math.isnan(reading.age)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\ufeff"])
def test_empty_reading_states_nothing(text):
    reading = parse_reading(text)
    assert (reading.sex, reading.findings, reading.same_patient_as) == ("", "", "")
    assert math.isnan(reading.age)


def test_missing_age_is_nan_and_not_zero():
    assert math.isnan(parse_reading("male\nnormal").age)
    assert math.isnan(parse_reading("Patient's Sex: F \nPatient's Age: \nnormal").age)
