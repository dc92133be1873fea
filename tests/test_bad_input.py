"""The list of bad input, row by row: each entry does the real thing, and looks at what is said and at what is not.

`refused_cli` runs a command: one line on stderr and the status. `refused` calls a loss, metric, transform or reader: an
error of that kind. `handled` is input that is accepted: what is said of it. Every sentence is one line and holds no
path, file name or patient. More variants of each row are in the tests that `test_bad_input_map` names.
"""

import io
import json
import pickle
import re
import tarfile
import warnings
import zipfile
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from dicom_files import write_dicom
from overhearing import overhear
from PIL import Image
from small_study import TINY, read_rows, run_cli, write_hospitals, write_manifest
from spoilt_files import spoil
from torch import nn

from fairpool import EqualOpportunity, FairALMHandler, FairALMLoss
from fairpool.checkpoints import load_model, save_model
from fairpool.data import Pool
from fairpool.data.archive import extract
from fairpool.data.headers import read_dicom_header
from fairpool.data.image_cache import ImageCache
from fairpool.data.manifest import read_manifest
from fairpool.data.tables import write_table
from fairpool.data.vocabulary import SiteVocabulary
from fairpool.errors import CheckpointError, DataError
from fairpool.metrics import GroupMetric, confusion_by_group, group_report
from fairpool.saliency.outside import outside_notes, outside_table
from fairpool.transforms import EncodeGroupsd, LoadRadiographd

SECRETS = ("geheim", "mueller", "PATIENT-", "Meier", "Traceback")
ENTRIES = []


def _entry(kind, number, says, **expected):
    def register(function):
        ENTRIES.append(SimpleNamespace(kind=kind, number=number, says=says, function=function, **expected))
        return function

    return register


def refused_cli(number, says, status=1):
    """The function gives a command's arguments."""
    return _entry("cli", number, says, status=status)


def refused(number, error, says):
    """The function raises ``error``."""
    return _entry("error", number, says, error=error)


def handled(number, says):
    """The function gives what was said of input that is accepted."""
    return _entry("handled", number, says)


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    """Sixteen images at two hospitals and their table in the working directory, so that no path has to be typed."""
    folder = tmp_path / "geheim"
    write_hospitals(folder, sites=("basel", "bern"), per_cell=4)
    monkeypatch.chdir(folder)
    return SimpleNamespace(
        folder=folder, rows=read_rows(folder / "manifest.csv"), fixture=request.getfixturevalue, changed=changed
    )


def changed(place, rows=None, **cells):
    """The table with cells replaced, ``r3_site="x"``, or other rows."""
    rows = [list(row) for row in (place.rows if rows is None else rows)]
    for name, value in cells.items():
        row, column = name.split("_")
        rows[int(row[1:]) - 1][("image", "label", "site", "patient").index(column)] = value
    return write_manifest(place.folder / "bad.csv", rows)


def as_json(place, **cells):
    """The table as a datalist, with cells of row 3 replaced or, as ..., taken out."""
    entries = [dict(zip(("image", "label", "site", "patient"), row, strict=True)) for row in place.rows]
    entries[2] = {key: value for key, value in (entries[2] | cells).items() if value is not ...}
    (place.folder / "bad.json").write_text(json.dumps({"training": entries}))


def train(place, *options, table="bad.csv"):
    """``fairpool run`` on the table, which would take seconds if it were not refused."""
    where = ["--output", place.fixture("store").folder, "--seeds", 1, "--epochs", 1]
    return ["run", "tuberculosis", "--manifest", table, *where, *options, *TINY]


def load(place, number=3, **options):
    """What `LoadRadiographd` makes of an image of the table."""
    path = place.folder / place.rows[number - 1][0]
    return LoadRadiographd("image", 8, **options)({"image": path, "row": number, "site_name": "basel"})


def image_of(place, number=3):
    return place.folder / place.rows[number - 1][0]


def batch(num_classes=2, size=6):
    return torch.randn(size, num_classes), torch.arange(size) % 2, torch.arange(size) % 3


