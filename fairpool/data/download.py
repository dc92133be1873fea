"""Fetch a data set from its publisher: resumed where it broke off, and held to a digest before it is opened."""

import hashlib
import http.client
import json
import os
import re
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from fairpool.data.archive import check_space, extract
from fairpool.errors import DataError
from fairpool.whole_file import write_json

__all__ = ["TUBERCULOSIS_ARCHIVES", "Archive", "Downloaded", "download", "download_tuberculosis"]

Progress = Callable[[int, int | None], None]

_CHUNK = 2**18
_ATTEMPTS = 5  # in a row without progress; a slow line that moves on is never given up
_PROGRESS = 2**20  # bytes beyond the furthest point so far that count as progress
_BACKOFF = 0.5  # seconds, doubled with each failure in a row
_PASSING = {408, 425, 429, 500, 502, 503, 504}  # answers that may differ a moment later


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
    ledger.parent.mkdir(parents=True, exist_ok=True)
    write_json(ledger, {key: {"sha256": value} for key, value in sorted(digests.items())})


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
        write_json(self.note_path, note)

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
            check_space(unfinished.path.parent, size - have, _file_name(url))
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
