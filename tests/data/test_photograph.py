import numpy as np
import pytest
from PIL import Image, ImageFile

from fairpool.data.photograph import read_photograph
from fairpool.errors import DataError


def saved(image, file, **options):
    image.save(file, **options)
    return file


def halves(mode, left, right, size=(40, 20)):
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def corners(photograph):
    """Colours of the top left and the bottom right pixel."""
    return photograph.levels[0, 0].tolist(), photograph.levels[-1, -1].tolist()


def test_a_crop_keeps_the_middle_and_the_aspect_ratio(tmp_path):
    # 40 x 20: bands of 10 columns each. The centred square is columns 10 to 29: only the two inner bands.
    levels = np.repeat(np.array([0, 100, 200, 255], np.uint8), 10)[None].repeat(20, axis=0)
    file = saved(Image.fromarray(levels), tmp_path / "bands.png")
    assert np.array_equal(read_photograph(file, 20).levels[:, :, 0], levels[:, 10:30])
    assert corners(read_photograph(file, 20, fit="stretch")) == ([0] * 3, [255] * 3)


def test_a_size_is_height_then_width(tmp_path):
    file = saved(halves("RGB", (255, 0, 0), (0, 0, 255)), tmp_path / "a.png")
    assert read_photograph(file, [5, 12]).levels.shape == (5, 12, 3)


@pytest.mark.parametrize(
    ("mode", "left", "right", "note"),
    [
        ("RGB", (255, 0, 51), (0, 102, 0), None),
        ("L", 255, 51, "grey"),
        ("1", 1, 0, "grey"),
        ("RGBA", (255, 0, 51, 255), (9, 9, 9, 0), "alpha"),
        ("LA", (204, 255), (9, 0), "alpha"),
        ("I;16", 65535, 257 * 51, "16-bit grey"),
    ],
)
def test_every_colour_type_of_png_becomes_red_green_and_blue(tmp_path, mode, left, right, note):
    image = read_photograph(saved(halves(mode, left, right), tmp_path / "a.png"), (10, 20))

    def expected(value):
        if mode == "1":
            return [255 * value] * 3
        if mode == "I;16":
            return [value // 257] * 3
        if mode in ("RGBA", "LA"):  # blended on black
            channels = [part * value[-1] // 255 for part in value[:-1]]
            return channels if len(channels) == 3 else channels * 3
        return list(value) if isinstance(value, tuple) else [value] * 3

    assert corners(image) == (expected(left), expected(right))
    assert (note in image.notes) == (note is not None)


def test_a_palette_is_looked_up(tmp_path):
    image = halves("P", 1, 2)
    image.putpalette([0, 0, 0, 250, 10, 20, 5, 200, 30])
    photograph = read_photograph(saved(image, tmp_path / "a.png"), (10, 20))
    assert corners(photograph) == ([250, 10, 20], [5, 200, 30])
    assert photograph.notes == ("palette",)


def test_the_inks_of_a_cmyk_jpeg_are_no_light(tmp_path):
    cyan, none = (255, 0, 0, 0), (0, 0, 0, 0)
    file = saved(halves("CMYK", cyan, none), tmp_path / "a.jpg", quality=100, subsampling=0)
    photograph = read_photograph(file, (10, 20))
    assert np.abs(np.array(corners(photograph)) - [[0, 255, 255], [255, 255, 255]]).max() <= 4  # JPEG is lossy
    assert photograph.notes == ("CMYK",)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_orientation_is_applied(tmp_path, orientation):
    upright = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    # What the camera stored, so that turning it as the standard says gives the upright image: each turn's inverse.
    turns = Image.Transpose
    stored = [
        None,
        turns.FLIP_LEFT_RIGHT,
        turns.ROTATE_180,
        turns.FLIP_TOP_BOTTOM,
        turns.TRANSPOSE,
        turns.ROTATE_90,
        turns.TRANSVERSE,
        turns.ROTATE_270,
    ][orientation - 1]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(upright if stored is None else upright.transpose(stored), tmp_path / "a.png", exif=exif)
    photograph = read_photograph(file, (4, 6))
    assert np.array_equal(photograph.levels[:, :, 0], np.asarray(upright))
    assert ("exif orientation" in photograph.notes) == (orientation > 1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "the file is empty"),
        (b"<!doctype html>", "the file is a web page"),
        (b"GIF89a", r"unsupported format \(GIF\); expected PNG or JPEG\. Convert"),
        (bytes(128) + b"DICM", r"unsupported format \(DICOM\); expected PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "image data are damaged"),
        (b"\xff\xd8\xff" + bytes(10), "image data are damaged"),
    ],
)
def test_what_is_no_photograph_is_refused(tmp_path, content, sentence):
    (tmp_path / "secret.jpg").write_bytes(content)
    with pytest.raises(DataError, match=sentence) as caught:
        read_photograph(tmp_path / "secret.jpg", 8)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_a_truncated_file_is_refused(tmp_path, ending):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    file = saved(noise, tmp_path / f"a.{ending}")
    file.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(DataError, match=r"ends early|damaged"):
        read_photograph(file, 8)


def test_too_many_pixels_are_refused_before_decoding(tmp_path):
    file = saved(Image.new("RGB", (40, 30)), tmp_path / "a.png")
    with pytest.raises(DataError, match=r"40 x 30 = 1,200 pixels; the limit is 1,199"):
        read_photograph(file, 8, max_pixels=1199)
    assert read_photograph(file, 8, max_pixels=1200).notes == ("constant",)


def test_missing_files_and_folders_are_refused(tmp_path):
    for place in (tmp_path / "nowhere.png", tmp_path):
        with pytest.raises(DataError, match=r"file not found|not a file"):
            read_photograph(place, 8)


def test_pillow_may_not_fill_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(RuntimeError, match="LOAD_TRUNCATED_IMAGES"):
        read_photograph(saved(Image.new("RGB", (4, 4)), tmp_path / "a.png"), 2)


def test_one_colour_everywhere_is_a_constant_image(tmp_path):
    assert read_photograph(saved(Image.new("RGB", (9, 9), (255, 0, 51)), tmp_path / "a.png"), 4).notes == ("constant",)
    assert read_photograph(saved(halves("RGB", (9, 0, 0), (9, 0, 1)), tmp_path / "b.png"), (10, 20)).notes == ()
