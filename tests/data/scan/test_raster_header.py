import io
import struct
import zlib

import pytest
from PIL import Image

from fairpool.data.scan.raster_header import read_raster_header
from fairpool.errors import DataError


def read(content, kind="png", max_pixels=10**8):
    return read_raster_header(io.BytesIO(content), kind, max_pixels=max_pixels)


def picture(mode, form="PNG", size=(9, 6), **options):
    content = io.BytesIO()
    Image.new(mode, size).save(content, form, **options)
    return content.getvalue()


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "I;16", "1", "LA"])
def test_shape_is_rows_by_columns_and_the_mode_that_of_pillow(mode):
    header = read(picture(mode))
    assert (header.shape, header.photometric, header.spacing) == ("6x9", mode, "")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpeg_likewise(mode):
    header = read(picture(mode, "JPEG"), "jpeg")
    assert (header.format, header.shape, header.photometric) == ("jpeg", "6x9", mode)


@pytest.mark.parametrize(("form", "kind"), [("PNG", "png"), ("JPEG", "jpeg")])
def test_a_file_that_ends_early_is_refused(form, kind):
    content = picture("L", form, (200, 100))
    for length in (20, len(content) // 2, len(content) - 1):
        with pytest.raises(DataError, match="ends early"):
            read(content[:length], kind)


def test_a_few_bytes_behind_the_end_are_borne():
    assert read(picture("L") + b"\n").shape == "6x9"


def test_a_bomb_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    bomb = picture("L")[:8] + chunk + picture("L")[33:]
    with pytest.raises(DataError, match=r"60000 x 60000 = 3,600,000,000 pixels; the limit is 100,000,000"):
        read(bomb)


def test_frames_of_an_animation_are_counted():
    frames = [Image.new("L", (9, 6), level) for level in (0, 100, 200)]
    content = io.BytesIO()
    frames[0].save(content, "PNG", save_all=True, append_images=frames[1:])
    assert read(content.getvalue()).shape == "6x9x3"


def test_the_limit_of_pillow_for_the_whole_process_plays_no_part(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 5)
    assert read(picture("L")).shape == "6x9"


def test_no_cause_is_kept_that_could_hold_a_name():
    with pytest.raises(DataError) as caught:
        read(b"\x89PNG\r\n\x1a\n" + bytes(40))
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
