import pytest

from fairpool.data.opening import describe_foreign, open_file
from fairpool.errors import DataError


def test_a_file_is_opened_at_its_start(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12")
    with open_file(tmp_path / "a.png") as handle:
        assert handle.read() == b"12"


@pytest.mark.parametrize(
    ("name", "words"),
    [("KANARI.png", "file not found"), ("KANARI", "a folder or device"), ("KANARI\0", "the path is not valid")],
)
def test_no_refusal_has_the_path_in_it_or_in_its_cause(tmp_path, name, words):
    (tmp_path / "KANARI").mkdir()
    with pytest.raises(DataError, match=words) as caught:
        open_file(f"{tmp_path}/{name}")
    # Python would keep an OSError, and the path in it, as context.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert "KANARI" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html>", "web page"),
        (b"II*\0KANARI", "(TIFF)"),
        (b"\x1f\x8b\x08", "(gzip or NIfTI)"),
        (b"KANARI", "(unknown)"),
    ],
)
def test_a_file_of_another_format_is_told_by_its_first_bytes(head, words):
    assert words in describe_foreign(head)
    assert "KANARI" not in describe_foreign(head)
