"""Sites from a spreadsheet: against a join written in a loop, and every table and key that is refused."""

import csv
import json
import pickle

import numpy as np
import pandas as pd
import pytest
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from site_items import check_leaves_the_item_alone, refuse

from fairpool.data.scan import joins
from fairpool.errors import DataError
from fairpool.transforms import SiteFromTabled

ROWS = [("007", "Bern"), ("008", "Basel"), ("010", ""), ("meier", "Zug")]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "meier.csv"
    path.write_text("patient,hospital\n" + "".join(f"{patient},{site}\n" for patient, site in ROWS), encoding="utf-8")
    return path


def attach(table, **options):
    return SiteFromTabled(**{"table": table, "on": "patient", "site_column": "hospital"} | options)


def write(path, header, *rows):
    with path.open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([header, *rows])
    return path


def test_join_agrees_with_a_loop_over_the_rows(tmp_path):
    random = np.random.default_rng(0)
    rows = [(f"p{number:04d}", f"site {random.integers(5)}") for number in range(500)]
    path = write(tmp_path / "t.csv", ["patient", "hospital"], *rows)
    transform = attach(path, missing="unknown")
    for number in random.integers(0, 600, 200):
        wanted, found = f"p{number:04d}", "unknown"
        for patient, site in rows:
            if patient == wanted:
                found = site
        assert transform({"image": "a.png", "patient": wanted})["site"] == found


@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "json"])
def test_every_kind_of_table_is_joined(tmp_path, ending):
    frame, path = pd.DataFrame(ROWS[:2], columns=["patient", "hospital"]), tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    elif ending == "json":
        path.write_text(pd.Series({"training": frame.to_dict("records")}).to_json(), encoding="utf-8")
    else:
        frame.to_csv(path, sep="\t" if ending == "tsv" else ",", index=False)
    check_leaves_the_item_alone(attach(path), {"image": "a.png", "patient": "008"}, "Basel")


def test_numbers_are_compared_as_text_and_leading_zeros_count(tmp_path):
    path = write(tmp_path / "t.csv", ["patient", "hospital"], (7, "Bern"), ("007", "Basel"))
    for patient, site in ((7, "Bern"), (np.int64(7), "Bern"), ("7", "Bern"), (" 007 ", "Basel")):
        assert attach(path)({"image": "a.png", "patient": patient})["site"] == site


@pytest.mark.parametrize(
    ("key_from", "key", "image"),
    [
        ("name", "scan.nii.gz", "/data/bern/scan.nii.gz"),
        ("name", "scan", "/data/bern/scan.nii.gz"),
        ("stem", "scan", "/data/bern/scan.nii"),
        ("stem", "1.2.840", "/data/1.2.840.dcm"),
        ("path", "bern/scan.png", "/data/bern/scan.png"),
        ("path", r".\bern\scan.png", "/data/bern/scan.png"),
    ],
)
def test_files_are_found_by_name_stem_and_path(tmp_path, key_from, key, image):
    path = write(tmp_path / "t.csv", ["file", "hospital"], (key, "Bern"))
    transform = attach(path, on="file", key_from=key_from, root_dir="/data")
    assert transform({"image": image})["site"] == "Bern"


@pytest.mark.parametrize(("key_from", "given", "key"), [("patient", "sub-01", "01"), ("study", "ses-1", "1")])
def test_a_bare_number_stands_for_the_subject_and_the_session(tmp_path, key_from, given, key):
    transform = attach(write(tmp_path / "t.csv", ["id", "hospital"], (key, "Bern")), on="id", key_from=key_from)
    assert transform({"image": "a.png", key_from: given})["site"] == "Bern"
    other = attach(tmp_path / "t.csv", on="id", key_from="person", missing="none")
    assert other({"image": "a.png", "person": given})["site"] == "none"
    write(tmp_path / "u.csv", ["id", "hospital"], (key, "Bern"), (given, "Zug"))
    both = attach(tmp_path / "u.csv", on="id", key_from=key_from)
    assert "are one" in refuse(both, {"image": "a.png", key_from: given})


def test_item_called_path_is_preferred_to_the_images_own(tmp_path):
    path = write(tmp_path / "t.csv", ["file", "hospital"], ("bern/1.png", "Bern"))
    transform = attach(path, on="file", key_from="path", root_dir="/nowhere")
    assert transform({"image": "/data/x.png", "path": "bern/1.png"})["site"] == "Bern"


def test_key_without_a_row_and_row_without_a_site_are_missing(table):
    for patient in ("meierhans", "010"):
        item = {"image": "a.png", "patient": patient, "row": 41}
        message = refuse(attach(table), item, secrets=("meier", "010"))
        assert message.startswith(
            "row 41: the image has no site: no row of the table, or none with a site, has its patient"
        )
        assert attach(table, missing="unknown")(item)["site"] == "unknown"


def test_rows_that_agree_may_repeat_and_rows_that_differ_are_named(tmp_path):
    rows = [("meier", "Bern"), ("x", "Zug"), ("meier", "Bern")]
    assert attach(write(tmp_path / "t.csv", ["patient", "hospital"], *rows))({"image": "a", "patient": "meier"})
    for other in ("Basel", ""):
        path = write(tmp_path / "u.csv", ["patient", "hospital"], *rows, ("meier", other))
        message = refuse(attach(path), {"image": "a.png", "patient": "x", "row": 41})
        assert message.startswith('the table of sites gives one "patient" several values of "hospital" (')
        assert '(rows 1, 3, 4: "Bern", "' in message


