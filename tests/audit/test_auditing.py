"""Audits of whole tables: what is planted is found, what is not there is not, and nothing odd stops it."""

import json

import numpy as np
import pandas as pd
import pytest
from audited_data import SITES, table_of, write_images, write_table

from fairpool.audit import audit_manifest, audit_records
from fairpool.errors import DataError

METADATA = ("image", "label", "site", "patient", "scanner", "age")


def part(audit, target, features):
    return next(part for part in audit.separability if (part.target, part.features) == (target, features))


def codes(audit):
    return {sentence.code for sentence in audit.advice}


def assert_plain(audit):
    content = json.dumps(audit.to_json(), allow_nan=False)
    assert "PATIENT" not in content
    assert "mueller" not in content
    return json.loads(content)


def test_a_marker_in_the_pixels_tells_the_site_and_with_the_prevalence_is_a_shortcut(tmp_path):
    manifest = write_images(tmp_path / "secret", marker=255, shares=[(30, 8), (8, 30)])
    found = audit_manifest(manifest)
    assert part(found, "site", "image statistics").auc > 0.95
    assert part(found, "site", "thumbnails").auc > 0.95
    assert {"shortcut_risk", "prevalence_differs"} <= codes(found)
    assert part(found, "label", "site").auc > 0.7
    assert (found.num_read, found.unreadable) == (76, ())
    assert "secret" not in json.dumps(assert_plain(found))


def test_sites_that_look_alike_are_near_chance_although_the_label_is_seen(tmp_path):
    found = audit_manifest(write_images(tmp_path, per_cell=25))
    assert part(found, "site", "image statistics").auc == pytest.approx(0.5, abs=0.2)
    assert part(found, "site", "thumbnails").auc == pytest.approx(0.5, abs=0.2)
    assert part(found, "label", "thumbnails").auc > 0.95
    assert part(found, "label", "thumbnails").auc_within > 0.95
    assert {"prevalence_alike", "site_hardly_told"} <= codes(found)
    assert sorted(found.mean_images) == sorted(SITES)
    assert found.mean_images[SITES[0]].shape == (32, 32)


def test_a_site_of_few_patients_shows_no_mean_image(tmp_path):
    found = audit_manifest(write_images(tmp_path, shares=[(10, 10), (4, 5)]))
    assert list(found.mean_images) == [SITES[0]]


def test_unreadable_images_are_named_by_row_and_site_and_not_fatal(tmp_path):
    manifest = write_images(tmp_path, per_cell=12)
    (tmp_path / "mueller-0003.png").write_bytes(b"")
    (tmp_path / "mueller-0040.png").unlink()
    found = audit_manifest(manifest)
    assert [(image.row, image.site) for image in found.unreadable] == [(4, SITES[0]), (41, SITES[1])]
    assert found.num_read == 46
    content = assert_plain(found)
    assert content["num_unreadable"] == 2
    assert "unreadable_images" in codes(found)


def test_a_table_of_which_no_image_can_be_read_is_refused_and_the_folder_doubted(tmp_path):
    manifest = write_images(tmp_path / "secret")
    with pytest.raises(DataError, match=r"^none of 60 images can be read; the first, row 1 \(Genève\): ") as caught:
        audit_manifest(manifest, root_dir=tmp_path)
    assert "--data" in str(caught.value)
    assert "--no-images" in str(caught.value)
    assert "mueller" not in str(caught.value)
    assert audit_manifest(manifest, root_dir=tmp_path, read_images=False).num_images == 60


def spoil(folder, numbers):
    for number in numbers:
        (folder / f"mueller-{number:04d}.png").write_bytes(b"")


def test_the_verdict_is_on_the_images_that_can_be_read(tmp_path):
    manifest = write_images(tmp_path, per_cell=25, size=32)
    assert audit_manifest(manifest, constraint="equalized_odds").verdict.verdict == "support with care"
    spoil(tmp_path, [*range(50, 75), *range(80, 100)])  # at the second site all negatives, all but five positives
    found = audit_manifest(manifest, constraint="equalized_odds")
    assert [cell.images for cell in found.cells] == [0, 5, 25, 25]
    assert found.verdict.verdict == "cannot support"
    assert 'only site "Genève" has negatives' in found.verdict.reasons[0]
    assert found.prevalence[SITES[1]][0] == 1
    assert found.associations["site x label"].num_images == 55


