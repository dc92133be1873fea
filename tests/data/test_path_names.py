import pytest

from fairpool.data.path_names import path_below, strip_ending, tidy_path
from fairpool.errors import DataError


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("scan.nii.gz", "scan"),
        ("scan.NII.GZ", "scan"),
        ("scan.tar.gz", "scan"),
        ("scan.png", "scan"),
        ("scan.ome.tif", "scan"),
        ("a.b.dcm", "a.b"),
        ("1.2.840", "1.2.840"),
        ("scan", "scan"),
        ("IM0001", "IM0001"),
    ],
)
def test_endings_are_stripped_and_the_numbers_of_identifiers_are_not(name, stem):
    assert strip_ending(name) == stem


@pytest.mark.parametrize("text", ["a/1.png", "./a/1.png", ".\\a\\1.png", "a//1.png", "b/../a/1.png", "a/./1.png"])
def test_one_path_has_one_form(text):
    assert tidy_path(text) == "a/1.png"


def test_a_path_that_leaves_the_root_is_refused_without_it(tmp_path):
    assert path_below(str(tmp_path / "meier" / "1.png"), tmp_path) == "meier/1.png"
    for path in (tmp_path, tmp_path / ".." / "meier.png", "/meier.png"):
        with pytest.raises(DataError, match="below root_dir") as caught:
            path_below(str(path), tmp_path)
        assert "meier" not in str(caught.value)
