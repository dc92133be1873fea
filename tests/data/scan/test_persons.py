import pytest

from fairpool.data.scan.persons import find_person


def person(path="a.png", given=None, **elements):
    return find_person(path, elements, given)


def test_a_patient_id_counts_with_its_issuer():
    bern, basel = (person(PatientID="7", IssuerOfPatientID=issuer) for issuer in ("bern", "basel"))
    assert bern.patient != basel.patient
    assert bern.patient_name == basel.patient_name == "7"
    assert person("other.dcm", PatientID="7", IssuerOfPatientID="bern") == bern


def test_without_a_patient_id_a_study_is_the_patient():
    first, second = person("a", StudyInstanceUID="1.2"), person("b", StudyInstanceUID="1.2")
    assert first.patient == second.patient
    assert first.source == "study"
    assert first.patient != person(PatientID="1.2").patient


@pytest.mark.parametrize(
    ("path", "other", "is_same"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_task-rest_bold.nii.gz", True),
        ("sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz", True),
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz", False),
        ("sub-01/anat/sub-01_T1w.nii.gz", "sub-011/anat/sub-011_T1w.nii.gz", False),
        ("bern/sub-01/anat/sub-01_T1w.nii.gz", "basel/sub-01/anat/sub-01_T1w.nii.gz", False),
        ("bern/sub-01/anat/x.nii", "bern/derivatives/seg/sub-01/anat/x.nii", True),
        ("bern/rawdata/sub-01/anat/x.nii", "bern/derivatives/seg/sub-01/anat/x.nii", True),
        ("flat/sub-01_T1w.nii.gz", "flat/sub-01_T2w.nii.gz", True),
    ],
)
def test_a_bids_subject_is_one_patient_in_its_data_set(path, other, is_same):
    assert (person(path).patient == person(other).patient) == is_same
    assert person(path).source == "bids"


def test_a_bids_session_is_a_study_of_its_subject():
    first, second = (person(f"sub-{n}/ses-1/anat/sub-{n}_ses-1_T1w.nii") for n in ("01", "02"))
    assert first.study_name == second.study_name == "ses-1"
    assert first.study != second.study
    assert person("sub-01/anat/sub-01_T1w.nii").study == ""


def test_a_name_that_merely_holds_sub_is_no_subject():
    assert person("subway/sub-/a.png").source == "file"
    assert person("xsub-01/a.png").source == "file"


def test_a_file_alone_is_its_own_patient():
    assert person("a.png").patient != person("b.png").patient
    assert person("a.png").patient_name == ""


def test_a_given_patient_goes_before_the_header_and_keeps_the_study():
    found = person("sub-01/a.dcm", "P9", PatientID="7", StudyInstanceUID="1.2")
    assert (found.patient, found.study, found.source) == ("P9", "1.2", "given")
