import io
import logging
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from fairpool.data.headers import read_dicom_header
from fairpool.data.scan.dicom_header import read_dicom_file_header
from fairpool.data.scan.header import NoImageError
from fairpool.errors import DataError

LIMIT = 10**8


def read(source, **options):
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    return read_dicom_file_header(io.BytesIO(content), **{"max_pixels": LIMIT} | options)


def bundled(name):
    return Path(get_testdata_file(name, download=False))


BUNDLED = sorted(path for path in bundled("CT_small.dcm").parent.glob("*.dcm") if path.read_bytes()[128:132] == b"DICM")


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.stem)
def test_every_bundled_file_is_read_refused_in_a_sentence_or_is_no_image(path):
    # The oracle is pydicom's reading of the whole file.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = pydicom.dcmread(path)
    try:
        header = read(path)
    except NoImageError:
        assert "Rows" not in whole
        return
    except DataError:
        header = None
    assert (header is None) == (path.stem in {"MR_truncated", "badVR", "image_dfl", "meta_missing_tsyntax"})
    if header is None:
        return
    expected = [whole.Rows, whole.Columns]
    if int(whole.get("NumberOfFrames") or 1) > 1:
        expected.append(int(whole.NumberOfFrames))
    assert header.shape == "x".join(map(str, expected))
    assert header.photometric == whole.PhotometricInterpretation
    for keyword in ("PatientID", "StudyInstanceUID", "DeviceSerialNumber"):
        assert header.elements.get(keyword, "") == str(whole.get(keyword) or "")
    if "PixelSpacing" in whole:
        found = [float(number) for number in header.spacing.split("x")[:2]]
        assert found == pytest.approx([float(number) for number in whole.PixelSpacing], rel=1e-3)


@pytest.mark.parametrize(
    ("name", "scanner"),
    [
        ("CT_small.dcm", "GE MEDICAL SYSTEMS | RHAPSODE"),
        ("MR_small_bigendian.dcm", "TOSHIBA_MEC | MRT50H1"),
        ("examples_overlay.dcm", "SIEMENS | Avanto | 1.494"),
        ("J2K_pixelrep_mismatch.dcm", "? | Supria"),
        ("SC_rgb_rle.dcm", ""),
    ],
)
def test_the_scanner_is_vendor_model_and_field_strength(name, scanner):
    assert read(bundled(name)).scanner == scanner


def test_the_spacing_of_slices_is_their_distance_or_else_their_thickness(write_dicom, tmp_path):
    def spacing(**elements):
        return read(write_dicom(tmp_path / "a", **elements)).spacing

    assert spacing(PixelSpacing=[0.5, 0.25], SliceThickness=3, SpacingBetweenSlices=2.5) == "0.5x0.25x2.5"
    assert spacing(PixelSpacing=[0.5, 0.25], SliceThickness=3, SpacingBetweenSlices=None) == "0.5x0.25x3"
    assert spacing(PixelSpacing=None, SliceThickness=3) == ""
    flat = {"PixelSpacing": None, "SliceThickness": None, "SpacingBetweenSlices": None}
    assert spacing(**flat, ImagerPixelSpacing=[0.2, 0.2]) == "0.2x0.2"


def test_the_spacing_of_an_enhanced_image_is_in_its_shared_groups(write_dicom, tmp_path):
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 0.7], 2
    group = Dataset()
    group.PixelMeasuresSequence = Sequence([measures])
    flat = {"PixelSpacing": None, "SliceThickness": None, "SpacingBetweenSlices": None}
    path = write_dicom(tmp_path / "a", **flat, SharedFunctionalGroupsSequence=Sequence([group]))
    assert read(path).spacing == "0.7x0.7x2"