@pytest.mark.parametrize("most", [1000, 90])
def test_a_site_without_a_readable_image_drops_out(tmp_path, most):
    sites = ("a", "b", "gone")
    manifest = write_images(tmp_path, per_cell=25, size=32, sites=sites)
    spoil(tmp_path, range(100, 150))
    found = audit_manifest(manifest, max_images=most)
    assert found.sites == ("a", "b")
    assert [cell.images for cell in found.cells] == [25] * 4
    assert found.num_images == 150
    lost = next(sentence for sentence in found.advice if sentence.code == "unreadable_images")
    assert (lost.level, "without an image, gone takes no part" in lost.text) == ("care", True)
    assert_plain(found)


def test_site_and_label_are_told_among_readable_images_alone(tmp_path):
    manifest = write_images(tmp_path, per_cell=25, size=32)
    spoil(tmp_path, range(50, 75))
    found = audit_manifest(manifest)
    assert {part.num_images for part in found.separability if part.auc is not None} == {75}


def test_images_of_unknown_site_are_counted_in_a_note_and_in_no_cell():
    records, table = table_of({"a": (30, 30), "b": (30, 30), "unknown": (5, 6)}, age=range(131))
    found = audit_records(records, table)
    assert found.sites == ("a", "b")
    assert {cell.site for cell in found.cells} == {"a", "b"}
    assert any(note.startswith('11 images of site "unknown"') for note in found.notes)
    with pytest.raises(DataError, match='each of the 5 rows has the site "unknown"'):
        audit_records(*table_of({"unknown": (2, 3)}))


def test_copies_are_counted(tmp_path):
    manifest = write_images(tmp_path)
    (tmp_path / "mueller-0059.png").write_bytes((tmp_path / "mueller-0000.png").read_bytes())
    found = audit_manifest(manifest)
    assert found.duplicates["same_pixels"]["across_sites"] == 1
    assert found.duplicates["same_pixels"]["across_labels"] == 1
    assert found.verdict.verdict != "support"
    assert any("two labels" in reason for reason in found.verdict.reasons)