def call_loss(logits=None, labels=None, groups=None, bind=True):
    usual = batch()
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3)
    given = [usual[i] if part is None else part for i, part in enumerate((logits, labels, groups))]
    return loss(*given) if bind else loss(*given[:2])


def call_metric(logits=None, labels=None, groups=None, **options):
    usual = batch()
    given = [usual[i] if part is None else part for i, part in enumerate((logits, labels, groups))]
    GroupMetric(3, **options)(*given)


def pool_of(place, table="manifest.csv"):
    return Pool(read_manifest(place.folder / table, patient_column="patient"), val_frac=0.25, test_frac=0.25)


# The test itself: every entry below, and every row of the list.


def pytest_generate_tests(metafunc):
    if "case" in metafunc.fixturenames:
        names = [f"{case.number:02d}-{case.function.__name__}" for case in ENTRIES]
        metafunc.parametrize("case", ENTRIES, ids=names)


def test_every_row_has_an_entry():
    assert sorted({case.number for case in ENTRIES}) == list(range(1, 43))


def test_bad_input_is_refused_or_handled_in_one_sentence(case, place):
    with overhear() as texts:
        if case.kind == "cli":
            done = run_cli(*case.function(place))
            assert done.status == case.status, done.err
            assert done.err.startswith("fairpool: ")
            sentence = done.err.removeprefix("fairpool: ").removesuffix("\n")
            texts.append(done.out)
        elif case.kind == "error":
            with pytest.raises(case.error) as caught:
                case.function(place)
            assert type(caught.value) is case.error
            sentence = str(caught.value.args[0])
        else:
            sentence = case.function(place)
    assert re.search(case.says, sentence), sentence
    assert "\n" not in sentence
    assert sentence[-1] in ".)" or case.kind != "cli", sentence
    for secret in (str(place.folder), *SECRETS):
        assert secret not in sentence
        assert all(secret not in text for text in texts[:-1]), secret  # what the logs hold besides


# 1-14: the site column


@refused_cli(1, r'^1 of 16 rows have no "site" \(row 3\).*Fill the column or drop the rows\.')
def site_is_no_key_of_an_image(place):
    as_json(place, site=...)
    return train(place, table="bad.json")


@refused(1, KeyError, "Key `site` of transform `EncodeGroupsd` was missing")
def site_is_no_key_of_an_item(place):
    EncodeGroupsd(vocabulary=["basel", "bern"])({"label": 1})


@refused_cli(2, r'^1 of 16 rows have no "site" \(row 3\)')
def site_is_null(place):
    as_json(place, site=None)
    return ["audit", "bad.json"]


@refused(2, TypeError, "^groups is empty for 1 of 6 samples. Fill it in, or use -1 for an unknown site")
def site_is_none_in_a_batch(place):
    call_loss(groups=[0, 1, None, 2, 0, 1])


@refused_cli(3, r'"site" is empty \(row 3\)')
def site_is_an_empty_cell(place):
    place.changed(place, r3_site="")
    return ["manifest", "validate", "bad.csv"]


@refused_cli(3, r'^1 of 16 rows have no "site" \(row 3\)')
def site_is_nan_in_parquet(place):
    table = pd.DataFrame(place.rows, columns=["image", "label", "site", "patient"])
    table.assign(site=table["site"].mask(table.index == 2, np.nan)).to_parquet("bad.parquet")
    return train(place, table="bad.parquet")


@refused_cli(4, r'"site" spells 1 site.*"basel" \(7\), " BASEL " \(1\).*--normalize-sites')
def site_is_spelt_in_two_ways(place):
    place.changed(place, r3_site=" BASEL ")
    return train(place)


@handled(4, r'^"basel" joins " BASEL " \(1\), "basel" \(7\)$')
def site_is_spelt_in_two_ways_and_joined(place):
    table = place.changed(place, r3_site=" BASEL ")
    return read_manifest(table, normalize=True).attrs["notes"][0]


@refused(5, DataError, r'row 7: .*"chur".*\(basel, bern\)')
def site_was_never_seen(place):
    EncodeGroupsd(vocabulary=["basel", "bern"])({"site": "chur", "row": 7})