def test_two_spellings_of_a_site_are_refused_or_joined(tmp_path):
    path = write(tmp_path / "t.csv", ["patient", "hospital"], ("1", "Bern"), ("2", "BERN "), ("1", "bern"))
    assert "normalize=True" in refuse(attach(path), {"image": "a.png", "patient": "1"})
    assert attach(path, normalize=True)({"image": "a.png", "patient": "2"})["site"] == "bern"
    aliases = {"Bern": ["BERN", "bern"]}
    assert attach(path, aliases=aliases)({"image": "a.png", "patient": "2"})["site"] == "Bern"


def test_confidential_names_stay_out_of_messages(tmp_path):
    key = tmp_path / "sites.key"
    spelt = write(tmp_path / "t.csv", ["patient", "hospital"], ("1", "Meierspital"), ("2", "MEIERSPITAL"))
    message = refuse(attach(spelt, pseudonymize=key), {"image": "a.png", "patient": "1"})
    assert "spells a site in several ways" in message
    differ = write(tmp_path / "u.csv", ["patient", "hospital"], ("1", "Meierspital"), ("1", "Meierhof"))
    assert refuse(attach(differ, pseudonymize=key), {"image": "a.png", "patient": "1"}).count('"site-') == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("id,hospital\n1,Bern\n", 'no column "patient"; it has id, hospital'),
        ("patient,site\n1,Bern\n", 'no column "hospital"; it has patient, site'),
        ("patient,hospital\n,Bern\n1,Zug\nNA,Zug\n", r'2 rows without "patient" \(rows 1, 3\)'),
        ("patient;hospital\n1;Bern\n", "not separated by commas"),
    ],
)
def test_table_that_cannot_be_joined_is_no_fault_of_the_item(tmp_path, content, words):
    (tmp_path / "t.csv").write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        attach(tmp_path / "t.csv")({"image": "a.png", "patient": "1", "row": 41})
    assert "41" not in str(caught.value)


def test_missing_table_is_told_without_its_folder(tmp_path):
    with pytest.raises(DataError, match="there is no") as caught:
        attach(tmp_path / "t.csv")({"image": "a.png", "patient": "1"})
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(TypeError, match="path of a table"):
        attach(pd.DataFrame())


def test_item_without_the_key_or_with_no_text_there_is_refused(table):
    with pytest.raises(KeyError, match='row 5: the item has no "patient"'):
        attach(table)({"image": "a.png", "row": 5})
    for value in (7.0, None, ["007"], True):
        assert "text or a whole number" in refuse(attach(table), {"image": "a.png", "patient": value}, kind=TypeError)


def test_table_is_read_once_on_first_use_and_not_pickled(table, monkeypatch):
    reads = []
    monkeypatch.setattr(joins, "read_table", lambda path, read=joins.read_table: reads.append(1) or read(path))
    transform = attach(table)
    assert not reads
    for _ in range(5):
        transform({"image": "a.png", "patient": "007"})
    assert len(reads) == 1
    assert b"Basel" not in pickle.dumps(transform)
    assert pickle.loads(pickle.dumps(transform))({"image": "a.png", "patient": "008"})["site"] == "Basel"


def test_worker_processes_join_and_a_bundle_config_builds_it(table):
    config = {
        "site": {
            "_target_": "fairpool.transforms.SiteFromTabled",
            "table": str(table),
            "on": "patient",
            "site_column": "hospital",
        }
    }
    transform = ConfigParser(config).get_parsed_content("site")
    items = [{"image": "a.png", "patient": patient} for patient in ("007", "008")] * 3
    (batch,) = DataLoader(Dataset(items, transform), batch_size=6, num_workers=2)
    assert batch["site"] == ["Bern", "Basel"] * 3


def test_item_does_not_grow_with_the_table(tmp_path):
    path = write(
        tmp_path / "t.csv", ["patient", "hospital"], *((str(number), f"s{number % 9}") for number in range(20000))
    )
    item = attach(path)({"image": "a.png", "patient": "7"})
    assert len(pickle.dumps(item)) < 200


def test_a_table_that_none_of_the_first_keys_is_in_is_told_once(tmp_path):
    path = write(tmp_path / "t.csv", ["patient", "hospital"], *((f"{number}.0", "Bern") for number in range(40)))
    transform = attach(path, missing="unknown")
    items = [{"image": "a.png", "patient": str(4711 + number // 2)} for number in range(80)]
    with pytest.warns(UserWarning, match="^none of the first 20 keys is in the table of sites, by patient") as caught:
        assert {transform(item)["site"] for item in items} == {"unknown"}
    assert len(caught) == 1
    assert "47" not in str(caught[0].message)


@pytest.mark.parametrize("ending", ["parquet", "json"])
def test_whole_numbers_that_pandas_made_floats_are_found(tmp_path, ending, recwarn):
    frame = pd.DataFrame({"patient": [7.0, 8.0], "hospital": ["Bern", "Basel"], "age": [0.5, None]})
    path = tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(path)
    else:
        path.write_text(json.dumps(frame.fillna(1.5).to_dict("records")))
        assert '"patient": 7.0' in path.read_text()
    transform = attach(path, missing="unknown")
    assert [transform({"image": "a.png", "patient": patient})["site"] for patient in (7, "8")] == ["Bern", "Basel"]
    for number in range(100, 140):  # one was found: the rest may well be of a hospital that the table lacks
        transform({"image": "a.png", "patient": number})
    assert not recwarn.list


def test_keys_that_were_looked_up_are_not_pickled(table):
    transform = attach(table, missing="unknown")
    transform({"image": "a.png", "patient": "meierhans"})
    assert b"meierhans" not in pickle.dumps(transform)
