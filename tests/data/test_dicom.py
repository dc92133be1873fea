"""DICOM of every kind that hospitals send: transfer syntaxes, vendors, frames, polarities, pixels without numbers."""

import numpy as np
import pydicom
import pytest
from dicom_files import SYNTAXES, VENDORS, draw_pixels, write_dicom
from pydicom.data import get_testdata_file

from fairpool.data.radiograph import read_radiograph
from fairpool.errors import DataError

KINDS = [(name, bits, signed) for name in SYNTAXES for bits in (8, 12, 16) for signed in (False, True)]
KINDS = [(name, bits, signed) for name, bits, signed in KINDS if name != "jpeg" or (bits == 8 and not signed)]


def bundled(name):
    return get_testdata_file(name, download=False)


# --- written with pydicom --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bits", "signed"), KINDS)
def test_every_transfer_syntax_gives_the_stored_numbers(tmp_path, name, bits, signed):
    stored = draw_pixels(bits, signed=signed)
    path = write_dicom(tmp_path / "image", pixels=stored, bits=bits, transfer_syntax=name)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == SYNTAXES[name]
    low = -(2 ** (bits - 1)) if signed else 0
    expected = (stored.astype(np.float64) - low) / (2**bits - 1)
    tolerance = 10 / 255 if name == "jpeg" else 0.5 / 255 if bits == 8 else 1e-5
    np.testing.assert_allclose(read_radiograph(path, 32).pixels, expected, atol=tolerance)


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_vendors_file_is_read_low_values_dark(tmp_path, vendor):
    stored = np.tile(np.arange(32, dtype=np.uint16) * 2048, (32, 1))
    image = read_radiograph(write_dicom(tmp_path / "image", pixels=stored, vendor=vendor), 32)
    is_rising = image.pixels[0, -1] > image.pixels[0, 0]
    assert is_rising == (vendor != "Fuji")
    assert image.notes == (("monochrome1",) if vendor == "Fuji" else ())


@pytest.mark.parametrize("name", set(SYNTAXES) - {"jpeg"})
def test_monochrome1_is_inverted_in_every_transfer_syntax(tmp_path, name):
    stored = draw_pixels(12)
    path = write_dicom(tmp_path / "a", pixels=stored, bits=12, photometric="MONOCHROME1", transfer_syntax=name)
    image = read_radiograph(path, 32)
    np.testing.assert_allclose(image.pixels, 1 - stored / 4095, atol=1e-5)
    assert image.notes == ("monochrome1",)