@handled(5, "2 test images are of sites that the training never saw .chur 2.: they count as unknown")
def site_was_never_seen_and_counts_as_unknown(place):
    outside = read_manifest(place.changed(place, [["scans/mueller-00001.png", n, "chur", f"new-{n}"] for n in (0, 1)]))
    return Pool(read_manifest("manifest.csv"), outside, val_frac=0.25, unknown="keep").notes()[0]


@refused(6, ValueError, r"group ids must lie in 0\.\.2.*found 7 \(2 samples\)\. Encode")
def ids_are_out_of_range_in_the_loss(place):
    call_loss(groups=torch.tensor([0, 7, 1, 2, 7, 0]))


@refused(6, ValueError, r"group ids must lie in 0\.\.2.*found 3 \(1 sample")
def ids_are_out_of_range_in_the_metric(place):
    call_metric(groups=torch.tensor([0, 1, 2, 3, 0, 1]))


@refused(7, TypeError, "groups must be an integer tensor, got float32")
def ids_are_floats_in_the_loss(place):
    call_loss(groups=torch.rand(6))


@refused(7, TypeError, "groups must be an integer tensor, got bool")
def ids_are_booleans_in_the_metric(place):
    call_metric(groups=torch.tensor([True, False] * 3))


@refused_cli(8, r'^fairness across sites needs at least 2 sites; found only "basel" \(8 rows\)\.')
def there_is_one_site(place):
    place.changed(place, place.rows[:8])
    return train(place)


@refused(8, ValueError, "num_groups must be at least 2")
def there_is_one_group(place):
    FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=1)


@handled(9, "1 update without a comparison, multipliers at 0")
def a_batch_holds_one_site(place):
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3)
    logits, labels, _ = batch()
    value = loss(logits, labels, torch.full((6,), 2))
    loss.update_multipliers()
    torch.testing.assert_close(value, nn.functional.cross_entropy(logits, labels))
    return f"{int(loss.idle_updates)} update without a comparison, multipliers at {loss.multipliers.abs().max():g}"


@handled(10, 'at site "chur" every case is negative .5 of 5.: errors of the other label cannot be compared there')
def a_site_has_no_positive_case(place):
    rows = [[place.rows[n][0], 0, "chur", f"new-{n}"] for n in range(5)]
    return pool_of(place, place.changed(place, place.rows + rows).name).notes()[0]


@handled(10, r"fnr \[0.0, nan\], gap nan")
def a_rate_has_no_case(place):
    labels, groups = torch.tensor([1, 0, 0]), torch.tensor([0, 0, 1])
    report = group_report(confusion_by_group(labels, labels, groups, 2, 2))
    return f"fnr {report.fnr.tolist()}, gap {report.deo}"


@refused_cli(11, 'no label occurs at two sites.*at site "bern" every case is positive .4 of 4.')
def the_site_is_the_label(place):
    place.changed(place, [row for row in place.rows if (row[2] == "bern") == (row[1] == "1")])
    return train(place)


@handled(11, "perfect confounding")
def the_site_is_the_label_says_the_audit(place):
    place.changed(place, [row for row in place.rows if (row[2] == "bern") == (row[1] == "1")])
    done = run_cli("audit", "bad.csv", "--no-images")
    assert done.status == 0
    assert "these data cannot support" in done.out.splitlines()[-1]
    return " ".join(done.out.split())


@refused_cli(12, r'"patient" has 1,001 values over 1,001 rows\. Is it the right column\?')
def the_site_is_an_identifier(place):
    place.changed(place, [[place.rows[0][0], n % 2, "basel", f"P-{n}"] for n in range(1001)])
    return train(place, "--site-column", "patient")


@refused(13, KeyError, '^"site" is not a batch key.*meta')
def the_site_is_in_the_meta_alone(place):
    from monai.data import MetaTensor

    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3)
    items = [{"image": MetaTensor(torch.randn(5), meta={"site": n % 3}), "label": n % 2} for n in range(8)]
    place.fixture("train")(loss, [FairALMHandler(loss)], data=items).run()


