"""Fetch a data set from its publisher: resumed, held to a digest, unpacked only when every member is harmless."""

import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import stat
import tarfile
import time
import unicodedata
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from fairpool.errors import DataError

__all__ = ["TUBERCULOSIS_ARCHIVES", "Archive", "Downloaded", "download", "download_tuberculosis", "extract"]

Progress = Callable[[int, int | None], None]

_CHUNK = 2**18
_ATTEMPTS = 5  # in a row without progress; a slow line that moves on is never given up
_PROGRESS = 2**20  # bytes beyond the furthest point so far that count as progress
_BACKOFF = 0.5  # seconds, doubled with each failure in a row
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may differ a moment later
_LONGEST_PADDING = 2**20  # bytes of zeros behind the last member of a tar
_JUNK = {"__MACOSX", ".DS_Store", "Thumbs.db"}


@dataclass(frozen=True)
class Downloaded:
    """A finished download: the file, its SHA-256, and whether that digest was known beforehand.

    `known=False` means nothing vouches for the file but itself: print the digest, so that others can compare it.
    """

    path: Path
    digest: str
    known: bool


@dataclass(frozen=True)
class Archive:
    """A publisher's archive: address, the folders it must hold, and its SHA-256 where one is known."""

    url: str
    folders: tuple[str, ...]
    sha256: str | None = None

    @property
    def name(self) -> str:
        """File name of the archive, the last part of its address."""
        return _file_name(self.url)


# The National Library of Medicine publishes no digests.
TUBERCULOSIS_ARCHIVES: Mapping[str, Archive] = MappingProxyType(
    {
        "montgomery": Archive(
            url="https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",
            folders=("MontgomerySet/CXR_png", "MontgomerySet/ClinicalReadings", "MontgomerySet/ManualMask"),
            # Held at every download by github.com/constantinpape/torch-em at 30a7b56c,
            # torch_em/data/datasets/medical/montgomery.py; not the publisher's own word.
            sha256="54601e952315d8f67383e9202a6e145997ade429f54f7e0af44b4e158714f424",
        ),
        "shenzhen": Archive(
            url="https://openi.nlm.nih.gov/imgs/collections/ChinaSet_AllFiles.zip",
            folders=("ChinaSet_AllFiles/CXR_png", "ChinaSet_AllFiles/ClinicalReadings"),
        ),
    }
)


def download(
    url: str,
    destination: str | Path,
    *,
    sha256: str | None = None,
    ledger: Path | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
) -> Downloaded:
    """File at an address, fetched once, resumed where it broke off, and held to its SHA-256.

    The bytes go to `<destination>.part`, which gets its final name only after length and digest fit. A file already at
    `destination` that fits the digest is kept without asking the server; where no digest is known it is taken as it is.

    Args:
        url: http or https address of an archive; a proxy is taken from the environment.
        destination: the finished file.
        sha256: expected digest, 64 hexadecimal digits. Without it, the one `ledger` recorded for this address counts.
        ledger: JSON file that records the digest of each address, so that later downloads are held to it.
        progress: called with the bytes that have arrived and the total, None where the server does not state it.
        timeout: seconds without any byte after which the connection counts as broken.
    Returns:
        the file, its digest, and whether the digest was known before.
    Raises:
        ValueError: the address is not http or https, or `sha256` is not a SHA-256.
        DataError: wrong digest, no connection after several attempts, an error or a web page as answer, a full disk.

    >>> download("ftp://example.org/images.zip", "images.zip")
    Traceback (most recent call last):
        ...
    ValueError: Address scheme "ftp" is not supported. Give an http or https address.
    """
    destination = Path(destination)
    _check_url(url)
    recorded = _read_ledger(ledger).get(url) if ledger else None
    expected = _checked_digest(sha256) if sha256 is not None else recorded
    source = f" by {ledger.name}" if ledger and sha256 is None else ""
    if destination.exists():
        digest = _file_digest(destination)
        if expected not in (None, digest):
            raise DataError(
                f"{destination.name} is on disk with SHA-256 {digest}, but {expected} was expected{source}. "
                "Move or delete the file and run the same command again."
            )
    else:
        unfinished = _Unfinished(destination)
        destination.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, unfinished, progress, timeout)
        digest = _file_digest(unfinished.path)
        if expected not in (None, digest):
            unfinished.discard()
            raise DataError(
                f"{destination.name} from {_host(url)} has SHA-256 {digest}, but {expected} was expected{source}. "
                "The download was deleted unopened. Run the same command again; if the digest stays the same, the file "
                "has changed: compare it with a source you trust and pass it as sha256."
            )
        unfinished.finish()
    if ledger and recorded != digest:
        _record(ledger, url, digest)
    return Downloaded(destination, digest, known=expected is not None)


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
        _check_space(root, sum(member.size for member in members), archive.name)
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


