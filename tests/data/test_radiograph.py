"""Real files, written by Pillow and pydicom or byte by byte, against the numbers they were written from."""

import io
import logging
import os
import struct
import traceback
import warnings
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless

from fairpool.data.radiograph import read_radiograph
from fairpool.errors import DataError

RAMP16 = np.arange(65536, dtype=np.uint16).reshape(256, 256)


@pytest.fixture
def scan(tmp_path):
    """A path whose every part must stay out of messages."""
    return tmp_path / "meier-anna-19500101"


def refuse(path, size=16, **options):
    """The message of the refusal, after a search for names in all that was said: hidden causes, warnings, logs."""
    said, handler = io.StringIO(), logging.StreamHandler()
    handler.setStream(said)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.getLogger("pydicom").addHandler(handler)
    logging.getLogger("PIL").addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with pytest.raises(DataError) as caught:
                read_radiograph(path, size, **options)
    finally:
        logging.getLogger("pydicom").removeHandler(handler)
        logging.getLogger("PIL").removeHandler(handler)
    pending, texts = [caught.value], [said.getvalue(), *(str(warning.message) for warning in warned)]
    while pending:
        error = pending.pop()
        texts += traceback.format_exception(error)
        pending += [link for link in (error.__cause__, error.__context__) if link is not None]
    text = "".join(texts)
    assert str(path.parent) not in text
    assert path.parent.name not in text
    assert "meier" not in text.lower()
    return str(caught.value)


def save(path, image, kind="PNG", **options):
    image.save(path, format=kind, **options)
    return path


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def write_dicom(path, stored, *, bits=None, edit=None, syntax=ExplicitVRLittleEndian, **elements):
    """A one-frame DICOM file about one Anna Meier; `edit` replaces bytes by bytes of the same length afterwards."""
    image = Dataset()
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian if syntax == RLELossless else syntax
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    image.SpecificCharacterSet = "ISO_IR 100"
    image.PatientName, image.PatientID, image.PatientBirthDate = "Meier^Anna", "MEIER42", "19500101"
    image.Rows, image.Columns = stored.shape[:2]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    allocated = stored.dtype.itemsize * 8
    image.BitsAllocated, image.BitsStored = allocated, bits or allocated
    image.HighBit, image.PixelRepresentation = image.BitsStored - 1, int(stored.dtype.kind == "i")
    if stored.dtype.kind == "f":
        image.FloatPixelData = stored.tobytes()
    else:
        image.PixelData = stored.tobytes()
        image["PixelData"].VR = "OB" if allocated == 8 else "OW"
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    if syntax == RLELossless:
        image.compress(RLELossless)
    image.save_as(path, enforce_file_format=True)
    if edit:
        content = path.read_bytes()
        for old, new in edit.items():
            assert len(old) == len(new)
            assert content.count(old) == 1
            content = content.replace(old, new)
        path.write_bytes(content)
    return path