@handled(14, "^hopital-a-2, x, hopital-a-2-2$")
def site_names_are_awkward(place):
    store, vocabulary = place.fixture("store"), SiteVocabulary(("Hôpital A (2)", "../../x", "hopital a 2"))
    run = store.client.create_run(store.experiment_id)
    for slug in vocabulary.slugs():
        store.client.log_metric(run.info.run_id, f"test/fnr/{slug}", 0.5)
    store.client.delete_run(run.info.run_id)
    assert SiteVocabulary.from_json(vocabulary.to_json()) == vocabulary
    return ", ".join(vocabulary.slugs())


# 15-20: labels and predictions


@refused_cli(15, r"\(row 3\)")
def a_label_is_unknown(place):
    place.changed(place, r3_label=-1)
    return train(place)


@handled(15, '^1 of 16 rows are left out for the label -1 in "label" .basel 1.')
def a_label_is_unknown_and_ignored(place):
    return read_manifest(place.changed(place, r3_label=-1), ignore_label=-1).attrs["notes"][0]


@refused(16, ValueError, r"\(6, 2\).*labels \(6, 2\).*argmax")
def labels_are_one_hot(place):
    call_loss(labels=torch.eye(2)[batch()[1]])


@refused(16, ValueError, "Soft labels are not supported")
def labels_are_soft(place):
    call_loss(labels=torch.full((6,), 0.3))


@refused(17, RuntimeError, r"epoch 1.*iteration 2")
def a_loss_is_nan_in_training(place):
    items = [{"image": torch.randn(5), "label": n % 2, "site": n % 3} for n in range(12)]
    items[5]["image"][0] = torch.nan  # the second batch of four
    loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=3)
    place.fixture("train")(loss, [FairALMHandler(loss)], data=items, epochs=3).run()


@refused(17, ValueError, "1 ")
def logits_are_nan_in_the_metric(place):
    call_metric(logits=batch()[0].index_fill(0, torch.tensor(2), torch.inf))


@refused(18, ValueError, "non-negative and sum to 1, so they are no logits")
def logits_are_probabilities_in_the_metric(place):
    call_metric(logits=batch()[0].softmax(1))


@handled(18, "expects logits; remove the softmax")
def logits_are_probabilities_in_the_loss(place):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        call_loss(logits=batch()[0].softmax(1))
    return str(warned[0].message)


@refused(19, ValueError, r"logits \(6, 2\), labels \(6,\), groups \(5,\)")
def lengths_differ_in_the_loss(place):
    call_loss(groups=batch()[2][:5])


@refused(19, ValueError, r"\(6,\).*\(6,\).*\(5,\)")
def lengths_differ_in_the_metric(place):
    call_metric(groups=batch()[2][:5])


@refused(20, RuntimeError, r"FairALMHandler\(loss, group_key=.*loss\(logits, labels, groups\)")
def groups_were_never_bound(place):
    call_loss(bind=False)


# 21-32: images


@refused_cli(21, r"^1 of 16 images cannot be used: row 3 \(basel\): image ends early")
def a_png_is_truncated(place):
    image_of(place).write_bytes(image_of(place).read_bytes()[:-900])
    return train(place, table="manifest.csv")


@refused(21, DataError, r"^row 3 \(basel\): image ends early")
def a_jpeg_is_truncated(place):
    Image.open(image_of(place)).save(image_of(place), "JPEG")
    image_of(place).write_bytes(image_of(place).read_bytes()[:-500])
    load(place)


@refused(21, DataError, r"^row 3 \(basel\): .*ends? early")
def dicom_pixels_are_truncated(place):
    write_dicom(image_of(place), PatientName="Meier^Anna")
    image_of(place).write_bytes(image_of(place).read_bytes()[:-200])
    load(place)


@refused_cli(22, r"row 3 \(basel\): not an image; the download was probably refused .*row 7 \(basel\): not an image")
def a_file_is_empty_and_another_a_web_page(place):
    image_of(place).write_bytes(b"")
    image_of(place, 7).write_text("<!DOCTYPE html><html>Meier</html>")
    return train(place, table="manifest.csv")


