import hashlib
import importlib
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from zip_files import names, write_zip

from fairpool.data.download import TUBERCULOSIS_ARCHIVES, download, download_tuberculosis
from fairpool.errors import DataError

module = importlib.import_module("fairpool.data.download")  # the package may export the function of that name

BODY = bytes(range(256)) * 800  # 204,800 bytes
DIGEST = hashlib.sha256(BODY).hexdigest()
OTHER = hashlib.sha256(b"other").hexdigest()


@dataclass
class Site:
    """What the loopback server does; each test sets the trouble it is about."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    etag: str | None = '"one"'
    last_modified: str | None = None
    content_type: str = "application/zip"
    states_length: bool = True
    honours_if_range: bool = True
    cuts: list[int] = field(default_factory=list)  # bytes of the body that each answer in turn sends before it breaks
    statuses: list[int] = field(default_factory=list)  # error statuses that come before any answer
    redirect: str | None = None
    shift: int = 0  # how far behind the wanted byte a partial answer begins
    after_cut: Callable[[], None] = lambda: None
    requests: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def asked(self) -> list[str | None]:
        return [range_ for _, range_ in self.requests]


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            asked = self.headers["Range"]
            site.requests.append((self.path, asked))
            if site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.end_headers()
                return
            status = site.statuses.pop(0) if site.statuses else None
            body = site.files.get(self.path)
            if status or body is None:
                self.send_error(status or 404)
                return
            wanted = self.headers["If-Range"]
            current = not site.honours_if_range or wanted in (None, site.etag, site.last_modified)
            start = int(asked[6:-1]) if asked and site.ranges and current else 0
            start += site.shift if start else 0
            if start >= len(body):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            if site.etag:
                self.send_header("ETag", site.etag)
            if site.last_modified:
                self.send_header("Last-Modified", site.last_modified)
            self.send_header("Content-Type", site.content_type)
            if site.states_length:
                self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            cut = site.cuts.pop(0) if site.cuts else None
            self.wfile.write(body[start:] if cut is None else body[start : start + cut])
            if cut is not None:
                self.wfile.flush()
                site.after_cut()

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(module, "_BACKOFF", 0.001)
    site = Site(files={"/site.zip": BODY})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


# --- download


def test_download_arrives_whole_and_leaves_only_the_file(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    result = download(
        f"{site.address}/site.zip",
        tmp_path / "new" / "site.zip",
        sha256=DIGEST.upper(),
        progress=lambda arrived, total: seen.append((arrived, total)),
    )
    assert (result.digest, result.known) == (DIGEST, True)
    assert result.path.read_bytes() == BODY
    assert names(tmp_path / "new") == ["site.zip"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert seen == sorted(seen)


def test_body_of_unstated_length_is_accepted(site: Site, tmp_path: Path) -> None:
    site.states_length = False
    assert download(f"{site.address}/site.zip", tmp_path / "site.zip").path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("etag", "last_modified"), [('"one"', None), (None, "Mon, 06 Jan 2014 10:00:00 GMT"), ('W/"one"', None)]
)
def test_cut_connection_is_resumed_from_the_first_missing_byte(
    site: Site, tmp_path: Path, etag: str | None, last_modified: str | None
) -> None:
    site.etag, site.last_modified, site.cuts = etag, last_modified, [100_000, 50_000]
    result = download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert site.asked == [None, "bytes=100000-", "bytes=150000-"]
    assert result.path.read_bytes() == BODY


def test_second_command_continues_what_the_first_left(site: Site, tmp_path: Path) -> None:
    site.cuts = [1000] * 5
    with pytest.raises(DataError, match=r"127\.0\.0\.1 .*5,000 of 204,800 bytes arrived.*same command continues"):
        download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert not (tmp_path / "site.zip").exists()
    assert (tmp_path / "site.zip.part").read_bytes() == BODY[:5000]
    site.requests.clear()
    download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert site.asked == ["bytes=5000-"]
    assert names(tmp_path) == ["site.zip"]


def test_complete_part_is_checked_and_renamed_without_asking_the_server(site: Site, tmp_path: Path) -> None:
    site.cuts = [100_000, 1, 1, 1, 1]
    with pytest.raises(DataError):
        download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    (tmp_path / "site.zip.part").write_bytes(BODY)  # as if killed between the last byte and the renaming
    site.requests.clear()
    assert download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST).path.read_bytes() == BODY
    assert site.requests == []


def test_progress_larger_than_a_mebibyte_forgives_earlier_failures(site: Site, tmp_path: Path) -> None:
    body = BODY * 60
    site.files["/site.zip"], site.cuts = body, [2**20] * 10
    assert download(f"{site.address}/site.zip", tmp_path / "site.zip").path.read_bytes() == body


def test_server_without_range_is_asked_for_the_whole_file_again(site: Site, tmp_path: Path) -> None:
    site.ranges, site.cuts = False, [100_000]
    result = download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert site.asked == [None, "bytes=100000-"]
    assert result.path.read_bytes() == BODY


def test_file_without_validator_is_never_pieced_together(site: Site, tmp_path: Path) -> None:
    site.etag, site.cuts = None, [100_000]
    result = download(f"{site.address}/site.zip", tmp_path / "site.zip")
    assert site.asked == [None, None]
    assert result.path.read_bytes() == BODY


@pytest.mark.parametrize("honours_if_range", [True, False])
def test_file_changed_between_attempts_is_started_anew(site: Site, tmp_path: Path, honours_if_range: bool) -> None:
    changed = BODY[::-1]

    def change() -> None:
        site.etag, site.files["/site.zip"] = '"two"', changed

    site.cuts, site.after_cut, site.honours_if_range = [100_000], change, honours_if_range
    result = download(f"{site.address}/site.zip", tmp_path / "site.zip")
    assert result.path.read_bytes() == changed
    assert site.asked == ([None, "bytes=100000-"] if honours_if_range else [None, "bytes=100000-", None])


def test_file_that_shrank_between_attempts_is_started_anew(site: Site, tmp_path: Path) -> None:
    def shrink() -> None:
        site.files["/site.zip"] = BODY[:500]

    site.cuts, site.after_cut = [100_000], shrink
    assert download(f"{site.address}/site.zip", tmp_path / "site.zip").path.read_bytes() == BODY[:500]


def test_answer_that_skips_bytes_is_not_appended(site: Site, tmp_path: Path) -> None:
    site.cuts, site.shift = [100_000], 7
    assert download(f"{site.address}/site.zip", tmp_path / "site.zip").path.read_bytes() == BODY
    assert site.asked == [None, "bytes=100000-", None]


def test_part_of_another_address_is_not_continued(site: Site, tmp_path: Path) -> None:
    site.files["/other.zip"] = BODY[::-1]
    site.cuts = [1000] * 5
    with pytest.raises(DataError):
        download(f"{site.address}/other.zip", tmp_path / "site.zip")
    site.requests.clear()
    download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert site.asked == [None]


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"url": 1}'])
def test_damaged_note_beside_the_part_starts_anew(site: Site, tmp_path: Path, note: bytes) -> None:
    (tmp_path / "site.zip.part").write_bytes(b"garbage")
    (tmp_path / "site.zip.part.json").write_bytes(note)
    download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert names(tmp_path) == ["site.zip"]


def test_wrong_digest_names_both_and_leaves_no_file(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was deleted unopened") as caught:
        download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=OTHER)
    assert DIGEST in str(caught.value)
    assert OTHER in str(caught.value)
    assert str(tmp_path) not in str(caught.value)
    assert names(tmp_path) == []


def test_first_download_records_its_digest_and_later_ones_are_held_to_it(site: Site, tmp_path: Path) -> None:
    url, ledger = f"{site.address}/site.zip", tmp_path / "downloads.json"
    first = download(url, tmp_path / "a.zip", ledger=ledger)
    assert (first.digest, first.known) == (DIGEST, False)
    assert json.loads(ledger.read_text()) == {url: {"sha256": DIGEST}}
    assert download(url, tmp_path / "b.zip", ledger=ledger).known
    site.files["/site.zip"] = BODY[::-1]
    with pytest.raises(DataError, match=f"{DIGEST} was expected by downloads.json"):
        download(url, tmp_path / "c.zip", ledger=ledger)
    assert names(tmp_path) == ["a.zip", "b.zip", "downloads.json"]


def test_given_digest_overrules_the_ledger_and_is_recorded(site: Site, tmp_path: Path) -> None:
    url, ledger = f"{site.address}/site.zip", tmp_path / "downloads.json"
    ledger.write_text(json.dumps({url: {"sha256": OTHER}, "https://elsewhere/x.zip": {"sha256": OTHER}}))
    download(url, tmp_path / "site.zip", sha256=DIGEST, ledger=ledger)
    assert json.loads(ledger.read_text()) == {url: {"sha256": DIGEST}, "https://elsewhere/x.zip": {"sha256": OTHER}}


@pytest.mark.parametrize("content", ["", "[]", '{"a": 1}', '{"a": {"sha256": "00"}}', '{"a": {}}'])
def test_damaged_ledger_is_refused_before_the_server_is_asked(site: Site, tmp_path: Path, content: str) -> None:
    (tmp_path / "downloads.json").write_text(content)
    with pytest.raises(DataError, match=r"downloads\.json is not a record of downloads"):
        download(f"{site.address}/site.zip", tmp_path / "site.zip", ledger=tmp_path / "downloads.json")
    assert site.requests == []


def test_second_call_downloads_nothing(site: Site, tmp_path: Path) -> None:
    url = f"{site.address}/site.zip"
    download(url, tmp_path / "site.zip", sha256=DIGEST)
    site.requests.clear()
    assert download(url, tmp_path / "site.zip", sha256=DIGEST).known
    assert site.requests == []


def test_file_on_disk_with_another_digest_is_refused_and_kept(site: Site, tmp_path: Path) -> None:
    (tmp_path / "site.zip").write_bytes(b"other")
    with pytest.raises(DataError, match=f"{OTHER}, but {DIGEST} was expected.*Move or delete"):
        download(f"{site.address}/site.zip", tmp_path / "site.zip", sha256=DIGEST)
    assert (tmp_path / "site.zip").read_bytes() == b"other"
    assert site.requests == []


@pytest.mark.parametrize("content_type", ["text/html; charset=utf-8", "application/xhtml+xml"])
def test_web_page_for_an_answer_is_refused(site: Site, tmp_path: Path, content_type: str) -> None:
    site.content_type = content_type
    with pytest.raises(DataError, match="answered with a web page, not an archive"):
        download(f"{site.address}/site.zip", tmp_path / "site.zip")
    assert names(tmp_path) == []


def test_missing_file_is_one_sentence_after_one_request(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^127\.0\.0\.1 answered 404 Not Found for gone\.zip\. Check the address"):
        download(f"{site.address}/gone.zip", tmp_path / "gone.zip")
    assert len(site.requests) == 1


def test_busy_server_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 500, 429]
    assert download(f"{site.address}/site.zip", tmp_path / "site.zip").digest == DIGEST
    assert len(site.requests) == 4


def test_refused_connection_is_one_sentence(site: Site, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(DataError, match=r"from 127\.0\.0\.1 \(Connection refused\); 0 bytes arrived\. Check") as caught:
        download(f"http://127.0.0.1:{port}/site.zip", tmp_path / "site.zip")
    assert "\n" not in str(caught.value)


def test_silent_server_is_given_up_after_the_timeout(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ATTEMPTS", 2)
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        with pytest.raises(DataError, match="timed out"):
            download(f"http://127.0.0.1:{mute.getsockname()[1]}/a.zip", tmp_path / "a.zip", timeout=0.05)


def test_redirect_to_a_file_on_this_machine_is_refused(site: Site, tmp_path: Path) -> None:
    site.redirect = (tmp_path / "secret").as_uri()
    with pytest.raises(DataError):
        download(f"{site.address}/site.zip", tmp_path / "site.zip")


def test_redirect_away_from_https_is_refused() -> None:
    request = module.urllib.request.Request("https://example.org/a.zip")
    with pytest.raises(DataError, match="without encryption"):
        module._Redirects().redirect_request(request, None, 302, "", {}, "http://example.org/a.zip")
    assert module._Redirects().redirect_request(request, None, 302, "", {}, "https://example.com/a.zip")


def test_full_disk_is_named_before_the_body_is_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(DataError, match=r"site\.zip needs 204,800 bytes more and the disk has 1,000"):
        download(f"{site.address}/site.zip", tmp_path / "site.zip")


@pytest.mark.parametrize(
    "url", ["ftp://example.org/a.zip", "file:///etc/passwd", "a.zip", "http:///a.zip", "http://me:secret@host/a.zip"]
)
def test_address_that_is_not_plain_http_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValueError, match=r"Give an? (plain )?http or https address") as caught:
        download(url, tmp_path / "a.zip")
    assert "secret" not in str(caught.value)


def test_digest_that_is_not_a_sha256_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"d41d8cd9" is not a SHA-256'):
        download("https://example.org/a.zip", tmp_path / "a.zip", sha256="d41d8cd9")


# --- the tuberculosis archives


@pytest.fixture
def mirror(site: Site, tmp_path: Path) -> dict[str, str]:
    """Both archives in small on the loopback server; returns their digests."""
    digests = {}
    for name, archive in TUBERCULOSIS_ARCHIVES.items():
        content = {f"{folder}/a.png": folder.encode() for folder in archive.folders}
        content[f"__MACOSX/{archive.folders[0]}/._a.png"] = b""
        data = write_zip(tmp_path / "made.zip", content).read_bytes()
        (tmp_path / "made.zip").unlink()
        site.files[f"/{archive.name}"] = data
        digests[name] = hashlib.sha256(data).hexdigest()
    return digests


def test_both_sites_arrive_in_their_publishers_layout(site: Site, mirror: dict[str, str], tmp_path: Path) -> None:
    finished = download_tuberculosis(tmp_path, sha256=mirror, base_url=site.address + "/")
    assert [(item.digest, item.known) for item in finished] == [(digest, True) for digest in mirror.values()]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".downloads",
        "ChinaSet_AllFiles",
        "MontgomerySet",
        "downloads.json",
    ]
    for archive in TUBERCULOSIS_ARCHIVES.values():
        for folder in archive.folders:
            assert (tmp_path / folder / "a.png").read_text() == folder
    assert set(json.loads((tmp_path / "downloads.json").read_text())) == {
        f"{site.address}/{archive.name}" for archive in TUBERCULOSIS_ARCHIVES.values()
    }


def test_extracted_sites_are_not_fetched_again_even_without_their_archives(
    site: Site, mirror: dict[str, str], tmp_path: Path
) -> None:
    download_tuberculosis(tmp_path, sha256=mirror, base_url=site.address)
    for archive in TUBERCULOSIS_ARCHIVES.values():
        (tmp_path / ".downloads" / archive.name).unlink()
    site.requests.clear()
    assert download_tuberculosis(tmp_path, sha256=mirror, base_url=site.address) == []
    assert download_tuberculosis(tmp_path, base_url=site.address) == []
    assert site.requests == []


def test_one_missing_site_is_fetched_alone(site: Site, mirror: dict[str, str], tmp_path: Path) -> None:
    for folder in TUBERCULOSIS_ARCHIVES["montgomery"].folders:
        (tmp_path / folder).mkdir(parents=True)
    finished = download_tuberculosis(tmp_path, base_url=site.address)
    assert [(item.path.name, item.known) for item in finished] == [("ChinaSet_AllFiles.zip", False)]
    assert [path for path, _ in site.requests] == ["/ChinaSet_AllFiles.zip"]


def test_known_digest_of_montgomery_holds_a_mirror_too(site: Site, mirror: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{TUBERCULOSIS_ARCHIVES['montgomery'].sha256} was expected"):
        download_tuberculosis(tmp_path, base_url=site.address)
    assert not (tmp_path / "MontgomerySet").exists()
    assert names(tmp_path / ".downloads") == []


def test_wrong_digest_of_one_site_extracts_nothing_of_it(site: Site, mirror: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=mirror["shenzhen"]):
        download_tuberculosis(tmp_path, sha256={**mirror, "shenzhen": OTHER}, base_url=site.address)
    assert (tmp_path / "MontgomerySet").exists()
    assert not (tmp_path / "ChinaSet_AllFiles").exists()


def test_archive_of_other_content_is_refused(site: Site, mirror: dict[str, str], tmp_path: Path) -> None:
    site.files["/ChinaSet_AllFiles.zip"] = write_zip(tmp_path / "x.zip", {"Other/a.png": b""}).read_bytes()
    with pytest.raises(DataError, match=r"does not hold ChinaSet_AllFiles/CXR_png, ChinaSet_AllFiles/ClinicalReadings"):
        download_tuberculosis(tmp_path / "data", sha256={"montgomery": mirror["montgomery"]}, base_url=site.address)
    assert not (tmp_path / "data" / "Other").exists()


def test_incomplete_site_folder_is_named(site: Site, tmp_path: Path) -> None:
    (tmp_path / "MontgomerySet" / "CXR_png").mkdir(parents=True)
    with pytest.raises(
        DataError, match="MontgomerySet is in the data folder but lacks MontgomerySet/ClinicalReadings, "
    ):
        download_tuberculosis(tmp_path, base_url=site.address)
    assert site.requests == []


def test_extracted_site_is_held_to_a_digest_given_later(site: Site, mirror: dict[str, str], tmp_path: Path) -> None:
    download_tuberculosis(tmp_path, sha256=mirror, base_url=site.address)
    with pytest.raises(DataError, match=f"{OTHER} was expected .* records {mirror['montgomery']}"):
        download_tuberculosis(tmp_path, sha256={"montgomery": OTHER}, base_url=site.address)


def test_unknown_archive_or_malformed_digest_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r'No archive is named "geneva"\. The known ones are montgomery, shenzhen\.'):
        download_tuberculosis(tmp_path, sha256={"geneva": DIGEST})
    with pytest.raises(ValueError, match="is not a SHA-256"):
        download_tuberculosis(tmp_path, sha256={"shenzhen": "00"})
    assert names(tmp_path) == []


def test_publishers_addresses_are_encrypted() -> None:
    assert [archive.url for archive in TUBERCULOSIS_ARCHIVES.values()] == [
        "https://openi.nlm.nih.gov/imgs/collections/NLM-MontgomeryCXRSet.zip",
        "https://openi.nlm.nih.gov/imgs/collections/ChinaSet_AllFiles.zip",
    ]
