"""``fairpool audit``: tables, JSON and page, whatever the verdict; wrong usage is one sentence."""

import json
from types import SimpleNamespace

import pytest
import typer
from audited_data import SITES, write_images, write_table
from canaries import canary, find_canaries, find_in_folder, write_canary
from dicom_files import draw_pixels
from typer.testing import CliRunner

from fairpool.commands.audit import audit
from fairpool.errors import DataError

app = typer.Typer()
app.command()(audit)


def act(*arguments):
    done = CliRunner().invoke(app, [str(part) for part in arguments])
    for secret in ("mueller", "PATIENT", "secret-folder"):
        assert secret not in done.output.replace("secret-folder/", "")
    return SimpleNamespace(status=done.exit_code, out=done.output, error=done.exception)


@pytest.fixture
def manifest(tmp_path):
    return write_images(tmp_path / "secret-folder", marker=255, shares=[(25, 10), (10, 25)])


def test_the_verdict_is_the_last_line_but_for_the_files(manifest, tmp_path):
    done = act(manifest, "--json", tmp_path / "audit.json", "--html", tmp_path / "audit.html")
    assert done.status == 0, done.out
    assert done.out.splitlines()[-3].startswith("Verdict: these data ")
    content = json.loads((tmp_path / "audit.json").read_text())
    assert content["verdict"] == "cannot support"  # 10 positives at one site
    assert content["sites"] == sorted(SITES)
    assert "<h1>Audit before training</h1>" in (tmp_path / "audit.html").read_text()


def test_without_images_none_need_be_there(tmp_path):
    manifest = write_table(tmp_path / "m.csv", [[f"{n}.png", n % 2, SITES[n // 60], n] for n in range(120)])
    done = act(manifest, "--no-images", "--constraint", "error_rate_parity")
    assert done.status == 0, done.out
    assert "no image read" in done.out
    assert done.out.splitlines()[-1] == "Verdict: these data support the constraint error_rate_parity."


def test_columns_labels_and_spellings_are_those_of_run(tmp_path):
    rows = [["ill" if n % 2 else "well", ("Bern", "bern ", "Genf")[n % 3], n, 40 + n % 9] for n in range(150)]
    manifest = write_table(tmp_path / "m.csv", rows, ("finding", "hospital", "person", "age"))
    options = ["--no-images", "--label-column", "finding", "--positive", "ill", "--site-column", "hospital"]
    options += ["--patient-column", "person", "--metadata-columns", "age"]
    done = act(manifest, *options, "--normalize-sites", "--json", tmp_path / "a.json")
    assert done.status == 0, done.out
    content = json.loads((tmp_path / "a.json").read_text())
    assert len(content["sites"]) == 2
    assert content["positive"] == "ill"
    assert content["notes"] == ['"bern" joins "Bern" (50), "bern " (50)']
    assert isinstance(act(manifest, *options).error, DataError)  # two spellings


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--constraint", "fairness"], 'there is no constraint "fairness"; choose one of equal_opportunity'),
        (["--html", "page.txt"], "--html must end in .html"),
        (["--json", "no/such/audit.json"], "does not exist"),
    ],
)
def test_wrong_usage_is_status_2_before_anything_is_read(tmp_path, arguments, message):
    done = act(tmp_path / "not-there.csv", *arguments)
    assert done.status == 2
    assert message in done.out


def test_a_table_without_images_names_the_option(tmp_path):
    manifest = write_table(tmp_path / "m.csv", [[0, "a"], [1, "b"]], ("label", "site"))
    done = act(manifest)
    assert isinstance(done.error, DataError)
    assert "--image-column" in str(done.error)


def test_a_wrong_folder_of_images_is_no_verdict(manifest, tmp_path):
    done = act(manifest, "--data", tmp_path)
    assert isinstance(done.error, DataError)
    assert str(done.error).startswith("none of 70 images can be read")
    assert "Verdict" not in done.out


def test_nothing_that_names_a_patient_leaves_dicom_headers(tmp_path):
    folder = tmp_path / "KANARI-Anna"
    folder.mkdir()
    rows = []
    for number in range(48):
        pixels = draw_pixels(11, size=(32, 32), seed=number)
        pixels[8:20, 8:20] += 1500 * (number % 2)
        name, vendor = f"KANARI-{number:03d}.dcm", ("GE", "Philips")[number // 24]
        write_canary(folder / name, number, pixels=pixels, bits=12, vendor=vendor)
        rows.append([name, number % 2, SITES[number // 24], canary("PatientID", number)])
    broken = folder / "KANARI-005.dcm"
    broken.write_bytes(broken.read_bytes()[:-900])
    manifest = write_table(folder / "m.csv", rows)
    output = tmp_path / "output"
    output.mkdir()
    done = CliRunner().invoke(app, [str(manifest), "--json", str(output / "a.json"), "--html", str(output / "a.html")])
    assert done.exit_code == 0, done.output
    content = json.loads((output / "a.json").read_text())
    assert content["num_unreadable"] == 1
    assert len({cell["scanner"] for cell in content["scanners"]}) > 1
    assert find_canaries(done.output) == set()
    assert find_in_folder(output) == {}
