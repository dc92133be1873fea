import json
import stat

from fairpool.data.scan.journal import Journal
from fairpool.data.scan.walking import FoundFile

FILE = FoundFile("bern/a.png", 9, 5)


def write(path, settings="x", files=(FILE,)):
    with Journal(path, settings) as journal:
        for file in files:
            journal.add(file, {"format": "png"})


def test_what_was_written_is_found_in_the_next_run(tmp_path):
    write(tmp_path / "j")
    with Journal(tmp_path / "j", "x") as journal:
        assert journal.find(FILE) == {"format": "png"}
        assert journal.find(FoundFile("bern/b.png", 9, 5)) is None


def test_a_file_whose_size_or_time_changed_is_read_again(tmp_path):
    write(tmp_path / "j")
    with Journal(tmp_path / "j", "x") as journal:
        assert journal.find(FoundFile(FILE.path, 10, 5)) is None
        assert journal.find(FoundFile(FILE.path, 9, 6)) is None


def test_a_line_is_on_disk_before_the_journal_is_closed(tmp_path):
    with Journal(tmp_path / "j", "x") as journal:
        journal.add(FILE, {})
        assert len((tmp_path / "j").read_text().splitlines()) == 2


def test_a_line_that_was_cut_off_is_left_out_and_the_others_count(tmp_path):
    write(tmp_path / "j", files=[FILE, FoundFile("b", 1, 1)])
    whole = (tmp_path / "j").read_text()
    for cut in range(1, 30):
        (tmp_path / "j").write_text(whole[:-cut])
        with Journal(tmp_path / "j", "x") as journal:
            assert journal.find(FILE) == {"format": "png"}
            assert (journal.find(FoundFile("b", 1, 1)) is None) == (cut > 1)
            journal.add(FoundFile("c", 1, 1), {})
        with Journal(tmp_path / "j", "x") as journal:
            assert journal.find(FoundFile("c", 1, 1)) == {}


def test_a_journal_of_other_settings_or_of_something_else_is_not_used(tmp_path):
    write(tmp_path / "j")
    with Journal(tmp_path / "j", "y") as journal:
        assert journal.find(FILE) is None
    for content in (b"", b"\xff\xfe", b"[]\n[1]\n", b"{}\n", b"[" * 100_000):
        (tmp_path / "j").write_bytes(content)
        with Journal(tmp_path / "j", "x") as journal:
            assert journal.find(FILE) is None
            journal.add(FILE, {})
        with Journal(tmp_path / "j", "x") as journal:
            assert journal.find(FILE) == {}


def test_the_last_word_on_a_file_counts_and_the_journal_does_not_grow(tmp_path):
    for number in range(5):
        write(tmp_path / "j", files=[FoundFile("a", 1, number)] * 3)
    with Journal(tmp_path / "j", "x") as journal:
        assert journal.find(FoundFile("a", 1, 4)) == {"format": "png"}
    assert len((tmp_path / "j").read_text().splitlines()) == 2


def test_the_owner_alone_may_read_it_and_its_paths_are_plain(tmp_path):
    write(tmp_path / "j", files=[FoundFile("Zürich/a", 1, 1)])
    assert stat.S_IMODE((tmp_path / "j").stat().st_mode) == 0o600
    assert json.loads((tmp_path / "j").read_text().splitlines()[1])[0] == "Zürich/a"


def test_without_a_file_nothing_is_kept():
    with Journal(None, "x") as journal:
        journal.add(FILE, {})
        assert journal.find(FILE) is None


def test_a_file_or_link_that_lies_in_wait_is_neither_written_nor_gives_its_mode(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (tmp_path / "victim").write_text("keep me")
    (folder / "j.part").symlink_to(tmp_path / "victim")
    (folder / "j").write_text("")
    (folder / "j").chmod(0o644)
    write(folder / "j")
    assert (tmp_path / "victim").read_text() == "keep me"
    assert stat.S_IMODE((folder / "j").stat().st_mode) == 0o600
    (folder / "j.part").unlink()
    (folder / "j.part").write_text("")
    (folder / "j.part").chmod(0o644)
    (folder / "j").unlink()
    (folder / "j").symlink_to(tmp_path / "victim")
    write(folder / "j")
    assert (tmp_path / "victim").read_text() == "keep me"
    assert stat.S_IMODE((folder / "j").lstat().st_mode) == 0o600
    assert sorted(file.name for file in folder.iterdir()) == ["j", "j.part"]