@refused(23, DataError, r"declares 40000 x 40000 = 1,600,000,000 pixels; the limit is [\d,]+\. .*max_pixels")
def an_image_is_a_bomb(place):
    content = bytearray(image_of(place).read_bytes())
    content[16:24] = (40_000).to_bytes(4, "big") * 2
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    image_of(place).write_bytes(content)
    load(place)


@handled(24, "^levels 0 to 64 of 65535 are 0 to 0.00098$")
def an_image_has_16_bits(place):
    levels = np.arange(1, 65, dtype=np.uint16).reshape(8, 8)
    levels[0, 0] = 0
    Image.fromarray(levels).save(image_of(place))
    pixels = load(place)["image"]
    np.testing.assert_allclose(pixels[0], levels / 65535, atol=1e-6)  # stretched by its own extremes it would end at 1
    return f"levels 0 to 64 of 65535 are {pixels.min():g} to {pixels.max():.5f}"


@refused(25, DataError, r"^row 3 \(basel\): image is in colour.*strict")
def an_image_is_in_colour_and_strict(place):
    Image.open(image_of(place)).convert("RGBA").save(image_of(place), "PNG")
    load(place, strict=True)


@handled(25, '^1 images of site "basel": .*alpha')
def an_image_is_in_colour_and_converted(place):
    Image.open(image_of(place)).convert("LA").save(image_of(place), "PNG")
    return pool_of(place).prepare(8, None)[0]


@handled(26, '^1 images of site "basel": .*orientation')
def an_image_has_an_orientation(place):
    exif = Image.Exif()
    exif[0x0112] = 3
    before = load(place)["image"]
    Image.open(image_of(place)).save(image_of(place), "PNG", exif=exif)
    torch.testing.assert_close(load(place)["image"], before.flip(1, 2), atol=0.01, rtol=0)
    return pool_of(place).prepare(8, None)[0]


@handled(27, '^1 images of site "basel": monochrome1$')
def a_dicom_image_is_monochrome1(place):
    pixels = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    write_dicom(image_of(place), pixels=pixels, bits=10, vendor=None)
    upright = load(place)["image"]
    write_dicom(image_of(place), pixels=pixels, bits=10, vendor=None, photometric="MONOCHROME1")
    torch.testing.assert_close(load(place)["image"], 1 - upright, atol=1e-4, rtol=0)
    return pool_of(place).prepare(8, None)[0]


@refused(28, DataError, r"^row 3 \(basel\): .*RescaleSlope \(0028,1053\)")
def a_rescale_slope_is_zero(place):
    write_dicom(image_of(place), RescaleSlope=0, RescaleIntercept=0, PatientName="Meier^Anna")
    load(place)


@refused(29, DataError, r"^row 3 \(basel\): .*1 .*not finite|^row 3 \(basel\): .*1 .*NaN")
def a_pixel_is_nan(place):
    float_dicom(image_of(place))
    load(place, value_range=(0, 1))


@handled(29, "^NaN became 0$")
def a_pixel_is_nan_and_filled(place):
    float_dicom(image_of(place))
    pixels = ImageCache(None, 32, value_range=(0, 1), nan="fill").load(image_of(place)).pixels
    return f"NaN became {pixels[4, 4]:g}"


def float_dicom(path):
    import pydicom

    pixels = np.full((32, 32), 0.5, np.float32)
    pixels[4, 4] = np.nan
    dataset = pydicom.dcmread(write_dicom(path, bits=16, vendor=None))
    del dataset.PixelData
    dataset.BitsAllocated = dataset.BitsStored = 32
    dataset.HighBit, dataset.FloatPixelData = 31, pixels.tobytes()
    dataset.save_as(path)


@handled(30, '^1 images of site "basel": constant')
def an_image_is_black(place):
    Image.new("L", (64, 64)).save(image_of(place))
    return pool_of(place).prepare(8, None)[0]


@refused(31, DataError, "nested too deeply")
def a_sequence_is_nested_too_deeply_for_the_pixels(place):
    spoil(write_dicom(image_of(place), PatientName="Meier^Anna"), "nested too deeply")
    load(place)


