import gzip
import hashlib
import io
from pathlib import Path

import imagehash
import nibabel
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.pixels import apply_color_lut

from fairpool.data.scan.pixel_hashes import hash_pixels, perceptual_hash
from fairpool.errors import DataError


def hashes(source, kind):
    content = source if isinstance(source, bytes) else Path(source).read_bytes()
    return hash_pixels(io.BytesIO(content), kind)


def bundled(name):
    return get_testdata_file(name, download=False)


def bits_apart(one, other):
    return (int(one, 16) ^ int(other, 16)).bit_count()


def digest(array):
    """What the page says: SHA-256 over type, shape and bytes."""
    return hashlib.sha256(f"{array.dtype.str} {array.shape}".encode() + array.tobytes()).hexdigest()


def test_the_pixel_hash_is_that_of_type_shape_and_bytes(tmp_path, write_png, write_nifti):
    png = write_png(tmp_path / "a.png")
    assert hashes(png, "png")[0] == digest(np.asarray(Image.open(png)))
    nifti = write_nifti(tmp_path / "a.nii.gz")
    assert hashes(nifti, "nifti")[0] == digest(np.asarray(nibabel.load(nifti).dataobj))
    ct = bundled("CT_small.dcm")
    assert hashes(ct, "dicom")[0] == digest(pydicom.dcmread(ct).pixel_array)


def test_the_header_and_the_packing_leave_the_pixel_hash_alone(write_dicom, write_nifti, tmp_path):
    one, other = write_dicom(tmp_path / "a", PatientID="1"), write_dicom(tmp_path / "b", PatientID="2", Rows=128)
    assert hashes(one, "dicom") == hashes(other, "dicom")
    plain = write_nifti(tmp_path / "a.nii").read_bytes()
    assert hashes(plain, "nifti") == hashes(gzip.compress(plain), "nifti")


def test_lossless_compression_and_byte_order_leave_the_pixel_hash_alone():
    pytest.importorskip("openjpeg")
    names = ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm"]
    found = {hashes(bundled(name), "dicom")[0] for name in [*names, "MR_small_jp2klossless.dcm"]}
    assert len(found) == 1


def test_another_pixel_or_another_shape_of_the_same_bytes_changes_the_hash(tmp_path):
    pixels = np.arange(24, dtype=np.uint8)
    found = set()
    for array in (pixels.reshape(4, 6), pixels.reshape(6, 4), pixels.reshape(4, 6) + 1):
        content = io.BytesIO()
        Image.fromarray(array).save(content, "PNG")
        found.add(hashes(content.getvalue(), "png")[0])
    assert len(found) == 3


def png_of_palette(colours, **options):
    indices = np.random.default_rng(0).integers(0, 4, (64, 64)).astype(np.uint8)
    image = Image.fromarray(indices, mode="P")
    image.putpalette(np.asarray(colours, np.uint8).ravel().tolist())
    return image, hashes(encode(image, **options), "png")[0]


def test_the_colours_of_a_palette_count_and_not_their_numbers():
    greys = [[0] * 3, [80] * 3, [160] * 3, [255] * 3]
    image, grey = png_of_palette(greys)
    _, coloured = png_of_palette([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]])
    _, opaque_in_places = png_of_palette(greys, transparency=0)
    assert len({grey, coloured, opaque_in_places}) == 3
    turned = Image.fromarray(3 - np.asarray(image), mode="P")
    turned.putpalette(np.asarray(greys[::-1], np.uint8).ravel().tolist())
    assert hashes(encode(turned), "png")[0] == hashes(encode(image.convert("RGB")), "png")[0] == grey


def test_the_colours_of_a_dicom_palette_count(tmp_path):
    dataset = pydicom.dcmread(bundled("examples_palette.dcm"))
    expected = digest(apply_color_lut(dataset.pixel_array, dataset))
    assert hashes(bundled("examples_palette.dcm"), "dicom")[0] == expected
    dataset.RedPaletteColorLookupTableData = dataset.RedPaletteColorLookupTableData[::-1]
    dataset.save_as(tmp_path / "a.dcm")
    assert hashes(tmp_path / "a.dcm", "dicom")[0] != expected


def test_whether_low_numbers_are_bright_counts(write_dicom, tmp_path):
    dark, bright = write_dicom(tmp_path / "a"), write_dicom(tmp_path / "b", PhotometricInterpretation="MONOCHROME1")
    assert hashes(dark, "dicom")[0] != hashes(bright, "dicom")[0]
    assert bits_apart(hashes(dark, "dicom")[1], hashes(bright, "dicom")[1]) > 32


def test_the_orientation_of_exif_counts_as_a_turn_of_the_pixels():
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = picture().transpose(Image.Transpose.ROTATE_90)
    assert hashes(encode(turned, exif=exif), "png") == hashes(encode(picture()), "png")
    assert hashes(encode(turned), "png")[0] != hashes(encode(picture()), "png")[0]


def test_the_hash_is_imagehashs_own():
    levels = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    assert perceptual_hash(levels) == str(imagehash.phash(Image.fromarray(levels)))


def picture(seed=0):
    """A smooth image, as radiographs are; noise has no look."""
    coarse = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8))
    return coarse.resize((96, 96), Image.Resampling.BICUBIC)


