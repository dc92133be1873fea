import io
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_testdata_file

from fairpool.data.dicom_file import NamelessStream, check_dicom_start
from fairpool.errors import DataError


def content_of(name="CT_small.dcm"):
    return Path(get_testdata_file(name, download=False)).read_bytes()


def test_pydicom_finds_no_name_in_the_stream(tmp_path):
    content = content_of("JPEG2000.dcm")
    (tmp_path / "KANARI.dcm").write_bytes(content[:-200])
    with (tmp_path / "KANARI.dcm").open("rb") as handle:
        with pytest.warns(UserWarning, match="found in file .*KANARI"):
            pydicom.dcmread(handle)
        handle.seek(0)
        with pytest.warns(UserWarning, match="found in file <no filename>"):
            pydicom.dcmread(NamelessStream(handle))


def test_a_stream_notices_a_short_read_and_a_skip_beyond_its_end():
    whole = NamelessStream(io.BytesIO(b"12345"))
    assert whole.read(5) == b"12345"
    assert whole.read(1) == b""  # the end itself is no short read
    assert not whole.ends_early()
    short = NamelessStream(io.BytesIO(b"12345"))
    short.read(6)
    assert short.ends_early()
    skipped = NamelessStream(io.BytesIO(b"12345"))
    skipped.seek(9)
    assert skipped.ends_early()


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm", "rtplan.dcm"])
def test_the_start_of_a_sound_file_passes(name):
    check_dicom_start(content_of(name))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"1.2.840.10008.1.2.1\0", b"KANARI KANARI KANARI", "no valid transfer syntax"),
        (b"ISO_IR 100", b"KANARI_100", r"SpecificCharacterSet \(0008,0005\) is damaged"),
    ],
)
def test_what_pydicom_would_quote_is_refused_without_a_word_of_it(old, new, words):
    content = content_of()
    assert content.count(old) == 1
    with pytest.raises(DataError, match=words) as caught:
        check_dicom_start(content.replace(old, new))
    assert "KANARI" not in str(caught.value)


def test_a_deflated_file_is_refused():
    with pytest.raises(DataError, match="deflated"):
        check_dicom_start(content_of("image_dfl.dcm"))