def download_tuberculosis(
    root_dir: str | Path,
    *,
    sha256: Mapping[str, str] | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
) -> list[Downloaded]:
    """Chest X-rays of Montgomery County and Shenzhen (some 4.4 GB), laid out as their publisher ships them.

    A site whose folders are there is left alone; what was interrupted continues. The archives stay in `.downloads` and
    may be deleted, `downloads.json` keeps their digests.

    Args:
        root_dir: data folder, gets `MontgomerySet` and `ChinaSet_AllFiles`.
        sha256: expected digests by site ("montgomery", "shenzhen"), in place of the known ones.
        base_url: address of a mirror that holds both archives under their publisher's file names.
        progress: called with the bytes that have arrived and the total, for each archive in turn.
    Returns:
        one entry for each archive unpacked in this call; empty when both sites were there.
    Raises:
        ValueError: `sha256` names another site or is not a SHA-256.
        DataError: see `download` and `extract`; or a site's folder is incomplete, or its archive had another digest.
    Source: Jaeger et al. 2014, "Two public chest X-ray datasets for computer-aided screening of pulmonary diseases".

    >>> download_tuberculosis("data", sha256={"geneva": "00"})
    Traceback (most recent call last):
        ...
    ValueError: No archive is named "geneva". The known ones are montgomery, shenzhen.
    """
    root = Path(root_dir)
    unknown = sorted(set(sha256 or {}) - set(TUBERCULOSIS_ARCHIVES))
    if unknown:
        names = ", ".join(f'"{name}"' for name in unknown)
        raise ValueError(f"No archive is named {names}. The known ones are {', '.join(TUBERCULOSIS_ARCHIVES)}.")
    given = {site: _checked_digest(digest) for site, digest in (sha256 or {}).items()}
    ledger = root / "downloads.json"
    finished = []
    for site, archive in TUBERCULOSIS_ARCHIVES.items():
        url = archive.url if base_url is None else f"{base_url.rstrip('/')}/{archive.name}"
        if os.path.lexists(root / archive.folders[0].split("/")[0]):
            _check_extracted(root, archive, given.get(site), _read_ledger(ledger).get(url))
            continue
        item = download(
            url,
            root / ".downloads" / archive.name,
            sha256=given.get(site, archive.sha256),
            ledger=ledger,
            progress=progress,
        )
        extract(item.path, root, required=archive.folders)
        finished.append(item)
    return finished


def _check_extracted(root: Path, archive: Archive, expected: str | None, recorded: str | None) -> None:
    top = archive.folders[0].split("/")[0]
    lacking = [folder for folder in archive.folders if not (root / folder).is_dir()]
    if lacking:
        raise DataError(
            f"{top} is in the data folder but lacks {', '.join(lacking)}. "
            f"Move or delete {top} and run the same command again."
        )
    if expected not in (None, recorded):
        raise DataError(
            f"{top} is in the data folder, but {expected} was expected for its archive and downloads.json records "
            f"{recorded or 'none'}. Move or delete {top} to fetch it anew, or leave sha256 out to use it as it is."
        )