def encode(image, form="PNG", **options):
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def test_the_perceptual_hash_is_near_for_a_copy_and_far_for_another_image():
    original = hashes(encode(picture()), "png")[1]
    jpeg = hashes(encode(picture(), "JPEG", quality=60), "jpeg")[1]
    half = hashes(encode(picture().resize((48, 48))), "png")[1]
    other = hashes(encode(picture(1)), "png")[1]
    assert original == str(imagehash.phash(Image.fromarray(stretched(np.asarray(picture())))))
    assert bits_apart(original, jpeg) <= 4
    assert bits_apart(original, half) <= 4
    assert bits_apart(original, other) > 12


def stretched(levels):
    low, high = levels.min(), levels.max()
    return ((levels - float(low)) * (255 / (high - low))).astype(np.uint8)


def test_a_monochrome1_image_looks_like_its_monochrome2_copy(write_dicom, tmp_path):
    pixels = np.asarray(picture().resize((128, 128))).astype(np.int16)
    bright = write_dicom(tmp_path / "a", PixelData=pixels.tobytes())
    dark = write_dicom(tmp_path / "b", PixelData=(255 - pixels).tobytes(), PhotometricInterpretation="MONOCHROME1")
    assert hashes(bright, "dicom")[1] == hashes(dark, "dicom")[1]
    assert hashes(bright, "dicom")[0] != hashes(dark, "dicom")[0]


def test_a_volume_looks_like_its_middle_slice(tmp_path):
    volume = np.stack([np.asarray(picture(seed)) for seed in range(5)], axis=-1)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / "a.nii")
    assert hashes(tmp_path / "a.nii", "nifti")[1] == hashes(encode(picture(2)), "png")[1]


@pytest.mark.parametrize("order", "<>")
def test_whole_numbers_of_the_widest_range_look_like_the_same_in_floating_point(tmp_path, order):
    levels = np.asarray(picture()).astype(np.float64)
    levels = ((levels - levels.min()) / np.ptp(levels) * 65535 - 32768).round()
    found = set()
    for kind in ("i2", "f4"):
        nibabel.save(nibabel.Nifti1Image(levels.astype(kind)[..., None], np.eye(4)), tmp_path / "a.nii")
        raw = nibabel.load(tmp_path / "a.nii")
        swapped = nibabel.Nifti1Image(levels.astype(kind)[..., None], np.eye(4), raw.header.as_byteswapped(order))
        nibabel.save(swapped, tmp_path / "b.nii")
        found.add(hashes(tmp_path / "b.nii", "nifti")[1])
    assert len(found) == 1


def test_a_series_of_volumes_looks_like_the_first_and_is_equal_as_a_whole(tmp_path):
    first = np.stack([np.asarray(picture(seed)) for seed in range(5)], axis=-1)
    found = []
    for name, later in (("a.nii", first[::-1]), ("b.nii", first[:, ::-1])):
        nibabel.save(nibabel.Nifti1Image(np.stack([first, later, later], axis=-1), np.eye(4)), tmp_path / name)
        found.append(hashes(tmp_path / name, "nifti"))
    assert found[0][1] == found[1][1] == hashes(encode(picture(2)), "png")[1]
    assert found[0][0] != found[1][0]


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_images_of_every_mode_are_hashed(mode):
    image = picture().convert(mode) if mode != "I;16" else Image.fromarray(np.asarray(picture()).astype(np.uint16) * 9)
    assert bits_apart(hashes(encode(image), "png")[1], hashes(encode(picture()), "png")[1]) <= (
        24 if mode == "1" else 4
    )


@pytest.mark.parametrize(
    "name", ["SC_rgb_rle_2frame.dcm", "examples_ybr_color.dcm", "examples_palette.dcm", "rtdose.dcm", "MR_small.dcm"]
)
def test_colour_palettes_films_and_doses_are_hashed(name):
    found = hashes(bundled(name), "dicom")
    assert [len(text) for text in found] == [64, 16]


def test_numbers_that_are_not_finite_are_borne(tmp_path):
    values = np.full((8, 8, 3), np.nan, np.float32)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "a.nii")
    assert len(hashes(tmp_path / "a.nii", "nifti")[1]) == 16


def test_damage_is_named_without_a_cause_that_holds_a_name(write_png, write_dicom, tmp_path):
    png = write_png(tmp_path / "a.png", (90, 90)).read_bytes()
    damaged = png[:60] + bytes(40) + png[100:]
    for content, kind in [(damaged, "png"), (write_dicom(tmp_path / "d", PixelData=b"12").read_bytes(), "dicom")]:
        with pytest.raises(DataError, match="damaged") as caught:
            hashes(content, kind)
        assert caught.value.__context__ is None


def test_damaged_run_lengths_are_a_fault_and_end_nothing():
    # pylibjpeg's decoder answers all of these with a panic, which is no Exception.
    content = Path(bundled("rtdose_rle.dcm")).read_bytes()
    start = content.index(b"\xe0\x7f\x10\0OW")
    for at in range(start + 92, start + 130, 2):
        try:
            found = hashes(content[:at] + b"\x81" + content[at + 1 :], "dicom")
        except DataError:
            continue
        assert len(found[0]) == 64


def test_frames_that_the_header_does_not_declare_are_borne():
    content = Path(bundled("SC_rgb_rle_2frame.dcm")).read_bytes()
    assert len(hashes(content.replace(b"\x28\0\x08\0IS\x02\x002 ", b"\x28\0\x08\0IS\x02\x000 "), "dicom")[0]) == 64
