"""Unpack a zip or tar archive only when every member of it is harmless."""

import errno
import os
import re
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath

from fairpool.errors import DataError

__all__ = ["check_space", "extract"]

_CHUNK = 2**18
_LONGEST_PADDING = 2**20  # bytes of zeros behind the last member of a tar
_LONGEST_NAME = 2**20  # bytes in which a tar spells a long name, or its other attributes
_SPELT_OUT = {
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
}
_JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db"}


def extract(
    archive: str | Path,
    root_dir: str | Path,
    *,
    max_bytes: int = 20 * 2**30,
    max_ratio: float = 200.0,
    max_members: int = 200_000,
    required: Sequence[str] = (),
) -> None:
    """Contents of a zip or tar archive, placed in a folder; nothing is written unless every member is harmless.

    Files are unpacked into a hidden folder beside their place and renamed, top-level entry by top-level entry, at the
    end: what stands under its own name is complete. Leftovers of macOS and Windows (`__MACOSX`, `.DS_Store`,
    `Thumbs.db`) are left out.

    Args:
        archive: zip, tar, or compressed tar.
        root_dir: where the top-level entries of the archive go; none of them may be there yet.
        max_bytes: largest total size after expansion.
        max_ratio: largest total size after expansion, in sizes of the archive. PNG and JPEG stay near 1.
        max_members: largest number of members.
        required: paths that the archive must hold, such as `"MontgomerySet/CXR_png"`.
    Raises:
        DataError: not an archive, damaged, too large, lacks a required path, in the way of what is there already, or
            with members that are absolute, leave the folder, are links or devices, are encrypted, or share a name.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> with zipfile.ZipFile(folder / "site.zip", "w") as site:
    ...     site.writestr("../evil.txt", "")
    >>> extract(folder / "site.zip", folder)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    fairpool.errors.DataError: site.zip has 1 member that must not be extracted: '../evil.txt' (leaves the folder). ...
    """
    archive, root = Path(archive), Path(root_dir)
    with _named_damage(archive), _opened(archive) as opened:
        members = _checked_members(_members(opened), archive, max_bytes, max_ratio, max_members)
        _check_required(members, archive, required)
        root.mkdir(parents=True, exist_ok=True)
        taken = sorted(name for name in {member.parts[0] for member in members} if os.path.lexists(root / name))
        if taken:
            raise DataError(
                f"{', '.join(taken)} of {archive.name} is already in the data folder. "
                "Move or delete it to extract anew."
            )
        check_space(root, sum(member.size for member in members), archive.name)
        staging = root / f".{archive.name}.extracting"
        shutil.rmtree(staging, ignore_errors=True)  # left by an extraction that was killed
        try:
            staging.mkdir()
            for member in members:
                member.write(staging)
            for entry in sorted(staging.iterdir()):
                entry.rename(root / entry.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def check_space(folder: Path, needed: int, name: str) -> None:
    """Refuse to begin what the disk cannot hold.

    Args:
        folder: where it is to be written.
        needed: bytes.
        name: of the archive, for the message.
    Raises:
        DataError: the disk has less free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(f"{name} needs {needed:,} bytes more and the disk has {free:,}. Free some space and try again.")


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    problem: str | None
    write: Callable[[Path], None]

    @property
    def parts(self) -> tuple[str, ...]:
        return PurePosixPath(self.name).parts


class _TarInfo(tarfile.TarInfo):
    """A member whose name may be spelt out, but not without end: tarfile reads such a text into memory at once.

    600 KB of gzip unfold to a name of 600 MB.
    """

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:  # where tarfile lets a subclass step in
        if self.type in _SPELT_OUT and self.size > _LONGEST_NAME:
            raise tarfile.ReadError(f"a name or attribute of more than {_LONGEST_NAME:,} bytes")
        return super()._proc_member(archive)  # type: ignore[misc, no-any-return]


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    with suppress(tarfile.TarError):
        return tarfile.open(archive, tarinfo=_TarInfo)
    raise DataError(
        f"{archive.name} is neither a zip nor a tar archive, or it is damaged. Delete it and fetch it again."
    )


@contextmanager
def _named_damage(archive: Path) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        LZMAError,
        EOFError,
        NotImplementedError,
        OSError,
    ) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk's own trouble; damage has no number, or is a seek to a place before the start
        raise DataError(
            f"{archive.name} is damaged or of an unknown kind ({error}). "
            "Nothing was extracted. Delete it and fetch it again."
        ) from error


def _members(opened: zipfile.ZipFile | tarfile.TarFile) -> Iterator[_Member]:
    return _zip_members(opened) if isinstance(opened, zipfile.ZipFile) else _tar_members(opened)


def _zip_members(opened: zipfile.ZipFile) -> Iterator[_Member]:
    for info in opened.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)  # Unix mode; 0 where another system wrote the archive
        problem = None if kind in (0, stat.S_IFREG, stat.S_IFDIR) else "is a link or a device"
        if info.flag_bits & 1:
            problem = "is encrypted"
        write = partial(_write_zip_member, opened, info)
        yield _Member(info.orig_filename, info.file_size, info.is_dir(), problem, write)


def _write_zip_member(opened: zipfile.ZipFile, info: zipfile.ZipInfo, folder: Path) -> None:
    target = folder.joinpath(*PurePosixPath(info.filename).parts)
    if info.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Ends at the stated size and compares the CRC, so a header that lies cannot write more than was counted.
    with opened.open(info) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)


def _tar_members(opened: tarfile.TarFile) -> Iterator[_Member]:
    for entry in opened:  # one by one: a compressed tar is read no further than the limits
        if entry.size < 0:  # would send tarfile back to where it was, for ever (CVE-2025-8194)
            raise tarfile.ReadError("a member states a negative size")
        problem = None if entry.isreg() or entry.isdir() else "is a link or a device"
        write = partial(_write_tar_member, opened, entry)
        yield _Member(entry.name, entry.size if entry.isreg() else 0, entry.isdir(), problem, write)
    # tarfile takes a damaged header, or a missing one, for the end of the archive; only a block of zeros is the end.
    # Reading to the end of the file is also what makes gzip compare its CRC.
    if opened.fileobj is not None:
        opened.fileobj.seek(opened.offset)
        padding = opened.fileobj.read(_LONGEST_PADDING)
        if len(padding) < tarfile.BLOCKSIZE or len(padding) == _LONGEST_PADDING or any(padding):
            raise tarfile.ReadError("it does not end with an end mark")


def _write_tar_member(opened: tarfile.TarFile, entry: tarfile.TarInfo, folder: Path) -> None:
    opened.extract(entry, folder, filter="data")


def _checked_members(
    members: Iterable[_Member], archive: Path, max_bytes: int, max_ratio: float, max_members: int
) -> list[_Member]:
    kept: list[_Member] = []
    bad: list[str] = []
    names = _Names()
    total = 0
    limit = min(max_bytes, max_ratio * archive.stat().st_size)
    for count, member in enumerate(members, start=1):
        total += member.size
        if count > max_members:
            raise DataError(
                f"{archive.name} has more than {max_members:,} members. "
                "Nothing was extracted. If you trust it, raise max_members."
            )
        if total > limit:
            raise DataError(
                f"{archive.name} ({archive.stat().st_size:,} bytes) expands to more than {int(limit):,} bytes. "
                f"Nothing was extracted. If you trust it, raise {'max_bytes' if limit == max_bytes else 'max_ratio'}."
            )
        problem = member.problem or _name_problem(member) or names.add(member)
        if problem:
            bad.append(f"{member.name[:80]!r} ({problem})")
        elif member.parts and not _JUNK.intersection(member.parts):
            kept.append(member)
    if bad:
        listed = ", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")
        raise DataError(
            f"{archive.name} has {len(bad)} member{'s' if len(bad) > 1 else ''} that must not be extracted: {listed}. "
            "Nothing was extracted. Fetch the archive from its publisher, and tell them if it is theirs."
        )
    if not kept:
        raise DataError(f"{archive.name} holds no files. Delete it and fetch it again.")
    return kept


def _name_problem(member: _Member) -> str | None:
    name = member.name.replace("\\", "/")  # Windows reads both as separators
    if name.startswith("/"):
        return "is absolute"
    if re.match(r"[A-Za-z]:", name):
        return "names a drive"
    if ".." in name.split("/"):
        return "leaves the folder"
    if name != member.name or "\0" in name:
        return "has a backslash or a null in its name"
    return None


class _Names:
    """Names seen so far, as a file system without upper and lower case would compare them."""

    def __init__(self) -> None:
        self.files: set[tuple[str, ...]] = set()
        self.folders: set[tuple[str, ...]] = set()

    def add(self, member: _Member) -> str | None:
        key = tuple(unicodedata.normalize("NFC", part).casefold() for part in member.parts)
        parents = {key[:depth] for depth in range(1, len(key))}
        taken = (
            key in self.files or (key in self.folders and not member.is_folder) or not self.files.isdisjoint(parents)
        )
        self.folders |= parents | ({key} if member.is_folder else set())
        if not member.is_folder:
            self.files.add(key)
        return "shares its name with another member" if taken else None


def _check_required(members: Sequence[_Member], archive: Path, required: Sequence[str]) -> None:
    held = {member.parts[:depth] for member in members for depth in range(1, len(member.parts) + 1)}
    lacking = [path for path in required if PurePosixPath(path).parts not in held]
    if lacking:
        raise DataError(
            f"{archive.name} does not hold {', '.join(lacking)}. "
            "Nothing was extracted. Check that it is the right archive."
        )