def test_a_file_cut_anywhere_is_refused_or_says_nothing_false(write_dicom, tmp_path):
    content = write_dicom(tmp_path / "a", PatientID="CANARY").read_bytes()
    whole = read(content)
    end = content.rindex(b"\xfc\xff\xfc\xff")  # of the pixels; padding follows
    for length in [*range(140, end, 97), end - 1]:
        with pytest.raises((DataError, NoImageError)) as caught:
            read(content[:length])
        assert "CANARY" not in str(caught.value)
    assert whole.elements["PatientID"] == "CANARY"


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "JPEG2000-embedded-sequence-delimiter.dcm"])
def test_compressed_pixels_without_their_end_are_refused(name):
    content = bundled(name).read_bytes()
    read(content)
    with pytest.raises(DataError, match="ends early"):
        read(content[: len(content) * 3 // 4])


def test_more_pixels_than_the_limit_are_refused_before_anything_is_decoded(write_dicom, tmp_path):
    path = write_dicom(tmp_path / "a", Rows=60000, Columns=60000)
    with pytest.raises(DataError, match=r"60000 x 60000 = 3,600,000,000 pixels; the limit is 100,000,000"):
        read(path)
    with pytest.raises(DataError, match="the limit is 4,000,000,000"):
        read(write_dicom(tmp_path / "b", Rows=5000, Columns=5000, NumberOfFrames=100_000))


def test_compressed_frames_that_are_declared_and_not_there_are_refused():
    # A decoder would ask for 24 GB of memory for them.
    content = bundled("SC_rgb_rle_32bit_2frame.dcm").read_bytes()
    declared = b"\x28\0\x08\0IS\x02\x002 "
    assert read(content).shape == "100x100x2"
    with pytest.raises(DataError, match="ends early"):
        read(content.replace(declared, b"\x28\0\x08\0IS\x06\x00200000"))


@pytest.mark.parametrize("name", ["test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_reports_plans_and_curves_are_no_images(name):
    with pytest.raises(NoImageError):
        read(bundled(name))


def test_a_directory_of_dicom_files_is_no_image():
    with pytest.raises(NoImageError):
        read(bundled("CT_small.dcm").parent / "dicomdirtests" / "DICOMDIR")


def test_an_image_class_without_a_size_is_a_fault_and_no_report(write_dicom, tmp_path):
    with pytest.raises(DataError, match="nothing of its size"):
        read(write_dicom(tmp_path / "a", Rows=None, Columns=None))


def test_a_sequence_nested_without_end_is_refused(write_dicom, tmp_path):
    inner = Dataset()
    for _ in range(400):
        outer = Dataset()
        outer.PixelMeasuresSequence = Sequence([inner])
        inner = outer
    path = write_dicom(tmp_path / "a", PixelSpacing=None)
    nested = path.read_bytes()
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    tag = b"\x00\x52\x29\x92SQ\0\0\xff\xff\xff\xff"
    at = nested.index(b"\xe0\x7f\x10\0OW")
    with pytest.raises(DataError):
        read(nested[:at] + (tag + item) * 20_000 + nested[at:])


def test_text_in_another_character_set_is_read_as_text(write_dicom, tmp_path):
    path = write_dicom(tmp_path / "a", SpecificCharacterSet="ISO_IR 192", StationName="Zürich", PatientID="Ü 1")
    assert read(path).elements["StationName"] == "Zürich"
    path = write_dicom(tmp_path / "b", SpecificCharacterSet="ISO_IR 100", StationName="Zürich")
    assert read(path).elements["StationName"] == "Zürich"


def test_several_values_and_spaces_become_one_text(write_dicom, tmp_path):
    path = write_dicom(tmp_path / "a", PatientID=["A  1", "B"], DeviceSerialNumber="   ")
    elements = read(path).elements
    assert elements["PatientID"] == "A 1+B"
    assert "DeviceSerialNumber" not in elements


def test_nothing_of_a_damaged_header_is_said_anywhere(write_dicom, tmp_path, caplog, recwarn):
    content = bytearray(
        write_dicom(tmp_path / "a", PatientName="CANARY^A", PatientID="CANARY", InstitutionName="CANARY").read_bytes()
    )
    caplog.set_level(logging.DEBUG)
    said = []
    for at in range(340, 1200, 7):  # flip a byte of every few, lengths and kinds among them
        damaged = bytearray(content)
        damaged[at] ^= 0xFF
        try:
            header = read(bytes(damaged))
            said.append(header.shape + header.spacing + header.photometric)
        except (DataError, NoImageError) as error:
            said += [str(error), str(error.__cause__), str(error.__context__)]
    said += [str(warning.message) for warning in recwarn.list] + [record.getMessage() for record in caplog.records]
    assert not [text for text in said if "CANARY" in text]


def test_a_terminal_obeys_nothing_that_stands_in_a_header(write_dicom, tmp_path):
    content = write_dicom(tmp_path / "a", StationName="CT01_OC0").read_bytes()
    for old, new in [(b"GE MEDICAL SYSTEMS", b"GE\x1b]0;owned\x07ICALS "), (b"RHAPSODE", b"\x9b2J\x00\x08\x7f\rA")]:
        assert content.count(old) == 1
        content = content.replace(old, new)
    scanner = read(content).scanner
    assert scanner.startswith("GE ]0;owned ICALS | ")
    assert scanner.isprintable()


def test_elements_that_are_asked_for_are_those_of_the_other_reader(write_dicom, tmp_path):
    keywords = ["Rows", "ImageType", "InstitutionName", "0008,0060", "(0008,1010)", "TransferSyntaxUID", "KVP"]
    path = write_dicom(tmp_path / "a", InstitutionName="Zürich\\Bern", SpecificCharacterSet="ISO_IR 192", KVP=None)
    header = read(path, keywords=keywords)
    assert header.asked == read_dicom_header(path, keywords)
    assert header.asked["Rows"] == "128"
    assert header.asked["InstitutionName"] == "Zürich\\Bern"
    assert header.asked["KVP"] is None
    assert header.elements == read(path).elements
    assert read(path).asked == {}


def test_an_element_that_is_asked_for_and_holds_no_text_is_refused(write_dicom, tmp_path):
    path = write_dicom(tmp_path / "a", RequestAttributesSequence=Sequence([Dataset()]))
    with pytest.raises(DataError, match=r"RequestAttributesSequence \(0040,0275\) holds no text"):
        read(path, keywords=["RequestAttributesSequence"])
    assert read(path).shape == "128x128"


@pytest.mark.parametrize("damage", [b"\x28\0\x10\0US\x04\0\x80\0\x80\0", b"\x28\0\x10\0SS\x02\0\xff\xff"])
def test_a_size_that_is_not_one_number_is_refused(write_dicom, tmp_path, damage):
    content = write_dicom(tmp_path / "a").read_bytes()
    rows = b"\x28\0\x10\0US\x02\0\x80\0"
    assert content.count(rows) == 1
    with pytest.raises(DataError, match=r"Rows \(0028,0010\)"):
        read(content.replace(rows, damage))
