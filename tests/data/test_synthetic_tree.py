"""A folder is claimed once, by one generator and its settings; whatever else is there stays."""

import json

import pytest
from PIL import Image

from fairpool.data.synthetic_tree import TREE_FILE, claim_tree, finish_tree, save_image
from fairpool.errors import DataError

MINE = ("fairpool.data.draw_mine", {"seed": 0, "sizes": [1, 2]})


def test_a_tree_is_claimed_continued_and_then_whole(tmp_path):
    root = tmp_path / "new" / "tree"
    assert [claim_tree(root, *MINE), claim_tree(root, *MINE)] == [False, False]
    assert [file.name for file in root.iterdir()] == [f"{TREE_FILE}.partial"]
    finish_tree(root)
    assert claim_tree(root, *MINE)
    about = json.loads((root / TREE_FILE).read_text(encoding="utf-8"))
    assert (about["synthetic"], about["generator"], about["settings"]) == (True, *MINE)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(
    ("generator", "settings", "version", "sentence"),
    [
        (MINE[0], {"seed": 1, "sizes": [1, 2]}, 1, r"made otherwise \(seed 0, not 1\); name a new folder"),
        ("fairpool.data.draw_other", MINE[1], 1, "another version"),
        (*MINE, 2, "another version"),
        (MINE[0], {"seed": 0}, 1, "another version"),
    ],
)
def test_a_tree_of_another_generator_setting_or_version_is_refused(
    tmp_path, is_whole, generator, settings, version, sentence
):
    claim_tree(tmp_path, *MINE)
    if is_whole:
        finish_tree(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(DataError, match=sentence):
        claim_tree(tmp_path, generator, settings, version=version)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"settings": 3}', "\ud800"])
def test_a_file_of_that_name_with_other_content_is_no_tree_of_ours(tmp_path, text):
    (tmp_path / TREE_FILE).write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(DataError, match="settings that cannot be read"):
        claim_tree(tmp_path, *MINE)


def test_other_files_and_a_file_in_place_of_the_folder_are_refused_without_their_path(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    for root, sentence in ((tmp_path, "is not empty and holds no synthetic tree"), (tmp_path / "thesis.txt", "a file")):
        with pytest.raises(DataError, match=sentence) as caught:
            claim_tree(root, *MINE)
        assert str(tmp_path.parent) not in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


def test_an_image_that_cannot_be_written_leaves_nothing(tmp_path):
    save_image(Image.new("L", (4, 4)), tmp_path / "a.png", format="PNG")
    with pytest.raises(OSError, match="mode RGBA"):
        save_image(Image.new("RGBA", (4, 4)), tmp_path / "b.jpg", format="JPEG")
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
