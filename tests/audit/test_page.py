"""The page: whole in itself, names escaped, tables that a screen reader can follow; and the words it shares."""

import io
import re
from html.parser import HTMLParser

import pytest
from audited_data import table_of, write_images
from rich.console import Console

from fairpool.audit import audit_manifest, audit_records
from fairpool.audit.page import make_page
from fairpool.audit.terminal import show_audit
from fairpool.audit.wording import MOST_ROWS, tables_of

ODD = ("<script>alert(1)</script>", '$x_{$ & "q" --> ]]>')


class Page(HTMLParser):
    """Tags with their attributes, and text outside of style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def audit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret-folder")
    manifest = write_images(folder, sites=ODD, marker=255, shares=[(25, 10), (10, 25)])
    (folder / "mueller-0001.png").write_bytes(b"")
    return audit_manifest(manifest)


@pytest.fixture(scope="module")
def page(audit):
    return make_page(audit)


def test_names_are_text_wherever_they_stand(page):
    parsed = Page(page)
    assert parsed.all("script") == []
    for name in ODD:
        assert name in "".join(parsed.text)


def test_nothing_is_requested(page):
    parsed = Page(page)
    assert {tag for tag, _ in parsed.tags}.isdisjoint({"link", "iframe", "object", "embed", "video", "audio"})
    sources = [image["src"] for image in parsed.all("img")]
    assert len(sources) == 4
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "http" not in re.sub(r"data:[^\"]*", "", page).replace("http-equiv", "")
    assert "default-src 'none'" in page


def test_neither_file_nor_patient_is_on_the_page(page):
    import base64

    plots = [base64.b64decode(code).decode() for code in re.findall(r"base64,([A-Za-z0-9+/=]+)", page)]
    for text in (page, *plots):
        for secret in ("secret-folder", "mueller", "PATIENT"):
            assert secret not in text


def test_images_and_tables_can_be_read_aloud(page):
    parsed = Page(page)
    assert all(len(image["alt"]) > 20 for image in parsed.all("img"))
    assert len(parsed.all("caption")) == len(parsed.all("table"))
    assert all(cell["scope"] in ("row", "col") for cell in parsed.all("th"))
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == 1


def test_plots_are_xml_and_the_same_each_time(audit, page):
    import base64
    import xml.etree.ElementTree as ElementTree

    for code in re.findall(r"base64,([A-Za-z0-9+/=]+)", page):
        assert ElementTree.fromstring(base64.b64decode(code)).tag.endswith("svg")
    assert make_page(audit) == page


def test_the_page_says_what_the_terminal_says(audit, page):
    out = io.StringIO()
    show_audit(audit, Console(file=out, width=300))
    said, text = out.getvalue(), "".join(Page(page).text)
    assert said.splitlines()[-1] in text
    for table in tables_of(audit):
        for row in table.rows:
            assert row[0] in said
            assert row[0] in text
    for sentence in audit.advice:
        assert sentence.text in said
        assert sentence.text in text


def test_a_page_without_images_has_three_plots_and_many_sites_are_cut():
    records, table = table_of({f"s{n:02d}": (3, 12) for n in range(60)})
    found = audit_records(records, table)
    page = Page(make_page(found))
    assert len(page.all("img")) == 3
    assert len(tables_of(found)[0].rows) == MOST_ROWS
    assert "20 more rows are in the JSON file" in "".join(page.text)
    assert "the 50 largest of 60" in "".join(page.text)


def test_a_size_beside_the_limit_has_a_decimal_that_tells_on_which_side_it_is():
    found = audit_records(*table_of({"a": (21, 22), "b": (48, 49)}))
    shown = [row[2:5:2] for row in tables_of(found)[0].rows]
    assert shown == [("15.1 too few", "14.8 small"), ("10.1 small", "10.0")]


def test_a_page_of_nothing_measurable_is_written():
    assert "cannot support" in make_page(audit_records(*table_of({"a": (1, 1)})))