def test_hashes_of_the_table_are_used_without_images(tmp_path):
    rows = [[f"{n}.png", n % 2, SITES[n // 30], n, f"{n // 2:064x}", ""] for n in range(60)]
    header = ("path", "label", "site", "patient", "pixel_hash", "perceptual_hash")
    found = audit_manifest(write_table(tmp_path / "m.csv", rows, header), read_images=False)
    assert found.duplicates["same_pixels"]["across_labels"] == 30


def test_headers_stand_in_for_columns_that_the_table_lacks(tmp_path):
    manifest = write_images(tmp_path, per_cell=12)
    found = audit_manifest(manifest)
    assert set(found.metadata_auc) == {"format", "shape", "photometric"}
    assert part(found, "site", "metadata").note == "every image has the same features"


def test_scanners_and_metadata_of_the_table():
    records, table = table_of(
        {"a": (40, 40), "b": (40, 40)},
        scanner=["GE"] * 80 + ["Philips"] * 60 + [""] * 20,
        age=[*range(80), *range(40, 120)],
    )
    found = audit_records(records, table, metadata_columns=["age"])
    assert [(cell.site, cell.scanner, cell.images) for cell in found.scanners] == [
        ("a", "GE", (40, 40)),
        ("b", "", (0, 20)),
        ("b", "Philips", (40, 20)),
    ]
    assert found.associations["site x scanner"].cramers_v == pytest.approx(1)
    assert found.associations["site x scanner"].num_images == 140
    assert found.metadata_auc["scanner"] == 1
    assert 0.6 < found.metadata_auc["age"] < 0.9
    assert {"scanner_within_site", "scanner_missing", "metadata_tell_site"} <= codes(found)
    assert_plain(found)


@pytest.mark.parametrize(
    "counts", [{"a": (1, 1)}, {"a": (30, 0)}, {"a": (30, 0), "b": (0, 30)}, {"a": (0, 3), "b": (0, 3)}]
)
def test_data_without_a_comparison_get_a_verdict_and_no_error(counts):
    found = audit_records(*table_of(counts))
    assert found.verdict.verdict == "cannot support"
    assert {verdict.verdict for verdict in found.verdicts.values()} == {"cannot support"}
    assert_plain(found)


def test_two_balanced_sites_support_the_constraint():
    found = audit_records(*table_of({"a": (150, 150), "b": (150, 150)}))
    assert (found.verdict.verdict, found.verdict.reasons) == ("support", ())
    assert found.associations["site x label"].low == 0


def test_patients_at_several_sites_and_repeated_images_are_one_patient_each():
    records, table = table_of({"a": (40, 40), "b": (40, 40)})
    found = audit_records(records.assign(patient=[n % 40 for n in range(160)]), table)
    assert found.num_patients == 40
    assert {"patients_at_several_sites", "patients_with_both_labels"} <= codes(found)


@pytest.mark.slow
def test_the_patients_of_a_large_table_are_sampled_and_it_is_said(tmp_path):
    found = audit_manifest(write_images(tmp_path, per_cell=20), max_images=60)
    assert found.num_read == 60
    assert found.notes == ("60 of 80 images, of a random sample of patients, are read and told apart",)
    assert sum(cell.images for cell in found.cells) == 80


def test_a_seed_gives_the_same_audit():
    data = table_of({"a": (40, 20), "b": (20, 40), "c": (30, 30)}, age=[*range(180)])
    one, other = (audit_records(*data, metadata_columns=["age"], seed=3).to_json() for _ in range(2))
    assert one == other
    assert one["seed"] == 3


@pytest.mark.slow
def test_many_sites_are_audited():
    rng = np.random.default_rng(0)
    records = pd.DataFrame({"site": [f"s{n % 200:03d}" for n in range(3000)], "label": rng.integers(0, 2, 3000)})
    found = audit_records(records.assign(patient=range(3000), row=range(1, 3001)))
    assert len(found.cells) == 400
    assert found.associations["site x label"].corrected_v < 0.1
    assert 0 < found.expected_gaps["y1"][0] < 1


def test_rows_that_are_ignored_keep_the_metadata_of_the_others(tmp_path):
    rows = [
        [f"{n}.png", "-1" if n % 3 == 0 else n % 2, SITES[n % 2], n, ("GE", "Philips")[n % 2], 50] for n in range(90)
    ]
    manifest = write_table(tmp_path / "m.csv", rows, METADATA)
    found = audit_manifest(manifest, columns={"ignore_label": "-1"}, read_images=False)
    assert found.num_images == 60
    assert {(cell.site, cell.scanner) for cell in found.scanners} == {(SITES[0], "GE"), (SITES[1], "Philips")}


@pytest.mark.parametrize("name", ["finding", "site", "person", "file"])
def test_columns_that_tell_everything_are_no_metadata(tmp_path, name):
    header = ("file", "finding", "site", "person")
    manifest = write_table(tmp_path / "m.csv", [[f"{n}.png", n % 2, SITES[n // 30], n] for n in range(60)], header)
    columns = {"image_column": "file", "label_column": "finding", "patient_column": "person"}
    with pytest.raises(DataError, match=f'^"{name}" is the column of the .*--metadata-columns'):
        audit_manifest(manifest, columns=columns, read_images=False, metadata_columns=[name])


def test_a_site_that_stands_in_the_column_of_scanners_is_not_told_from_it(tmp_path):
    header = ("label", "scanner", "patient")
    manifest = write_table(tmp_path / "m.csv", [[n % 2, SITES[n // 30], n] for n in range(60)], header)
    found = audit_manifest(manifest, columns={"site_column": "scanner"}, read_images=False)
    assert (found.metadata_auc, found.scanners) == ({}, ())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scanner_column": "device"}, '"device".*--scanner-column'),
        ({"metadata_columns": ["age"]}, '"age".*--metadata-columns'),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path, options, message):
    manifest = write_table(tmp_path / "m.csv", [["a.png", 0, "a", 1], ["b.png", 1, "b", 2]])
    with pytest.raises(DataError, match=message):
        audit_manifest(manifest, read_images=False, **options)


def test_settings_that_make_no_sense_are_refused():
    data = table_of({"a": (3, 3), "b": (3, 3)})
    with pytest.raises(ValueError, match="constraint must be one of"):
        audit_records(*data, constraint="fairness")
    with pytest.raises(ValueError, match="max_images"):
        audit_records(*data, max_images=0)
