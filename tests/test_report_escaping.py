"""Names that are scripts stay names: the audit's page in a real browser, with its policy and without."""

import csv
import re
import shutil
import subprocess

import pytest
from audited_data import write_images
from small_study import run_cli

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DONE = "document.body.dataset.ran='yes'"  # what each script would leave in the page
SITES = (f"<script>{DONE}</script>", f'"><img src=x onerror="{DONE}">')
COLUMN = f"</title></style></table><svg onload={DONE}>"
LABEL = f"</caption><script>{DONE}</script>"
SCANNER = f"javascript:{DONE}//'\"`{{{{7*7}}}}<b>"
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of a table in which every name is a script: sites, labels, scanners, a column's name and its values."""
    folder = tmp_path_factory.mktemp("audit")
    manifest = write_images(folder / "images", sites=SITES, marker=255, shares=[(25, 10), (10, 25)])
    with manifest.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with manifest.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*header, "scanner", COLUMN])
        for number, (image, label, site, patient) in enumerate(rows):
            name = LABEL if label == "1" else "well"
            writer.writerow(
                [image, name, site, patient, f"{SCANNER}{number % 2}", f"<script>{DONE}</script>{number % 3}"]
            )
    options = ["--positive", LABEL, "--metadata-columns", COLUMN, "--html", folder / "audit.html"]
    done = run_cli("audit", manifest, *options)
    assert done.status == 0, done.err
    return (folder / "audit.html").read_text(encoding="utf-8")


def opened(page, folder):
    """The page's document after its scripts, as a browser has it."""
    (folder / "page.html").write_text(page, encoding="utf-8")
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", "--dump-dom"]
    command = [CHROMIUM, *options, "--virtual-time-budget=2000", (folder / "page.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, encoding="utf-8")
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def has_run(document):
    return 'data-ran="yes"' in document


def test_every_name_is_on_the_page_and_none_as_markup(page):
    for name in (*SITES, COLUMN, SCANNER):
        assert name not in page
    assert page.count("&lt;script&gt;") > 3
    assert "onload=" in page  # as text
    assert not re.search(r"<(script|svg|img src=x|b)\b", page)
    assert "49" not in re.findall(r"javascript:[^<]{0,80}", page)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("policy", ["with its policy", "without"])
def test_no_script_of_a_name_runs_in_a_browser(page, tmp_path, policy):
    assert POLICY.search(page)
    document = opened(page if policy == "with its policy" else POLICY.sub("", page), tmp_path)
    assert not has_run(document)
    assert "<h1>Audit before training</h1>" in document
    for name in SITES:  # they are there to be read
        assert name.replace("<", "&lt;").replace(">", "&gt;") in document
    assert document.count("<img ") == page.count("<img ")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("name", [*SITES, COLUMN, LABEL])
def test_unescaped_each_would_run_without_the_policy_and_not_with_it(page, tmp_path, name):
    spoilt = page.replace("<h1>", f"<h1>{name}", 1)
    (tmp_path / "a").mkdir()
    assert has_run(opened(POLICY.sub("", spoilt), tmp_path / "a"))
    assert not has_run(opened(spoilt, tmp_path))