# --- the ledger and the digests -------------------------------------------------------------------------------------


def _checked_digest(digest: str) -> str:
    if not re.fullmatch(r"[0-9a-fA-F]{64}", digest):
        raise ValueError(f'"{digest}" is not a SHA-256. Give its 64 hexadecimal digits.')
    return digest.lower()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_ledger(ledger: Path) -> dict[str, str]:
    if not ledger.exists():
        return {}
    try:
        return {url: _checked_digest(entry["sha256"]) for url, entry in json.loads(ledger.read_bytes()).items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            f"{ledger.name} is not a record of downloads. Restore it, or delete it if you no longer trust its digests."
        ) from error


def _record(ledger: Path, url: str, digest: str) -> None:
    digests = {**_read_ledger(ledger), url: digest}
    _write_json(ledger, {key: {"sha256": value} for key, value in sorted(digests.items())})


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


# --- one file over HTTP ---------------------------------------------------------------------------------------------


class _ConnectionLostError(Exception):
    """The transfer broke off, for a reason that may have passed at the next attempt."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https, and never from https back to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in {"https", req.type}:
            raise DataError(
                f"{_host(req.full_url)} redirects to an address without encryption. Ask its operator, or give the new "
                "address if you trust it."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Unfinished:
    """The unfinished file, with a note beside it of which version of which address it is a part of."""

    def __init__(self, destination: Path) -> None:
        self.destination = destination
        self.path = destination.with_name(destination.name + ".part")
        self.note_path = destination.with_name(destination.name + ".part.json")

    @property
    def length(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def note(self, url: str) -> dict[str, Any] | None:
        """Version that can be continued: same address, a validator to recognise it by, not longer than the whole."""
        try:
            note = json.loads(self.note_path.read_bytes())
            usable = note["url"] == url and (note["etag"] or note["last_modified"])
            usable = usable and 0 < self.length <= (note["size"] or self.length)
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return note if usable else None

    def begin(self, url: str, headers: Message) -> None:
        self.path.write_bytes(b"")  # first, so that old bytes never stand beside a new note
        note = {"url": url, "etag": headers["ETag"], "last_modified": headers["Last-Modified"], "size": _size(headers)}
        _write_json(self.note_path, note)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.note_path.unlink(missing_ok=True)

    def finish(self) -> None:
        self.path.replace(self.destination)
        self.note_path.unlink(missing_ok=True)


def _fetch(url: str, unfinished: _Unfinished, progress: Progress | None, timeout: float) -> None:
    failures, furthest = 0, unfinished.length
    while True:
        try:
            return _fetch_once(url, unfinished, progress, timeout)
        except _ConnectionLostError as error:
            failures = 0 if unfinished.length >= furthest + _PROGRESS else failures + 1
            furthest = max(furthest, unfinished.length)
            if failures == _ATTEMPTS:
                total = (unfinished.note(url) or {}).get("size")
                arrived = f"{unfinished.length:,} of {total:,} bytes" if total else f"{unfinished.length:,} bytes"
                raise DataError(
                    f"{_file_name(url)} could not be fetched from {_host(url)} ({error}); {arrived} arrived. "
                    "Check the connection; the same command continues."
                ) from error
        time.sleep(_BACKOFF * 2**failures)


def _fetch_once(url: str, unfinished: _Unfinished, progress: Progress | None, timeout: float) -> None:
    note = unfinished.note(url)
    have = unfinished.length if note else 0
    if note and have == note["size"]:
        return
    with _answer(url, note, have, timeout) as response:
        _refuse_web_page(url, response.headers)
        if response.status == 200:
            have, size = 0, _size(response.headers)
            unfinished.begin(url, response.headers)
        elif note and response.status == 206 and _continues(response.headers, note, have):
            size = note["size"] or _range(response.headers)[1]
        else:
            unfinished.discard()
            raise _ConnectionLostError("the file on the server is not the one begun, started anew")
        if size is not None:
            _check_space(unfinished.path.parent, size - have, _file_name(url))
        with unfinished.path.open("ab") as file:
            while size is None or have < size:
                try:
                    chunk = response.read1(_CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _ConnectionLostError(_reason(error)) from error
                if not chunk:
                    break
                file.write(chunk)
                have += len(chunk)
                if progress:
                    progress(have, size)
    if size is not None and have < size:
        raise _ConnectionLostError("the server closed the connection early")


def _answer(url: str, note: Mapping[str, Any] | None, have: int, timeout: float) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "fairpool"})
    if note:
        request.add_header("Range", f"bytes={have}-")
        strong = note["etag"] if note["etag"] and not note["etag"].startswith("W/") else None
        if strong or not note["etag"]:
            request.add_header("If-Range", strong or note["last_modified"])
    try:
        response: http.client.HTTPResponse = urllib.request.build_opener(_Redirects).open(request, timeout=timeout)
        return response
    except urllib.error.HTTPError as error:
        error.close()
        if note and error.code == 416:  # shorter than what we have: not the same file any more
            return _answer(url, None, 0, timeout)
        if error.code in _PASSING:
            raise _ConnectionLostError(f"it answered {error.code} {error.reason}") from error
        raise DataError(
            f"{_host(url)} answered {error.code} {error.reason} for {_file_name(url)}. "
            "Check the address, or whether the publisher asks for a registration."
        ) from error
    except (OSError, http.client.HTTPException) as error:
        if isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            raise DataError(
                f"The certificate of {_host(url)} cannot be verified. Ask your network's administrator for the "
                "certificate of its proxy and name it in SSL_CERT_FILE."
            ) from error
        raise _ConnectionLostError(_reason(error)) from error


def _continues(headers: Message, note: Mapping[str, Any], have: int) -> bool:
    validator = ("ETag", "etag") if note["etag"] else ("Last-Modified", "last_modified")
    start, total = _range(headers)
    return start == have and headers[validator[0]] == note[validator[1]] and note["size"] in (None, total)


def _range(headers: Message) -> tuple[int | None, int | None]:
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers["Content-Range"] or "")
    if not match:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _size(headers: Message) -> int | None:
    length = headers["Content-Length"] or ""
    return int(length) if length.isdecimal() else None


def _refuse_web_page(url: str, headers: Message) -> None:
    if headers.get_content_type() in {"text/html", "application/xhtml+xml"}:
        raise DataError(
            f"{_host(url)} answered with a web page, not an archive, for {_file_name(url)}. Open the address in a "
            "browser: it may have moved, or the network may ask for a login first."
        )


def _check_space(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DataError(f"{name} needs {needed:,} bytes more and the disk has {free:,}. Free some space and try again.")


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError(f'Address scheme "{parts.scheme}" is not supported. Give an http or https address.')
    if not parts.hostname or parts.username is not None or re.search(r"[\s\x00-\x1f]", url):
        raise ValueError(
            "The address has no host, holds a password, or holds a blank. Give a plain http or https address."
        )


def _host(url: str) -> str:
    return urllib.parse.urlsplit(url).hostname or "the server"


def _file_name(url: str) -> str:
    return PurePosixPath(urllib.parse.unquote(urllib.parse.urlsplit(url).path)).name or "the file"


def _reason(error: BaseException) -> str:
    reason = getattr(error, "reason", error)
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


# --- one archive ----------------------------------------------------------------------------------------------------


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


def _opened(archive: Path) -> zipfile.ZipFile | tarfile.TarFile:
    if zipfile.is_zipfile(archive):
        return zipfile.ZipFile(archive)
    if tarfile.is_tarfile(archive):
        return tarfile.open(archive)
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
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk's own trouble; gzip and bz2 report damage as an OSError without a number
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