@pytest.mark.parametrize("name", SYNTAXES)
def test_a_file_cut_in_its_pixels_is_refused_in_every_transfer_syntax(tmp_path, name):
    path = write_dicom(tmp_path / "image", bits=8, transfer_syntax=name)
    content = path.read_bytes()
    for lost in (len(content) // 4, 200):
        path.write_bytes(content[:-lost])
        with pytest.raises(DataError, match="image ends early"):
            read_radiograph(path, 16)


# --- several frames --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["explicit", "big endian", "rle", "jpeg lossless", "jpeg 2000"])
@pytest.mark.parametrize(("frame", "expected"), [(0, 0), (4, 4), ("middle", 2)])
def test_the_frame_that_was_asked_for_is_read(tmp_path, name, frame, expected):
    stored = draw_pixels(12, frames=5)
    path = write_dicom(tmp_path / "image", pixels=stored, bits=12, transfer_syntax=name)
    image = read_radiograph(path, 32, frame=frame)
    np.testing.assert_allclose(image.pixels, stored[expected] / 4095, atol=1e-5)
    assert image.notes == ("one of several frames",)


def test_a_single_frame_is_its_own_middle(tmp_path):
    path = write_dicom(tmp_path / "image")
    plain = read_radiograph(path, 16)
    assert read_radiograph(path, 16, frame="middle").notes == plain.notes == ()
    np.testing.assert_array_equal(read_radiograph(path, 16, frame=0).levels, plain.levels)


@pytest.mark.parametrize(
    ("number", "frame", "message"),
    [
        (3, None, "DICOM holds 3 frames; expected one image. Split it, or pass frame"),
        (3, 3, "DICOM holds 3 frames, so there is no frame 3, from 0"),
        (1, 1, "DICOM holds 1 frame, so there is no frame 1, from 0"),
    ],
)
def test_a_frame_that_is_not_there_is_refused(tmp_path, number, frame, message):
    with pytest.raises(DataError) as caught:
        read_radiograph(write_dicom(tmp_path / "image", frames=number), 16, frame=frame)
    assert str(caught.value) == message


@pytest.mark.parametrize("number", [0, -2])
def test_a_number_of_frames_that_is_none_is_refused(tmp_path, number):
    with pytest.raises(DataError, match=r"NumberOfFrames \(0028,0008\) is no whole number"):
        read_radiograph(write_dicom(tmp_path / "image", NumberOfFrames=number), 16, frame="middle")


def test_frames_that_are_missing_at_the_end_are_noticed(tmp_path):
    path = write_dicom(tmp_path / "image", frames=2, NumberOfFrames=3)
    with pytest.raises(DataError, match="image ends early"):
        read_radiograph(path, 16, frame=0)


# --- pixels that are no numbers --------------------------------------------------------------------------------------


def write_floats(path, stored, **elements):
    write_dicom(path, pixels=np.zeros(stored.shape, np.uint16), **elements)
    dataset = pydicom.dcmread(path)
    del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
    dataset.BitsAllocated, dataset.FloatPixelData = 32, stored.astype("<f4").tobytes()
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", ["1", "-1"])
def test_filled_pixels_are_black_and_the_others_as_they_would_be(tmp_path, photometric, slope):
    whole = np.linspace(0.1, 1.9, 256).reshape(16, 16)
    options = {"photometric": photometric, "RescaleSlope": slope, "RescaleIntercept": "2" if slope == "-1" else "0"}
    expected = read_radiograph(write_floats(tmp_path / "a", whole, **options), 16, value_range=(0, 2))
    holed = whole.copy()
    holed[3, :3] = np.nan, np.inf, -np.inf
    image = read_radiograph(write_floats(tmp_path / "b", holed, **options), 16, value_range=(0, 2), nan="fill")
    is_lost = ~np.isfinite(holed)
    assert (image.pixels[is_lost] == 0).all()
    np.testing.assert_allclose(image.pixels[~is_lost], expected.pixels[~is_lost], atol=2e-5)
    assert image.notes == (*expected.notes, "nan filled")


def test_pixels_that_are_no_numbers_are_refused_with_the_option(tmp_path):
    holed = np.ones((16, 16))
    holed[0, :5] = np.nan
    with pytest.raises(DataError) as caught:
        read_radiograph(write_floats(tmp_path / "a", holed), 16, value_range=(0, 2))
    assert str(caught.value) == ('5 of 256 pixels are NaN or infinite. Repair or drop the image, or pass nan="fill"')


def test_an_image_without_one_number_is_refused_even_so(tmp_path):
    path = write_floats(tmp_path / "a", np.full((16, 16), np.nan))
    with pytest.raises(DataError, match=r"256 of 256 pixels are NaN or infinite\. Drop the image"):
        read_radiograph(path, 16, value_range=(0, 2), nan="fill")


# --- files of real scanners, bundled with pydicom --------------------------------------------------------------------

GREY = {
    "CT_small.dcm": "GE MEDICAL SYSTEMS",
    "MR_small.dcm": "TOSHIBA_MEC",
    "MR_small_RLE.dcm": "TOSHIBA_MEC",
    "MR_small_bigendian.dcm": "TOSHIBA_MEC",
    "MR_small_implicit.dcm": "TOSHIBA_MEC",
    "MR_small_jp2klossless.dcm": "TOSHIBA_MEC",
    "MR_small_jpeg_ls_lossless.dcm": "TOSHIBA_MEC",
    "693_J2KI.dcm": None,
    "JPEG2000.dcm": None,
    "JPGExtended.dcm": None,
    "JPEGLSNearLossless_16.dcm": None,
    "examples_overlay.dcm": None,
}


@pytest.mark.parametrize("name", GREY)
def test_a_real_scanners_file_is_read_as_pydicom_decodes_it(name):
    dataset = pydicom.dcmread(bundled(name))
    stored = dataset.pixel_array.astype(np.float64)
    low, high = np.percentile(stored, [5, 95])
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    window = (slope * low + intercept, slope * high + intercept)
    image = read_radiograph(bundled(name), 16, value_range=window)
    scaled = np.clip((stored - low) / (high - low), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        scaled = 1 - scaled
    assert image.pixels.mean() == pytest.approx(scaled.mean(), abs=0.01)
    assert image.pixels.std() > 0.05


def test_one_picture_in_seven_transfer_syntaxes_is_one_picture():
    names = [name for name in GREY if name.startswith("MR_small")]
    images = [read_radiograph(bundled(name), 32).levels for name in names]
    assert len(names) == 6
    for image in images[1:]:
        np.testing.assert_array_equal(image, images[0])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MR_truncated.dcm", "image ends early"),
        ("image_dfl.dcm", "deflated DICOM"),
        ("SC_rgb_rle.dcm", "in colour or of unknown kind"),
        ("examples_palette.dcm", "in colour or of unknown kind"),
        ("SC_rgb_rle_2frame.dcm", "in colour or of unknown kind"),
        ("rtplan.dcm", "in colour or of unknown kind"),
        ("rtdose.dcm", "holds 15 frames"),
        ("no_meta.dcm", "unsupported format"),
        ("meta_missing_tsyntax.dcm", "no valid transfer syntax"),
    ],
)
def test_a_real_file_that_is_no_grey_image_is_refused_by_name(name, message):
    with pytest.raises(DataError, match=message):
        read_radiograph(bundled(name), 16)


def test_a_frame_of_a_real_dose_volume_is_read():
    stored = pydicom.dcmread(bundled("rtdose.dcm")).pixel_array
    image = read_radiograph(bundled("rtdose.dcm"), stored.shape[1], frame="middle", value_range=(0, 1e9))
    assert image.notes[0] == "one of several frames"