@refused(31, DataError, "nested too deeply")
def a_sequence_is_nested_too_deeply_for_the_header(place):
    spoil(write_dicom(image_of(place), PatientName="Meier^Anna"), "nested too deeply")
    read_dicom_header(image_of(place), ["StudyDate", "PatientID", "StationName", "BodyPartExamined", "Rows"])


@handled(32, r"^map: 100 % of the evidence lies outside the body, \d+ % of the image")
def the_evidence_is_a_burned_in_marker(place):
    images = torch.zeros(2, 1, 60, 60)
    images[..., 10:50, 15:45], images[..., 2:6, 2:10] = 0.7, 1.0
    evidence = torch.zeros(2, 60, 60)
    evidence[:, 2:6, 2:10] = 1
    return outside_notes(outside_table(images, {"map": evidence}))[0]


# 33-37: manifests, splits, reports


@refused_cli(33, r"row 3.*row 4.*row 5.*row 6|rows 3, 4, 5, 6")
def paths_leave_the_folder(place):
    (place.folder / "out").symlink_to(place.folder.parent)
    (place.folder.parent / "x.png").write_bytes(image_of(place).read_bytes())
    outside = {"r3_image": "../x.png", "r4_image": "/etc/hostname", "r5_image": "C:\\x.png", "r6_image": "out/x.png"}
    place.changed(place, **outside)
    return train(place)


@refused_cli(34, r"^patients are in two sections: 1 in training and test\. Split by patient \(fairpool split\)")
def a_patient_is_in_two_splits(place):
    rows = [[*row, ("training", "test")[n % 2]] for n, row in enumerate(place.rows)]
    rows[1][3] = rows[0][3]
    write_manifest(place.folder / "bad.csv", rows, ("image", "label", "site", "patient", "split"))
    return train(place, "--split-column", "split", "--patient-column", "patient")


@refused_cli(35, r"^1 image occurs in two sections with the same pixels \(rows 3, 4\)")
def pixels_are_in_two_splits(place):
    image_of(place, 4).write_bytes(image_of(place, 3).read_bytes())
    rows = [[*row, ("training", "validation", "training", "test")[n % 4]] for n, row in enumerate(place.rows)]
    write_manifest(place.folder / "bad.csv", rows, ("image", "label", "site", "patient", "split"))
    return train(place, "--split-column", "split")


@refused_cli(35, r"1 image occurs with two labels with the same pixels \(rows 3, 7\)")
def pixels_have_two_labels(place):
    image_of(place, 7).write_bytes(image_of(place, 3).read_bytes())
    return train(place, table="manifest.csv")


@handled(36, "'=1.1,0.5,'@x,-2")
def a_cell_is_a_formula(place):
    write_table(pd.DataFrame({"site": ["=1+1"], "rate": [0.5], "note": ["@x"], "change": [-2]}), "out.csv")
    return " ".join((place.folder / "out.csv").read_text().split())


@handled(37, "^no fault: 16 images of 16 patients at 2 sites$")
def a_table_begins_with_a_byte_order_mark(place):
    (place.folder / "bad.csv").write_bytes(b"\xef\xbb\xbf" + (place.folder / "manifest.csv").read_bytes())
    table = pd.read_csv("bad.csv").rename(columns={"image": "path"})
    table.to_csv("bad.csv", index=False, encoding="utf-8-sig")
    return run_cli("manifest", "validate", "bad.csv").out.splitlines()[-1]


def table_of(place, edit):
    (place.folder / "bad.csv").write_bytes(edit((place.folder / "manifest.csv").read_bytes()))
    return train(place)


@refused_cli(37, "^line 1: the columns are not separated by commas")
def a_table_has_semicolons(place):
    return table_of(place, lambda text: text.replace(b",", b";"))


@refused_cli(37, r'^"bad.csv" is not UTF-8 \(line 4\)\. Save it as CSV UTF-8')
def a_table_is_in_cp1252(place):
    lines = (place.folder / "manifest.csv").read_bytes().split(b"\r\n")
    lines[3] = lines[3].replace(b"basel", "Zürich".encode("cp1252"))
    return table_of(place, lambda text: b"\r\n".join(lines))


