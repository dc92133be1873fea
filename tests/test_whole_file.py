import os
import stat

import pytest

from fairpool.whole_file import open_whole, write_json, write_whole


def test_text_and_bytes_are_written_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "a.txt", "Zürich\n")
    write_whole(tmp_path / "b", b"\x00\r\n")
    write_json(tmp_path / "c.json", {"a": [1]})
    assert (tmp_path / "a.txt").read_bytes() == b"Z\xc3\xbcrich\n"
    assert (tmp_path / "b").read_bytes() == b"\x00\r\n"
    assert (tmp_path / "c.json").read_text() == '{\n "a": [\n  1\n ]\n}'
    assert len(list(tmp_path.iterdir())) == 3


def test_after_an_error_the_old_file_stands_and_no_part_is_left(tmp_path):
    write_whole(tmp_path / "a", "old")

    def interrupt():
        with open_whole(tmp_path / "a") as handle:
            handle.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupt()
    with pytest.raises(UnicodeEncodeError):
        write_whole(tmp_path / "a", "\udcff")
    assert (tmp_path / "a").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_the_old_file_stands_until_the_new_one_is_whole(tmp_path):
    write_whole(tmp_path / "a", "old")
    with open_whole(tmp_path / "a") as handle:
        handle.write(b"new")
        handle.flush()
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="modes and links of POSIX")
def test_the_umask_and_the_mode_wanted_rule_and_no_link_is_followed(tmp_path):
    (tmp_path / "victim").write_text("keep me")
    (tmp_path / "a").symlink_to("victim")
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "1")
        write_whole(tmp_path / "secret", "1", mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "victim").read_text() == "keep me"
    assert stat.S_IMODE((tmp_path / "a").lstat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