def png_header(width, height):
    """A PNG that claims a size and holds one byte of it."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    start = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


# --- 8-bit files -----------------------------------------------------------------------------------------------------


def test_8_bit_png_of_the_same_size_keeps_every_level(scan):
    levels = noise((32, 32))
    image = read_radiograph(save(scan, Image.fromarray(levels)), 32)
    assert image.levels.dtype == np.uint8
    assert image.pixels.dtype == np.float32
    np.testing.assert_array_equal(image.pixels, levels.astype(np.float32) / np.float32(255))
    assert image.notes == ()


def test_reduction_equals_torch_antialiased_bilinear_on_a_smooth_image(scan):
    smooth = Image.fromarray(noise((6, 5))).resize((403, 489), Image.Resampling.BICUBIC)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(np.array(smooth)).float()[None, None] / 255, (32, 32), mode="bilinear", antialias=True
    )[0, 0].numpy()
    image = read_radiograph(save(scan, smooth), 32)
    # One grey level of rounding, and the whole-number reduction that comes first.
    np.testing.assert_allclose(image.pixels, expected, atol=0.02)


def test_result_is_height_by_width_with_row_0_at_the_top(scan):
    levels = np.zeros((60, 90), dtype=np.uint8)
    levels[:20, :10] = 255  # a mark in the top left corner: a third of the height, a ninth of the width
    image = read_radiograph(save(scan, Image.fromarray(levels)), 9)
    assert image.pixels[1, 0] > 0.6
    assert image.pixels[0, 2] < 0.1
    assert image.pixels[6, 0] < 0.1


def test_jpeg_is_read_within_its_own_loss(scan):
    smooth = np.tile(np.arange(64, dtype=np.uint8) * 4, (64, 1))
    image = read_radiograph(save(scan, Image.fromarray(smooth), "JPEG", quality=95), 64)
    np.testing.assert_allclose(image.pixels, smooth / 255, atol=0.02)


def test_bilevel_png_becomes_black_and_white(scan):
    bits = noise((16, 16)) > 127
    image = read_radiograph(save(scan, Image.fromarray(bits)), 16)
    np.testing.assert_array_equal(image.pixels, bits.astype(np.float32))


def test_declared_range_leaves_8_bit_files_alone_and_notes_them(scan):
    levels = noise((16, 16))
    image = read_radiograph(save(scan, Image.fromarray(levels)), 16, value_range=(0, 4095))
    np.testing.assert_array_equal(image.levels, levels)
    assert image.notes == ("8-bit",)


def test_constant_image_is_noted(scan):
    assert read_radiograph(save(scan, Image.new("L", (40, 30), 0)), 16).notes == ("constant",)


# --- 16-bit files ----------------------------------------------------------------------------------------------------


def test_16_bit_ramp_keeps_its_depth(scan):
    image = read_radiograph(save(scan, Image.fromarray(RAMP16)), 256)
    assert len(np.unique(image.pixels)) >= 0.99 * RAMP16.size
    np.testing.assert_array_equal(image.levels, RAMP16)
    assert image.notes == ()


def test_16_bit_png_is_scaled_by_the_declared_range(scan):
    stored = noise((16, 16), np.uint16) % 5000
    image = read_radiograph(save(scan, Image.fromarray(stored)), 16, value_range=(1000, 3000))
    np.testing.assert_allclose(image.pixels, np.clip((stored - 1000.0) / 2000, 0, 1), atol=1e-5)
    assert image.notes == ("clipped",)


def test_16_bit_png_is_not_scaled_by_its_own_extremes(scan):
    stored = np.full((16, 16), 600, dtype=np.uint16)
    stored[:8] = 300
    image = read_radiograph(save(scan, Image.fromarray(stored)), 16)
    np.testing.assert_allclose(image.pixels, stored / 65535, atol=1e-6)


def test_16_bit_png_with_an_orientation_is_rotated(scan):
    exif = Image.Exif()
    exif[0x0112] = 3
    image = read_radiograph(save(scan, Image.fromarray(RAMP16), exif=exif), 256)
    np.testing.assert_array_equal(image.levels, RAMP16[::-1, ::-1])
    assert image.notes == ("exif orientation",)


def test_16_bit_reduction_stays_below_the_brightest_pixel(scan):
    stored = noise((64, 48), np.uint16)
    image = read_radiograph(save(scan, Image.fromarray(stored)), 8)
    assert image.levels.dtype == np.uint16
    assert image.pixels.mean() == pytest.approx(stored.mean() / 65535, abs=0.02)


# --- colour, palette, alpha ------------------------------------------------------------------------------------------


def luminance(colour):
    """ITU-R 601, in plain numbers."""
    return (0.299 * colour[..., 0] + 0.587 * colour[..., 1] + 0.114 * colour[..., 2]) / 255


def test_rgb_becomes_luminance_and_is_noted(scan):
    colour = noise((16, 16, 3))
    image = read_radiograph(save(scan, Image.fromarray(colour)), 16)
    np.testing.assert_allclose(image.pixels, luminance(colour), atol=1 / 255)
    assert image.notes == ("colour",)


def test_rgba_is_blended_on_black(scan):
    colour = noise((16, 16, 4))
    image = read_radiograph(save(scan, Image.fromarray(colour)), 16)
    np.testing.assert_allclose(image.pixels, luminance(colour) * colour[..., 3] / 255, atol=1.5 / 255)
    assert image.notes == ("colour", "alpha")


def test_grey_with_alpha_is_blended_on_black(scan):
    grey = noise((16, 16, 2))
    image = read_radiograph(save(scan, Image.fromarray(grey, mode="LA")), 16)
    np.testing.assert_allclose(image.pixels, grey[..., 0] / 255 * grey[..., 1] / 255, atol=1 / 255)
    assert image.notes == ("alpha",)


def test_palette_indices_are_looked_up_and_not_taken_as_grey(scan):
    indices = noise((16, 16)) % 4
    colours = np.array([[255, 255, 255], [0, 0, 0], [200, 10, 30], [90, 90, 90]], dtype=np.uint8)
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(colours.tobytes())
    image = read_radiograph(save(scan, picture), 16)
    np.testing.assert_allclose(image.pixels, luminance(colours[indices]), atol=1 / 255)
    assert image.notes == ("palette",)


def test_transparent_palette_entry_becomes_black(scan):
    indices = noise((16, 16)) % 2
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette(bytes([255, 255, 255, 100, 100, 100]))
    image = read_radiograph(save(scan, picture, transparency=0), 16)
    np.testing.assert_allclose(image.pixels, indices * 100 / 255, atol=1 / 255)
    assert image.notes == ("palette", "alpha")


def test_transparent_grey_level_becomes_black(scan):
    levels = noise((16, 16)) % 3 * 100
    image = read_radiograph(save(scan, Image.fromarray(levels), transparency=200), 16)
    np.testing.assert_array_equal(image.levels, np.where(levels == 200, 0, levels))
    assert image.notes == ("alpha",)


def test_cmyk_jpeg_becomes_luminance(scan):
    picture = Image.new("RGB", (32, 32), (255, 255, 255)).convert("CMYK")
    image = read_radiograph(save(scan, picture, "JPEG"), 16)
    assert image.pixels.min() > 0.98
    assert image.notes == ("colour", "constant")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGB", "image is in colour"),
        ("RGBA", "image is in colour and transparent in places"),
        ("LA", "image is transparent in places"),
        ("P", "image is in the colours of a palette"),
    ],
)
def test_strict_refuses_all_but_one_channel_of_grey(scan, mode, words):
    message = refuse(save(scan, Image.new(mode, (8, 8))), strict=True)
    assert message == f"{words}; strict takes one channel of grey alone. Convert the file, or leave strict off"


@pytest.mark.parametrize("levels", [noise((16, 16)), noise((16, 16), np.uint16), noise((16, 16)) > 127], ids=str)
def test_strict_takes_grey_of_every_depth(scan, levels):
    path = save(scan, Image.fromarray(levels))
    np.testing.assert_array_equal(read_radiograph(path, 16, strict=True).levels, read_radiograph(path, 16).levels)


# --- EXIF orientation ------------------------------------------------------------------------------------------------

UPRIGHT = np.kron(np.array([[0, 80], [160, 240]], dtype=np.uint8), np.ones((16, 16), dtype=np.uint8))
# How the sensor stored the upright picture, by the EXIF 2.3 table of where row 0 and column 0 lie.
STORED = {
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.T,
    6: np.rot90(UPRIGHT, 1),  # a viewer turns it clockwise
    7: UPRIGHT[::-1, ::-1].T,
    8: np.rot90(UPRIGHT, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_undone_and_noted(scan, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
    image = read_radiograph(save(scan, picture, "JPEG", exif=exif, quality=95), 32)
    np.testing.assert_allclose(image.pixels, UPRIGHT / 255, atol=0.02)
    assert image.notes == ("exif orientation",)


def test_exif_rotation_of_an_oblong_jpeg_swaps_height_and_width(scan):
    upright = np.zeros((96, 48), dtype=np.uint8)
    upright[:24] = 255  # the top quarter
    exif = Image.Exif()
    exif[0x0112] = 6
    image = read_radiograph(save(scan, Image.fromarray(np.rot90(upright).copy()), "JPEG", exif=exif), 16)
    assert image.pixels[:3].min() > 0.9
    assert image.pixels[6:].max() < 0.1


@pytest.mark.parametrize("orientation", [0, 1, 9])
def test_orientation_that_asks_for_nothing_is_not_noted(scan, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.fromarray(UPRIGHT)
    assert read_radiograph(save(scan, picture, "JPEG", exif=exif), 16).notes == ()


# --- DICOM -----------------------------------------------------------------------------------------------------------


def test_dicom_without_rescale_is_scaled_by_its_declared_bits(scan):
    stored = noise((16, 16), np.uint16) % 4096
    image = read_radiograph(write_dicom(scan, stored, bits=12), 16)
    np.testing.assert_allclose(image.pixels, stored / 4095, atol=1e-5)
    assert image.notes == ()


def test_signed_dicom_is_scaled_by_its_declared_bits(scan):
    stored = noise((16, 16), np.uint16).astype(np.int16)
    image = read_radiograph(write_dicom(scan, stored), 16)
    np.testing.assert_allclose(image.pixels, (stored + 32768.0) / 65535, atol=1e-5)


@pytest.mark.parametrize("bits", [12, 15])
@pytest.mark.parametrize("repeated", [True, False])
def test_sign_may_be_repeated_above_the_declared_bits_or_not(scan, repeated, bits):
    signed = (noise((16, 16), np.uint16) % 2**bits).astype(np.int16) - np.int16(2 ** (bits - 1))
    stored = signed if repeated else signed & np.int16(2**bits - 1)
    image = read_radiograph(write_dicom(scan, stored, bits=bits), 16)
    np.testing.assert_allclose(image.pixels, (signed + 2.0 ** (bits - 1)) / (2**bits - 1), atol=1e-5)


@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_rescale_does_not_matter_where_the_header_implies_the_range(scan, slope):
    stored = noise((16, 16), np.uint16)
    image = read_radiograph(write_dicom(scan, stored, RescaleSlope=slope, RescaleIntercept=-1000), 16)
    np.testing.assert_allclose(image.pixels, stored / 65535, atol=1e-5)


def test_negative_slope_turns_dark_into_bright(scan):
    stored = noise((16, 16), np.uint16)
    image = read_radiograph(write_dicom(scan, stored, RescaleSlope=-1, RescaleIntercept=0), 16)
    np.testing.assert_allclose(image.pixels, 1 - stored / 65535, atol=1e-5)


def test_declared_range_is_in_units_after_rescale(scan):
    stored = noise((16, 16), np.uint16) % 2000
    path = write_dicom(scan, stored, RescaleSlope=2, RescaleIntercept=-1024)
    image = read_radiograph(path, 16, value_range=(-1000, 2000))
    np.testing.assert_allclose(image.pixels, np.clip((2.0 * stored - 1024 + 1000) / 3000, 0, 1), atol=1e-5)


def test_absent_rescale_means_slope_1_and_intercept_0(scan):
    stored = noise((16, 16), np.uint16)
    absent = read_radiograph(write_dicom(scan, stored), 16, value_range=(0, 5000))
    given = read_radiograph(write_dicom(scan, stored, RescaleSlope=1, RescaleIntercept=0), 16, value_range=(0, 5000))
    np.testing.assert_array_equal(absent.levels, given.levels)


def test_monochrome1_is_monochrome2_inverted_after_rescale(scan):
    stored = noise((16, 16), np.uint16)
    rescale = {"RescaleSlope": 3, "RescaleIntercept": -7}
    plain = read_radiograph(write_dicom(scan, stored, **rescale), 16)
    inverted = read_radiograph(write_dicom(scan, stored, PhotometricInterpretation="MONOCHROME1", **rescale), 16)
    np.testing.assert_allclose(inverted.pixels, 1 - plain.pixels, atol=2e-5)
    assert (plain.notes, inverted.notes) == ((), ("monochrome1",))


def test_8_bit_dicom_stays_8_bit(scan):
    stored = noise((16, 16))
    image = read_radiograph(write_dicom(scan, stored), 16)
    assert image.levels.dtype == np.uint8
    np.testing.assert_array_equal(image.levels, stored)


def test_window_in_the_header_changes_nothing(scan):
    stored = noise((16, 16), np.uint16)
    image = read_radiograph(write_dicom(scan, stored, WindowCenter=100, WindowWidth=50), 16)
    np.testing.assert_allclose(image.pixels, stored / 65535, atol=1e-5)


def test_run_length_compressed_dicom_equals_the_plain_one(scan):
    stored = noise((16, 16), np.uint16)
    image = read_radiograph(write_dicom(scan, stored, syntax=RLELossless), 16)
    np.testing.assert_allclose(image.pixels, stored / 65535, atol=1e-5)


def test_dicom_is_told_by_content_and_not_by_name(scan):
    path = scan.with_suffix(".png")
    assert read_radiograph(write_dicom(path, RAMP16), 256).levels.dtype == np.uint16


SLOPE = {"RescaleSlope": "1.2345", "RescaleIntercept": "7.8901"}


def test_zero_rescale_slope_is_refused(scan):
    assert "RescaleSlope (0028,1053) is zero" in refuse(write_dicom(scan, RAMP16, edit={b"1.2345": b"0.0000"}, **SLOPE))


@pytest.mark.parametrize("value", [b"NaN   ", b"inf   ", b"Meier ", b"1\\2   ", b"      "])
def test_rescale_slope_that_is_no_number_is_refused_without_quoting_it(scan, value):
    message = refuse(write_dicom(scan, RAMP16, edit={b"1.2345": value}, **SLOPE))
    assert message == "RescaleSlope (0028,1053) is not a finite number. Correct the header"


def test_rescale_intercept_that_is_no_number_is_refused(scan):
    message = refuse(write_dicom(scan, RAMP16, edit={b"7.8901": b"Meier "}, **SLOPE))
    assert "RescaleIntercept (0028,1052) is not a finite number" in message


def test_rescale_slope_beyond_any_range_is_refused(scan):
    assert "out of any range" in refuse(write_dicom(scan, RAMP16, RescaleSlope="1e300"), value_range=(0, 1))


def test_multi_frame_dicom_is_refused(scan):
    path = write_dicom(scan, np.zeros((32, 16), dtype=np.uint8), Rows=16, NumberOfFrames=2)
    assert "holds 2 frames; expected one image" in refuse(path)


def test_colour_dicom_is_refused(scan):
    path = write_dicom(
        scan,
        noise((16, 16, 3)),
        SamplesPerPixel=3,
        PhotometricInterpretation="RGB",
        PlanarConfiguration=0,
    )
    assert "in colour or of unknown kind (samples per pixel: 3)" in refuse(path)


def test_dicom_with_a_lookup_table_is_refused(scan):
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [2, 0, 16], "US", b"\0\0\1\0"
    table["LUTDescriptor"].VR, table["LUTData"].VR = "US", "OW"
    assert "lookup table (0028,3000)" in refuse(write_dicom(scan, RAMP16, ModalityLUTSequence=[table]))


def test_pixels_beyond_the_declared_bits_are_refused_unless_a_range_is_given(scan):
    path = write_dicom(scan, RAMP16, bits=12)
    assert "61,440 of 65,536 pixels do not fit the 12 bits" in refuse(path)
    assert read_radiograph(path, 256, value_range=(0, 65535)).notes == ()


def test_nan_and_infinite_pixels_are_refused_with_their_count(scan):
    stored = np.ones((16, 16), dtype=np.float32)
    stored[0, :3] = np.nan, np.inf, -np.inf
    assert "3 of 256 pixels are NaN or infinite" in refuse(write_dicom(scan, stored), value_range=(0, 1))


def test_float_pixels_need_a_declared_range(scan):
    stored = np.linspace(0, 2, 256, dtype=np.float32).reshape(16, 16)
    path = write_dicom(scan, stored)
    assert "Pass value_range" in refuse(path)
    np.testing.assert_allclose(read_radiograph(path, 16, value_range=(0, 2)).pixels, stored / 2, atol=1e-5)


@pytest.mark.parametrize("lost", [1, 100, 500, 520])
def test_truncated_dicom_is_refused(scan, lost):
    path = write_dicom(scan, noise((16, 16), np.uint16))
    path.write_bytes(path.read_bytes()[:-lost])
    assert "image ends early" in refuse(path)


def test_truncated_compressed_dicom_is_refused(scan):
    path = write_dicom(scan, noise((16, 16), np.uint16), syntax=RLELossless)
    path.write_bytes(path.read_bytes()[:-200])
    assert "image ends early" in refuse(path)


def test_dicom_cut_in_its_header_is_refused(scan):
    content = write_dicom(scan, RAMP16).read_bytes()
    for length in range(132, content.index(RAMP16.tobytes()), 7):
        scan.write_bytes(content[:length])
        assert refuse(scan)


def test_deeply_nested_sequence_is_refused(scan):
    path = write_dicom(scan, RAMP16)
    content = path.read_bytes()
    sequence = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    at = content.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    path.write_bytes(content[:at] + sequence * 3000 + content[at:])
    assert "nested too deeply" in refuse(path)


def test_dicom_bomb_is_refused_before_decoding(scan):
    path = write_dicom(scan, np.zeros((16, 16), dtype=np.uint8), Rows=60000, Columns=60000)
    assert "60000 x 60000 = 3,600,000,000 pixels; the limit is 200,000,000" in refuse(path)


def test_deflated_dicom_is_refused(scan):
    assert "deflated DICOM" in refuse(write_dicom(scan, RAMP16, syntax=DeflatedExplicitVRLittleEndian))


def test_unknown_compression_names_a_remedy(scan):
    # JPEG XL, which no decoder of pydicom reads; the identifier has the length of the one it replaces.
    path = write_dicom(scan, RAMP16, edit={b"1.2.840.10008.1.2.1\0": b"1.2.840.10008.1.2.9\0"})
    assert "Install fairpool[decoders], or convert" in refuse(path)


# --- files that are no image -----------------------------------------------------------------------------------------


def test_missing_file_is_refused(scan):
    assert "file not found" in refuse(scan)


def test_folder_is_refused(scan):
    scan.mkdir()
    assert "not a file but a folder" in refuse(scan)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_named_pipe_is_refused_and_not_waited_for(scan):
    os.mkfifo(scan)
    assert "not a file but a folder or device" in refuse(scan)


def test_path_with_a_null_byte_is_refused(scan):
    assert "cannot be opened" in refuse(scan.with_name("meier\0"))


@pytest.mark.parametrize(
    "content", [b"", b"\n<!DOCTYPE html><p>Meier", b"\xef\xbb\xbf<HTML>", b'<?xml version="1.0"?>']
)
def test_empty_file_and_web_page_are_told_as_refused_downloads(scan, content):
    path = scan.with_suffix(".png")
    path.write_bytes(content)
    assert "not an image; the download was probably refused" in refuse(path)


def test_other_formats_are_named(scan):
    assert "unsupported format (TIFF)" in refuse(save(scan, Image.new("L", (8, 8)), "TIFF"))
    assert "unsupported format (GIF)" in refuse(save(scan, Image.new("L", (8, 8)), "GIF"))
    scan.write_bytes(b"Meier, Anna" * 100)
    assert "unsupported format (unknown)" in refuse(scan)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_image_ends_early(scan, kind, share):
    content = save(scan, Image.fromarray(noise((64, 64))), kind).read_bytes()
    scan.write_bytes(content[: int(len(content) * share)])
    assert "image ends early" in refuse(scan)


@pytest.mark.parametrize("length", [9, 20, 33, 40])
def test_png_cut_in_its_header_is_refused(scan, length):
    scan.write_bytes(save(scan, Image.fromarray(noise((64, 64)))).read_bytes()[:length])
    assert refuse(scan)


def test_cause_of_a_truncated_image_is_kept(scan):
    content = save(scan, Image.fromarray(noise((64, 64)))).read_bytes()
    scan.write_bytes(content[:2000])
    with pytest.raises(DataError) as caught:
        read_radiograph(scan, 16)
    assert isinstance(caught.value.__cause__, OSError)


def test_truncated_image_is_never_filled_in(scan, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        read_radiograph(save(scan, Image.fromarray(RAMP16)), 16)


def test_bomb_is_refused_before_decoding(scan, monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    scan.write_bytes(png_header(50_000, 40_000))
    message = refuse(scan)
    assert "50000 x 40000 = 2,000,000,000 pixels; the limit is 200,000,000" in message
    assert "max_pixels" in message


def test_limit_of_pixels_can_be_lowered_and_raised(scan, monkeypatch):
    path = save(scan, Image.fromarray(noise((20, 30))))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)  # Pillow's own limit is not ours
    assert read_radiograph(path, 16, max_pixels=600).notes == ()
    assert "30 x 20 = 600 pixels; the limit is 599" in refuse(path, max_pixels=599)


def test_animated_png_is_refused(scan):
    frames = [Image.fromarray(noise((16, 16), seed=seed)) for seed in range(2)]
    assert "holds 2 frames" in refuse(save(scan, frames[0], save_all=True, append_images=frames[1:]))


@pytest.mark.parametrize("element", [b"\x02\0\x10\0UI", b"\x08\0\x05\0CS"])
def test_wrong_length_in_a_header_does_not_spill_the_patient_into_a_warning(scan, element):
    content = write_dicom(scan, RAMP16).read_bytes()
    at = content.index(element) + len(element)
    scan.write_bytes(content[:at] + struct.pack("<H", 500) + content[at + 2 :])
    assert refuse(scan)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "DICOM", "RLE"])
def test_flipped_bytes_end_in_an_image_or_a_refusal_and_nothing_else(scan, kind):
    stored = noise((16, 16), np.uint16)
    if kind in ("PNG", "JPEG"):
        save(scan, Image.fromarray((stored >> 8).astype(np.uint8) if kind == "JPEG" else stored), kind)
    else:
        write_dicom(scan, stored, syntax=RLELossless if kind == "RLE" else ExplicitVRLittleEndian, **SLOPE)
    content, random = scan.read_bytes(), np.random.default_rng(0)
    for _ in range(80):
        damaged = bytearray(content)
        for at in random.integers(0, len(content), 3):
            damaged[at] = random.integers(256)
        scan.write_bytes(damaged)
        try:
            image = read_radiograph(scan, 16, max_pixels=10_000)
        except DataError:
            refuse(scan, max_pixels=10_000)
        else:
            assert image.pixels.min() >= 0
            assert image.pixels.max() <= 1


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (0, {}),
        (16, {"max_pixels": 0}),
        (16, {"value_range": (1, 1)}),
        (16, {"value_range": (0, float("nan"))}),
        (16, {"value_range": (1,)}),
        (16, {"strict": "yes"}),
        (16, {"nan": "drop"}),
        (16, {"frame": -1}),
        (16, {"frame": "last"}),
        (16, {"frame": True}),
    ],
)
def test_senseless_settings_are_refused(scan, size, options):
    with pytest.raises(ValueError, match="must be"):
        read_radiograph(save(scan, Image.fromarray(RAMP16)), size, **options)