@refused_cli(37, "^line 1: the header names 'site' twice")
def a_table_names_a_column_twice(place):
    return table_of(place, lambda text: text.replace(b"patient", b"site", 1))


@refused_cli(37, r"^1 lines do not have the 4 columns of the header \(image, label, site, patient\): line 3: 3 cells")
def a_table_has_a_ragged_line(place):
    return table_of(place, lambda text: re.sub(rb"(\r\n[^\r]+\r\n[^\r]+),[^\r,]+", rb"\1", text, count=1))


# 38-42: files from strangers


class Stranger:
    """Leaves a file when it is unpickled."""

    def __reduce__(self):
        return open, ("ran", "w")


@refused_cli(38, '^"model.pt" is damaged or not plain tensors; load it only from a source you trust')
def a_checkpoint_holds_an_object(place):
    torch.save({"network": {"w": torch.ones(1)}, "vocabulary": Stranger(), "settings": "{}"}, "model.pt")
    return ["evaluate", "model.pt", "--manifest", "manifest.csv"]


@refused(39, CheckpointError, '^"model.pt" has the same 2 sites in another order: 0 is "bern" there and "basel" here')
def a_checkpoint_is_of_other_sites(place):
    save_model("model.pt", nn.Linear(1, 1), vocabulary=SiteVocabulary(("bern", "basel")), settings={})
    load_model("model.pt", vocabulary=SiteVocabulary(("basel", "bern")))


@refused(40, DataError, r"1 member that must not be extracted: '\.\./evil\.txt' \(leaves the folder\)\. Nothing was")
def an_archive_leaves_the_folder(place):
    with zipfile.ZipFile("site.zip", "w") as archive:
        archive.writestr("../evil.txt", "")
    extract("site.zip", "out")


@refused(40, DataError, r"2 members.*\(is a link or a device\).*\(is a link or a device\)")
def an_archive_holds_a_link_and_a_device(place):
    with tarfile.open("site.tar", "w") as archive:
        for name, kind in (("a/link", tarfile.SYMTYPE), ("a/device", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
    extract("site.tar", "out")


@refused(40, DataError, "expands to more than [0-9,]+ bytes. Nothing was extracted.*max_ratio")
def an_archive_is_a_bomb(place):
    with zipfile.ZipFile("site.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/zeros", bytes(10_000_000))
    extract("site.zip", "out")


@handled(41, "^read anew; nothing ran; folder 700$")
def a_cache_entry_holds_an_object(place):
    cache = ImageCache("cache", 8)
    before = cache.load(image_of(place)).levels
    (entry,) = (place.folder / "cache").iterdir()
    np.savez(entry.open("wb"), levels=np.array([Stranger()], dtype=object), notes=np.array([], dtype="U1"))
    np.testing.assert_array_equal(cache.load(image_of(place)).levels, before)
    mode = (place.folder / "cache").stat().st_mode & 0o777
    return f"read anew; {'it' if (place.folder / 'ran').exists() else 'nothing'} ran; folder {mode:o}"


@refused_cli(42, r'^"\./bundle" is not part of fairpool: its configuration can run any code.*--trust-config', status=2)
def a_bundle_comes_from_elsewhere(place):
    (place.folder / "bundle" / "configs").mkdir(parents=True)
    config = {"imports": ["$open('ran', 'w').close()"], "epochs": 1}
    (place.folder / "bundle" / "configs" / "train.json").write_text(json.dumps(config))
    return ["run", "./bundle", "--manifest", "manifest.csv"]


@refused_cli(42, 'the value of "network" would run as code; add --trust-config', status=2)
def a_value_would_run_as_code(place):
    return train(place, "network=$open('ran', 'w').close()", table="manifest.csv")


@pytest.mark.parametrize(
    "act", [a_checkpoint_holds_an_object, a_bundle_comes_from_elsewhere, a_value_would_run_as_code]
)
def test_what_a_stranger_sent_did_not_run(place, act):
    run_cli(*act(place))
    assert not (place.folder / "ran").exists()


def test_the_stranger_would_have_run(place):
    pickle.load(io.BytesIO(pickle.dumps(Stranger()))).close()
    assert (place.folder / "ran").exists()
