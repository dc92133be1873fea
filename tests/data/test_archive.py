import hashlib
import io
import re
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from zip_files import names, write_zip

from fairpool.data import archive as module
from fairpool.data.archive import extract
from fairpool.errors import DataError


def write_tar(path: Path, entries: list[tarfile.TarInfo], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, target
    return entry


def test_zip_and_tar_give_the_same_tree(tmp_path: Path) -> None:
    content = {"Set/CXR_png/a.png": b"\0" * 10, "Set/readme.txt": b"\0" * 3}
    write_zip(tmp_path / "a.zip", {"Set/": b"", **content})
    write_tar(
        tmp_path / "a.tar.gz",
        [tar_entry("./"), *(tar_entry(f"./{name}", size=len(content[name])) for name in content)],
        mode="w:gz",
    )
    for name in ("a.zip", "a.tar.gz"):
        extract(tmp_path / name, tmp_path / name[2:])
        assert names(tmp_path / name[2:]) == ["Set", "Set/CXR_png", "Set/CXR_png/a.png", "Set/readme.txt"]
        assert (tmp_path / name[2:] / "Set/CXR_png/a.png").read_bytes() == b"\0" * 10


def test_leftovers_of_macos_and_windows_are_left_out(tmp_path: Path) -> None:
    junk = {"__MACOSX/Set/._a.png": b"", "Set/.DS_Store": b"", "Set/Thumbs.db": b"", "Set/__MACOSX/b": b""}
    extract(write_zip(tmp_path / "a.zip", {"Set/a.png": b"a", **junk}), tmp_path / "out")
    assert names(tmp_path / "out") == ["Set", "Set/a.png"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.txt", "leaves the folder"),
        ("Set/../../evil.txt", "leaves the folder"),
        ("..\\evil.txt", "leaves the folder"),
        ("/tmp/evil.txt", "is absolute"),
        ("\\\\server\\share\\evil.txt", "is absolute"),
        ("C:\\evil.txt", "names a drive"),
        ("c:evil.txt", "names a drive"),
        ("Set\\evil.txt", "has a backslash"),
        ("__MACOSX/../../evil.txt", "leaves the folder"),
        ("SET/good.png", "shares its name"),
        ("Set/good.png/evil.txt", "shares its name"),
        ("set", "shares its name"),
    ],
)
def test_one_bad_name_keeps_the_whole_zip_out(tmp_path: Path, name: str, why: str) -> None:
    archive = write_zip(tmp_path / "a.zip", {"Set/good.png": b"good", name: b"evil"})
    with pytest.raises(DataError, match=f"1 member that must not be extracted: .*{re.escape(why)}"):
        extract(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_link_or_device_keeps_the_whole_zip_out(tmp_path: Path, kind: int) -> None:
    link = zipfile.ZipInfo("Set/link")
    link.create_system, link.external_attr = 3, (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("Set/good.png", b"good")
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"'Set/link' \(is a link or a device\)"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert names(tmp_path) == ["a.zip"]


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE], ids=str
)
def test_link_or_device_keeps_the_whole_tar_out(tmp_path: Path, kind: bytes) -> None:
    entries = [tar_entry("Set/good.png", size=4), tar_entry("Set/bad", kind, target="/etc/passwd")]
    with pytest.raises(DataError, match=r"'Set/bad' \(is a link or a device\)"):
        extract(write_tar(tmp_path / "a.tar", entries), tmp_path / "out")
    assert names(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("name", ["../evil", "/evil", "C:/evil"])
def test_bad_name_keeps_the_whole_tar_out(tmp_path: Path, name: str) -> None:
    entries = [tar_entry("Set/good.png", size=4), tar_entry(name, size=4)]
    with pytest.raises(DataError, match="must not be extracted"):
        extract(write_tar(tmp_path / "a.tar", entries), tmp_path / "out")
    assert names(tmp_path) == ["a.tar"]


def test_bad_members_are_counted_and_the_first_five_listed(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {f"../{number}": b"" for number in range(7)})
    with pytest.raises(DataError, match=r"7 members .*'\.\./0'.*'\.\./4' \(leaves the folder\), \.\.\.\."):
        extract(archive, tmp_path / "out")


def test_encrypted_member_keeps_the_zip_out(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"Set/a.png": b"a"})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1  # general purpose flag of the central directory
    path.write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        extract(path, tmp_path / "out")


