import contextlib
import os
import subprocess
import sys

import pytest

from fairpool.data.scan.walking import walk
from fairpool.errors import DataError


def paths(found):
    return [file.path for file in found.files]


def test_every_file_of_a_tree_is_found_in_the_order_of_the_paths(tmp_path):
    for name in ("b/2", "b/1", "a", "c/d/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"12345")
    found = walk(tmp_path)
    assert paths(found) == ["a", "b/1", "b/2", "c/d/e.txt"]
    assert {file.size for file in found.files} == {5}
    assert found.files[0].changed == os.stat(tmp_path / "a").st_mtime_ns
    assert not found.faults


def test_a_circle_of_folders_ends_and_is_named(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "1.png").write_bytes(b"1")
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    found = walk(tmp_path)
    assert paths(found) == ["a/b/1.png"]
    assert found.faults == {"a/b/up": "link leads back to a folder above it. Remove it"}


def test_links_that_lead_to_each_other_are_named(tmp_path):
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    (tmp_path / "self").symlink_to("self")
    faults = walk(tmp_path).faults
    assert set(faults) == {"one", "two", "self"}
    assert set(faults.values()) == {"links lead in a circle. Remove them"}


def test_links_that_leave_the_folder_are_named_and_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.png").write_bytes(b"1")
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "file.png").symlink_to("../outside/secret.png")
    (inside / "folder").symlink_to(tmp_path / "outside")
    # A name that merely begins like the folder's is outside too.
    (tmp_path / "inside2").mkdir()
    (inside / "near").symlink_to("../inside2")
    found = walk(inside)
    assert not found.files
    assert set(found.faults) == {"file.png", "folder", "near"}
    assert all("leads out of the folder" in reason for reason in found.faults.values())


def test_a_link_to_nothing_is_named(tmp_path):
    (tmp_path / "annexed.nii.gz").symlink_to(".git/annex/objects/x")
    assert walk(tmp_path).faults == {"annexed.nii.gz": "link leads to nothing. Fetch the file, or remove it"}


def test_a_link_to_a_hidden_file_of_the_tree_is_a_file_as_in_datalad(tmp_path):
    (tmp_path / ".git" / "annex").mkdir(parents=True)
    (tmp_path / ".git" / "annex" / "MD5E-1").write_bytes(b"123")
    (tmp_path / "scan.nii").symlink_to(".git/annex/MD5E-1")
    found = walk(tmp_path)
    assert [(file.path, file.size) for file in found.files] == [("scan.nii", 3)]
    assert found.skipped == {"hidden": 1}


def test_a_link_to_a_file_that_is_listed_counts_it_once(tmp_path):
    (tmp_path / "a.png").write_bytes(b"1")
    (tmp_path / "b.png").symlink_to("a.png")
    (tmp_path / "d").mkdir()
    (tmp_path / "e").symlink_to("d")
    found = walk(tmp_path)
    assert paths(found) == ["a.png"]
    assert found.skipped == {"links to files of the tree": 1, "links to folders of the tree": 1}


def test_the_root_may_be_a_link_itself(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.png").write_bytes(b"1")
    (tmp_path / "link").symlink_to("data")
    assert paths(walk(tmp_path / "link")) == ["a.png"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (b"a\nb.png", "line break"),
        (b"a\x1b[2Jb.png", "control character"),
        (b"M\xfcller.png", "not UTF-8"),
        (b" a.png", "space"),
        (b"'=a.png", "space"),
        (b"a\\b.png", "space"),
        (b"c:a.png", "space"),
    ],
)
def test_a_name_that_no_table_holds_is_named(tmp_path, name, words):
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(b"1")
    found = walk(tmp_path)
    assert not found.files
    assert list(found.faults) == [os.fsdecode(name)]
    assert words in found.faults[os.fsdecode(name)]


def test_odd_names_of_other_files_are_counted_alone(tmp_path):
    (tmp_path / "a\nb.txt").write_bytes(b"1")
    found = walk(tmp_path)
    assert not found.faults
    assert found.skipped == {"odd names": 1}


def test_pipes_are_named_and_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    assert "pipe" in walk(tmp_path).faults["a.png"]


def walk_as_nobody(folder):
    """What another user finds, for root may read everything; in a process of its own."""
    for parent in (folder, *folder.parents):
        if not os.stat(parent).st_mode & 0o001:
            os.chmod(parent, 0o755)
    code = (
        "import os, sys; from fairpool.data.scan.walking import walk; os.setuid(65534); found = walk(sys.argv[1]); "
        "print([file.path for file in found.files], found.faults)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True)
    return result.stdout.strip()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone becomes another user")
@pytest.mark.parametrize("mode", [0o700, 0o744, 0o711])  # closed; names may be read; names may not be read
def test_a_locked_folder_is_named_once_and_the_rest_is_found(tmp_path, mode):
    (tmp_path / "open").mkdir()
    (tmp_path / "open" / "a.png").write_bytes(b"1")
    (tmp_path / "locked" / "below").mkdir(parents=True)
    (tmp_path / "locked" / "Meier.png").write_bytes(b"1")
    (tmp_path / "locked" / "link.png").symlink_to("Meier.png")
    (tmp_path / "locked").chmod(mode)
    said = "folder cannot be read (permission denied). Ask for the right to read it"
    assert walk_as_nobody(tmp_path) == f"['open/a.png'] {{'locked': '{said}'}}"


def test_a_file_that_goes_away_meanwhile_is_named_and_stops_nothing(tmp_path, monkeypatch):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).write_bytes(b"1")
    scan = os.scandir

    def scan_and_lose(path):
        found = list(scan(path))
        (tmp_path / "b.png").unlink()
        return contextlib.nullcontext(found)

    monkeypatch.setattr("fairpool.data.scan.walking.os.scandir", scan_and_lose)
    found = walk(tmp_path)
    assert paths(found) == ["a.png", "c.png"]
    assert found.faults == {"b.png": "file cannot be looked at (no such file or directory). Scan again"}


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may read everything")
def test_a_locked_folder_is_named(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o000)
    assert "permission denied" in walk(tmp_path).faults["locked"]


def test_a_folder_that_is_not_there_is_refused_without_its_path(tmp_path):
    with pytest.raises(DataError, match="is not there") as caught:
        walk(tmp_path / "Meier")
    assert "Meier" not in str(caught.value)
