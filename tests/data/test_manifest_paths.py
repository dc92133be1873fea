"""Files are found below the root alone, by rows or by the list of a folder, with one answer."""

import os

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.data import manifest_paths
from fairpool.data.manifest_paths import resolve_images
from fairpool.errors import DataError

MANY = 40  # files of one folder: enough for it to be listed


def series(*paths):
    return pd.Series(list(paths), index=range(1, len(paths) + 1), dtype=object)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A folder of files, folders and links of every kind beside a folder that must not be reached."""
    base = tmp_path_factory.mktemp("tree")
    (base / "outside").mkdir()
    (base / "outside" / "secret.png").touch()
    root = base / "root"
    (root / "site a" / "deep").mkdir(parents=True)
    for number in range(MANY):
        (root / "site a" / f"{number}.png").touch()
    (root / "top.png").touch()
    (root / "site a" / "deep" / "Ä.png").touch()
    (root / "site a" / "inner.png").symlink_to("0.png")
    (root / "site a" / "secret.png").symlink_to(base / "outside" / "secret.png")
    (root / "site a" / "broken.png").symlink_to("nowhere.png")
    (root / "site a" / "loop.png").symlink_to("loop.png")
    (root / "out").symlink_to(base / "outside")
    (root / "alias").symlink_to("site a")
    os.mkfifo(root / "site a" / "pipe.png")
    return root


def plainly(text, root):
    """What is expected of one cell, asked of the file system directly: the file, or the words of the fault."""
    top, cell = os.path.realpath(root), text.strip()
    if not cell:
        return "is empty"
    unified = cell.replace("\\", "/")
    if "\0" in cell or unified.startswith("/") or unified[1:2] == ":" or unified.split("/")[-1] in ("", ".", ".."):
        return "leaves the data folder or names no file"
    folder = os.path.realpath(os.path.join(top, *unified.split("/")[:-1]))
    if os.path.commonpath([folder, top]) != top:
        return "leaves the data folder or names no file"
    file = f"{folder}/{unified.split('/')[-1]}"
    if os.path.islink(file) and os.path.commonpath([os.path.realpath(file), top]) != top:
        return "leaves the data folder through a link"
    return file if os.path.isfile(file) else "no such file"


NAMES = ["0.png", "39.png", "top.png", "inner.png", "secret.png", "broken.png", "loop.png", "pipe.png", "deep", "Ä.png"]
FOLDERS = [
    "",
    "site a/",
    "site a\\",
    "./site a/",
    "alias/",
    "out/",
    "../root/",
    "../outside/",
    "site a/deep/",
    "/",
    "C:",
]
CELLS = st.builds(
    lambda before, folder, name, after: before + folder + name + after,
    st.sampled_from(["", " "]),
    st.sampled_from([*FOLDERS, "site a/deep/", "none/", "C:/", "top.png/", "site a//"]),
    st.sampled_from([*NAMES, "", ".", "..", "absent.png", "\0", "x" * 300]),
    st.sampled_from(["", " "]),
)


@settings(max_examples=150, deadline=None)
@given(cells=st.lists(CELLS, min_size=1, max_size=6), is_listed=st.booleans())
def test_each_cell_is_found_or_refused_as_the_file_system_says(tree, cells, is_listed):
    if is_listed:  # beside so many of their folder, its list answers
        cells = [f"site a/{number}.png" for number in range(MANY)] + cells
    expected = [plainly(cell, tree) for cell in cells]
    wrong = [(row, words) for row, words in enumerate(expected, start=1) if not words.startswith("/")]
    if not wrong:
        assert resolve_images(series(*cells), tree, "path") == expected
        return
    with pytest.raises(DataError) as caught:
        resolve_images(series(*cells), tree, "path")
    message = str(caught.value)
    assert message.startswith(f"{len(wrong)} of {len(cells)} images cannot be used: row {wrong[0][0]}: ")
    listed = message.split("cannot be used: ")[1].split("; ")
    assert all(f"row {row}: " in text and words in text for (row, words), text in zip(wrong, listed, strict=False))


def test_a_link_out_of_the_folder_is_refused_even_where_the_folder_is_listed_and_files_are_not_checked(tree):
    paths = [f"site a/{number}.png" for number in range(MANY)]
    with pytest.raises(DataError, match=f"row {MANY + 1}: path leaves the data folder through a link"):
        resolve_images(series(*paths, "site a/secret.png"), tree, "path", check_files=False)


def test_missing_files_are_accepted_where_they_are_not_checked(tree):
    assert resolve_images(series("site a/absent.png"), tree, "path", check_files=False)[0].endswith("absent.png")


def test_a_file_behind_the_listed_part_of_a_large_folder_is_found(tree, monkeypatch):
    monkeypatch.setattr(manifest_paths, "_LISTED", 0)
    paths = [f"site a/{number}.png" for number in range(MANY)]
    assert len(resolve_images(series(*paths), tree, "path")) == MANY


def test_the_file_system_is_asked_about_folders_and_not_about_each_of_many_files(tree, monkeypatch):
    asked = []
    for name in ("lstat", "stat", "readlink"):
        real = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *a, real=real, **k: (asked.append(a), real(*a, **k))[1])
    resolve_images(series(*[f"site a/{number % MANY}.png" for number in range(1000)]), tree, "path")
    assert len(asked) < 2 * len(tree.parts) + 10