def test_huge_expansion_is_refused_by_ratio_size_and_count(tmp_path: Path) -> None:
    bomb = write_zip(tmp_path / "a.zip", {"Set/a": bytes(2**21)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DataError, match=r"expands to more than .* raise max_ratio"):
        extract(bomb, tmp_path / "out")
    with pytest.raises(DataError, match=r"expands to more than 1,000 bytes.* raise max_bytes"):
        extract(bomb, tmp_path / "out", max_bytes=1000)
    with pytest.raises(DataError, match=r"more than 2 members.* raise max_members"):
        extract(write_zip(tmp_path / "b.zip", {f"{n}": b"" for n in range(3)}), tmp_path / "out", max_members=2)
    assert not (tmp_path / "out").exists()
    extract(bomb, tmp_path / "out", max_ratio=2000)
    assert (tmp_path / "out/Set/a").stat().st_size == 2**21


def test_compressed_tar_is_not_read_beyond_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = write_tar(tmp_path / "a.tar.gz", [tar_entry(f"Set/{n}", size=2**22) for n in range(4)], mode="w:gz")
    seen: list[str] = []
    monkeypatch.setattr(module, "_name_problem", lambda member: seen.append(member.name))
    with pytest.raises(DataError, match="raise max_bytes"):
        extract(bomb, tmp_path / "out", max_bytes=2**22, max_ratio=1e9)
    assert seen == ["Set/0"]


def test_header_that_understates_a_size_cannot_write_more(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"Set/a": bytes(10_000)}, compression=zipfile.ZIP_DEFLATED)
    data = bytearray(path.read_bytes())
    central = data.index(b"PK\x01\x02")
    data[central + 24 : central + 28] = (10).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        extract(path, tmp_path / "out")
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tar.bz2", "a.tar.xz"])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_archive_is_refused_and_leaves_nothing(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    random = b"".join(hashlib.sha256(bytes([n])).digest() for n in range(200))
    if name.endswith("zip"):
        write_zip(path, {"Set/a": random, "Set/b": random})
    else:
        with tarfile.open(path, f"w:{name[6:]}") as archive:  # type: ignore[call-overload]
            for member in ("Set/a", "Set/b"):
                archive.addfile(tar_entry(member, size=len(random)), io.BytesIO(random))
    data = bytearray(path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif name == "a.tar":
        data[512 + 6656] ^= 1  # first byte of the second header; tarfile alone would stop there without a word
    else:
        data[len(data) // 3] ^= 255
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"it is damaged|is damaged or"):
        extract(path, tmp_path / "out")
    assert not (tmp_path / "out").exists() or names(tmp_path / "out") == []


def test_tar_member_of_negative_size_is_refused(tmp_path: Path) -> None:
    entries = [tar_entry("Set/a"), tar_entry("Set/b", size=-512)]
    data = b"".join(entry.tobuf(tarfile.GNU_FORMAT) for entry in entries) + bytes(10240)
    (tmp_path / "a.tar").write_bytes(data)
    with pytest.raises(DataError, match="a member states a negative size"):
        extract(tmp_path / "a.tar", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
@pytest.mark.parametrize("before", [0, 1])
def test_name_that_is_spelt_out_without_end_is_refused(tmp_path: Path, kind: bytes, mode: str, before: int) -> None:
    """tarfile would read it into memory: 600 KB of gzip became 600 MB there."""
    entries = [tar_entry("Set/a.png"), tar_entry("Set/b.png", kind, size=2**20 + 1), tar_entry("Set/c.png")]
    archive = write_tar(tmp_path / "a.tar.gz", entries[1 - before :], mode)
    with pytest.raises(DataError, match=r"more than 1,048,576 bytes|neither a zip nor a tar"):
        extract(archive, tmp_path / "out")
    assert names(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_are_extracted(tmp_path: Path, form: int) -> None:
    name = "Set/" + "/".join(f"{number}-" + "x" * 120 for number in range(3)) + "/é.png"
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    extract(tmp_path / "a.tar", tmp_path / "out")
    assert (tmp_path / "out" / name).is_file()


def test_zip_whose_directory_is_not_where_it_says_is_refused_as_damaged(tmp_path: Path) -> None:
    content = bytearray(write_zip(tmp_path / "a.zip", {"Set/a.png": b"a"}).read_bytes())
    at = content.rindex(b"PK\5\6") + 16  # the offset of the directory: zipfile then seeks to before the file
    content[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is damaged or of an unknown kind"):
        extract(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"<html>no</html>"])
def test_file_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip is neither a zip nor a tar archive"):
        extract(tmp_path / "a.zip", tmp_path / "out")


def test_archive_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no files"):
        extract(write_zip(tmp_path / "a.zip", {"__MACOSX/x": b""}), tmp_path / "out")


def test_folder_that_is_there_already_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "Set").mkdir()
    with pytest.raises(DataError, match=r"Set of a\.zip is already in the data folder"):
        extract(write_zip(tmp_path / "a.zip", {"Set/a.png": b"a"}), tmp_path)
    assert names(tmp_path / "Set") == []


def test_archive_that_lacks_a_required_folder_is_not_extracted(tmp_path: Path) -> None:
    archive = write_zip(tmp_path / "a.zip", {"Set/a.png": b"a"})
    with pytest.raises(DataError, match=r"does not hold Set/CXR_png\. Nothing"):
        extract(archive, tmp_path / "out", required=("Set", "Set/CXR_png"))
    assert not (tmp_path / "out").exists()


def test_interrupted_extraction_is_not_mistaken_for_a_finished_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_zip(tmp_path / "a.zip", {"Set/a": b"a", "Set/b": b"b"})
    written: list[str] = []

    def killed(opened: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
        if written:
            raise KeyboardInterrupt
        written.append(info.filename)
        (folder / "Set").mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(module, "_write_zip_member", killed)
        patch.setattr(module.shutil, "rmtree", lambda *_, **__: None)  # a kill leaves the staging folder behind
        with pytest.raises(KeyboardInterrupt):
            extract(archive, tmp_path / "out")
    assert names(tmp_path / "out") == [".a.zip.extracting", ".a.zip.extracting/Set"]
    extract(archive, tmp_path / "out")
    assert names(tmp_path / "out") == ["Set", "Set/a", "Set/b"]
