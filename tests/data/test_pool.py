import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from fairpool.data import Pool, pool_manifest, pool_tuberculosis
from fairpool.errors import DataError

SECTIONS = ("training", "validation", "test")


def make_records(cells, start=1, folder=None):
    """Records from {(site, label): number}, one image a patient, each with pixels of its own if a folder is given."""
    rows = [
        {"image": f"{site}-{label}-{i}.png", "label": label, "site": site, "patient": f"{site}{label}{i}"}
        for (site, label), number in cells.items()
        for i in range(start, start + number)
    ]
    records = pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1))
    records["row"] = records.index
    if folder is not None:
        folder.mkdir(exist_ok=True)
        records["image"] = [str(folder / name) for name in records["image"]]
        for number, image in enumerate(records["image"]):
            save_image(image, 1000 * start + number)
    return records


def save_image(path, seed):
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8), dtype=np.uint8)).save(path)


CELLS = {("a", 0): 8, ("a", 1): 8, ("b", 0): 8, ("b", 1): 8}


@pytest.fixture
def records(tmp_path):
    return make_records(CELLS, folder=tmp_path / "pool")


def change(records, row, **cells):
    records = records.copy()
    for column, value in cells.items():
        records.loc[row, column] = value
    return records


def rows_by_section(records, **split):
    """Row numbers of each section, to plant a fault in one."""
    pool = Pool(records, **split)
    return {section: [item["row"] for item in pool.section(section)] for section in SECTIONS}


# --- sections and counts


def test_sections_hold_every_record_once_and_no_patient_twice():
    pool = Pool(make_records(CELLS), seed=3)
    items = {section: pool.section(section) for section in SECTIONS}
    assert {section: len(found) for section, found in items.items()} == {"training": 21, "validation": 3, "test": 8}
    assert sorted(item["row"] for found in items.values() for item in found) == list(range(1, 33))
    assert len({item["patient"] for found in items.values() for item in found}) == 32


def test_items_carry_the_site_as_an_id_and_no_name_of_a_patient():
    item = Pool(make_records(CELLS)).section("training")[-1]
    assert (item["site"], item["site_name"]) == (1, "b")
    assert isinstance(item["patient"], int)


def test_unknown_section_is_refused():
    with pytest.raises(ValueError, match="one of training, validation, test; got 'train'"):
        Pool(make_records(CELLS)).section("train")


@settings(max_examples=40, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from("abc"), st.integers(0, 1)), st.integers(1, 9), min_size=4, max_size=6
    ).filter(lambda cells: all(sum(1 for _, label in cells if label == wanted) >= 2 for wanted in (0, 1))),
    st.integers(0, 9),
)
def test_cell_counts_equal_a_crosstab_of_the_training_section(cells, seed):
    try:
        pool = Pool(make_records(cells), seed=seed, val_frac=0.2, test_frac=0.3)
    except DataError:
        return
    training = pool.records[pool.records["section"] == "training"]
    table = pd.crosstab(training["label"], training["site"])
    table = table.reindex(index=[0, 1], columns=pool.vocabulary.names, fill_value=0)
    counts = pool.cell_counts()
    assert counts.dtype == torch.int64
    assert counts.tolist() == table.to_numpy().tolist()


def test_five_folds_test_every_record_once():
    records = make_records(CELLS)
    tested = [item["row"] for seed in range(5) for item in Pool(records, seed=seed, num_folds=5).section("test")]
    assert sorted(tested) == list(range(1, 33))


def test_empty_section_is_refused_with_the_fractions():
    with pytest.raises(DataError, match=r"the validation section is empty: 32 patients .* val_frac 0\.01"):
        Pool(make_records(CELLS), val_frac=0.01)
    with pytest.raises(DataError, match="the test section is empty"):
        Pool(make_records(CELLS), test_frac=0)


# --- a separate test set


def test_sites_of_the_test_set_alone_get_ids_after_the_pools_own():
    outside = make_records({("aarau", 0): 2, ("aarau", 1): 2, ("b", 1): 3}, start=100)
    pool = Pool(make_records(CELLS), outside)
    assert pool.vocabulary.names == ("a", "b")
    assert pool.all_sites.names == ("a", "b", "aarau")
    assert sorted(item["site"] for item in pool.section("test")) == [1, 1, 1, 2, 2, 2, 2]
    assert pool.cell_counts().shape == (2, 2)
    assert len(pool.section("training")) + len(pool.section("validation")) == 32
    assert 'site "aarau" is only in the test set (4 images)' in pool.notes()


def test_patients_in_both_tables_are_refused_by_number_and_not_by_name():
    with pytest.raises(DataError, match="2 patients are in both the pool and the test set") as caught:
        Pool(make_records(CELLS), make_records({("b", 1): 2, ("c", 0): 2}))
    assert "b11" not in str(caught.value)


def test_folds_and_a_separate_test_set_exclude_each_other():
    with pytest.raises(ValueError, match="num_folds has no meaning with a separate test set"):
        Pool(make_records(CELLS), make_records({("b", 1): 2}, start=100), num_folds=5)


def test_site_that_the_test_set_spells_differently_is_refused():
    with pytest.raises(DataError, match=r'spells 1 site.*"a" \(16\), "A" \(2\)'):
        Pool(make_records(CELLS), make_records({("A", 1): 2}, start=100))


@pytest.mark.parametrize(("column", "value"), [("label", -1), ("label", 2), ("site", ""), ("site", None)])
def test_bad_cell_is_refused_in_either_table(column, value):
    records, outside = make_records(CELLS), make_records({("b", 1): 2}, start=100)
    with pytest.raises(DataError, match=r"\(row 2\)"):
        Pool(change(records, 2, **{column: value}))
    with pytest.raises(DataError, match=r"\(row 2\)"):
        Pool(records, change(outside, 2, **{column: value}))


def test_unseen_sites_may_be_one_unknown_group_that_enters_no_rate():
    outside = make_records({("aarau", 0): 2, ("chur", 1): 1, ("b", 1): 3}, start=100)
    pool = Pool(make_records(CELLS), outside, unknown="keep")
    assert pool.all_sites == pool.vocabulary
    assert sorted(item["site"] for item in pool.section("test")) == [-1, -1, -1, 1, 1, 1]
    assert pool.notes() == [
        "3 test images are of sites that the training never saw (aarau 2, chur 1): they count as unknown, in no rate "
        "and no constraint"
    ]


def test_images_of_unknown_site_are_trained_on_and_in_no_rate():
    records = make_records(CELLS | {("unknown", 0): 8, ("unknown", 1): 8})
    outside = make_records({("unknown", 0): 2, ("b", 1): 3}, start=100)
    pool = Pool(records, outside)
    assert pool.vocabulary.names == pool.all_sites.names == ("a", "b")
    training = pool.section("training")
    assert {item["site"] for item in training if item["site_name"] == "unknown"} == {-1}
    assert pool.cell_counts().sum() == sum(item["site"] >= 0 for item in training)
    assert pool.notes() == ['18 images are of site "unknown": in no rate and no constraint, else used']


def test_one_known_site_beside_unknown_ones_is_refused():
    with pytest.raises(DataError, match='found only "a"'):
        Pool(make_records({("a", 0): 8, ("a", 1): 8, ("unknown", 0): 8, ("unknown", 1): 8}))


def test_unseen_sites_may_be_refused_by_row_and_vocabulary():
    outside = make_records({("b", 1): 2, ("chur", 1): 1}, start=100)
    with pytest.raises(ValueError, match=r'site "chur" in row 3 of the test table is not among .* \(a, b\)'):
        Pool(make_records(CELLS), outside, unknown="raise")
    assert len(Pool(make_records(CELLS), outside[:2], unknown="raise").section("test")) == 2


def test_another_word_for_unknown_sites_is_refused():
    with pytest.raises(ValueError, match="unknown must be one of name, keep, raise; got 'ignore'"):
        Pool(make_records(CELLS), unknown="ignore")


# --- a split of the records' own


def with_sections(records, **sections):
    """Every fourth record validates, every fourth tests; ``sections`` sets rows, as r7="test"."""
    words = ["training", "training", "validation", "test"]
    records = records.assign(section=[words[i % 4] for i in range(len(records))])
    for row, section in sections.items():
        records.loc[int(row[1:]), "section"] = section
    return records


def test_records_with_sections_are_split_so_whatever_the_seed():
    records = with_sections(make_records(CELLS))
    for seed in (0, 1):
        pool = Pool(records, seed=seed)
        assert [item["row"] for item in pool.section("test")] == list(range(4, 33, 4))
        assert pool.records["section"].tolist() == records["section"].tolist()


def test_a_patient_in_two_sections_is_refused():
    records = change(with_sections(make_records(CELLS)), 2, patient="a01")
    Pool(records)  # rows 1 and 2 both train
    with pytest.raises(DataError, match=r"patients are in two sections: 1 in training and test\. Split by patient"):
        Pool(change(records, 2, section="test"))


def test_a_site_without_a_training_image_is_noted_and_counts_nothing():
    records = with_sections(
        make_records(CELLS | {("c", 0): 2, ("c", 1): 2}), r33="test", r34="test", r35="test", r36="test"
    )
    pool = Pool(records)
    assert pool.cell_counts()[:, 2].tolist() == [0, 0]
    assert pool.notes() == ['site "c" has no training image (0 of 4): no constraint reaches it']


def test_the_split_of_the_records_is_part_of_the_fingerprint(records):
    first = with_sections(records)
    assert Pool(first).fingerprint() == Pool(first, seed=5).fingerprint()
    assert Pool(first).fingerprint() != Pool(change(first, 1, section="test")).fingerprint()


def test_a_split_of_the_records_excludes_folds_and_a_second_table(tmp_path):
    records = with_sections(make_records(CELLS))
    with pytest.raises(ValueError, match="num_folds has no meaning"):
        Pool(records, num_folds=5)
    with pytest.raises(ValueError, match="give no second table"):
        Pool(records, make_records({("b", 1): 2}, start=100))
    with pytest.raises(ValueError, match="a split column has a test section of its own"):
        pool_manifest("a.csv", "b.csv", columns={"split_column": "split"})


# --- what is refused and what is noted


def test_records_of_an_ignored_label_are_dropped_and_counted_by_site():
    records = change(change(make_records(CELLS), 1, label=-1), 20, label=-1)
    outside = change(make_records({("b", 1): 3}, start=100), 2, label=-1)
    pool = Pool(records, outside, ignore_label=-1)
    assert len(pool.records) == 32
    assert pool.notes() == [
        "2 of 32 rows are left out for the label -1 (a 1, b 1)",
        "1 of 3 rows are left out for the label -1 (b 1)",
    ]
    with pytest.raises(DataError, match=r"label other than 0 and 1 \(rows 1, 20\): -1"):
        Pool(records)


def test_one_site_after_the_ignored_labels_is_refused():
    records = make_records({("a", 0): 8, ("a", 1): 8, ("b", -1): 8})
    with pytest.raises(DataError, match=r'found only "a" \(16 rows\)'):
        Pool(records, ignore_label=-1)


def test_more_sites_than_1000_need_max_groups():
    cells = {(f"s{i:04d}", label): 1 for i in range(1001) for label in (0, 1)}
    with pytest.raises(DataError, match=r'"site" has 1,001 values over 2,002 rows\. Is it the right column'):
        Pool(make_records(cells))
    assert len(Pool(make_records(cells), max_groups=1001).vocabulary) == 1001


@pytest.mark.parametrize(
    ("cells", "gist"),
    [
        ({("a", 0): 9, ("a", 1): 9}, 'found only "a"'),
        ({("a", 1): 9, ("b", 1): 9}, "has label 1: there is nothing to tell apart"),
        ({("a", 0): 9, ("b", 1): 9}, "Such data cannot tell the site from the disease"),
    ],
)
def test_pool_that_supports_no_comparison_is_refused(cells, gist):
    with pytest.raises(DataError, match=gist):
        Pool(make_records(cells))


def test_notes_name_the_sites_that_lack_a_label():
    assert Pool(make_records(CELLS)).notes() == []
    notes = Pool(make_records(CELLS | {("c", 1): 6})).notes()
    assert notes == ['at site "c" every case is positive (6 of 6): errors of the other label cannot be compared there']


# --- the fingerprint


def test_fingerprint_depends_on_the_data_and_not_on_split_or_place(records, tmp_path):
    first = Pool(records).fingerprint()
    assert len(first) == 16
    for split in ({"seed": 1}, {"num_folds": 5}, {"val_frac": 0.2, "test_frac": 0.4}):
        assert Pool(records, **split).fingerprint() == first
    assert Pool(make_records(CELLS, folder=tmp_path / "moved")).fingerprint() == first
    renamed = records.assign(patient="x" + records["patient"])
    assert Pool(renamed).fingerprint() == first  # the same patients under other pseudonyms


def test_fingerprint_changes_with_a_label_a_site_a_patient_a_name_and_a_size(records, tmp_path):
    found = {Pool(records).fingerprint()}
    found.add(Pool(change(records, 1, label=1)).fingerprint())
    found.add(Pool(change(records, 1, site="b")).fingerprint())
    found.add(Pool(change(records, 1, patient=records["patient"][2])).fingerprint())
    found.add(Pool(records[1:]).fingerprint())
    (tmp_path / "pool" / "other.png").write_bytes((tmp_path / "pool" / "a-0-1.png").read_bytes())
    found.add(Pool(change(records, 1, image=str(tmp_path / "pool" / "other.png"))).fingerprint())
    with (tmp_path / "pool" / "a-0-1.png").open("ab") as file:
        file.write(b"\0")
    found.add(Pool(records).fingerprint())
    assert len(found) == 7


# --- reading every image beforehand


def test_sound_images_give_no_sentences(records, tmp_path):
    seen = []
    found = Pool(records).prepare(4, tmp_path / "cache", progress=lambda done, total: seen.append((done, total)))
    assert found == []
    assert seen[-1] == (32, 32)
    assert len(list((tmp_path / "cache").iterdir())) == 32


def test_bad_images_are_listed_together_by_row_and_site(records, tmp_path):
    outside = make_records({("b", 1): 2, ("c", 0): 2}, start=100, folder=tmp_path / "outside")
    for image, content in ((records["image"][3], b""), (records["image"][20], b"<html>"), (outside["image"][4], b"x")):
        with open(image, "wb") as file:
            file.write(content)
    with pytest.raises(DataError, match="3 of 36 images cannot be used") as caught:
        Pool(records, outside).prepare(4, None)
    message = str(caught.value)
    assert "row 3 (a): not an image" in message
    assert "row 20 (b): not an image" in message
    assert "row 4 of the test table (c): unsupported format" in message
    assert str(tmp_path) not in message


def test_conversions_are_counted_by_site(records):
    for row in (1, 2, 30):
        Image.fromarray(np.random.default_rng(row).integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            records["image"][row]
        )
    assert Pool(records).prepare(4, None) == ['2 images of site "a": colour', '1 images of site "b": colour']


def test_constant_images_are_listed_by_site_and_are_no_copies_of_each_other(records, tmp_path):
    by_site = [records.index[records["site"] == site][0] for site in ("a", "b")]
    for row in (*by_site, records.index[-1]):  # black, white, and black again at the second site
        level = 255 if row == by_site[1] else 0
        Image.new("L", (8, 8), level).save(records.loc[row, "image"])
    notes = Pool(records).prepare(8, cache_dir=tmp_path / "cache")
    assert notes == ['1 images of site "a": constant', '2 images of site "b": constant']


def copy_image(records, source, target):
    """The same pixels in another file, compressed differently, so that the bytes differ."""
    Image.open(records["image"][source]).save(records["image"][target], compress_level=0)


def test_equal_pixels_in_two_sections_are_refused_by_row(records):
    sections = rows_by_section(records)
    first = next(row for row in sections["training"] if records["label"][row] == 1)
    second = next(row for row in sections["test"] if records["label"][row] == 1)
    copy_image(records, first, second)
    rows = ", ".join(str(row) for row in sorted((first, second)))
    with pytest.raises(DataError, match=rf"1 image occurs in two sections with the same pixels \(rows {rows}\)"):
        Pool(records).prepare(4, None)


def test_equal_pixels_with_two_labels_are_refused_even_in_one_section(records):
    training = rows_by_section(records)["training"]
    first = next(row for row in training if records["label"][row] == 0)
    second = next(row for row in training if records["label"][row] == 1)
    copy_image(records, first, second)
    with pytest.raises(DataError, match=r"1 image occurs with two labels with the same pixels .*Drop the copies"):
        Pool(records).prepare(4, None)


def test_equal_pixels_at_two_sites_are_reported_with_rows_and_sites(records):
    training = [row for row in rows_by_section(records)["training"] if records["label"][row] == 1]
    first = next(row for row in training if records["site"][row] == "a")
    second = next(row for row in training if records["site"][row] == "b")
    copy_image(records, first, second)
    assert Pool(records).prepare(4, None) == [
        f"1 image occurs at two sites with the same pixels: rows {first} (a), {second} (b)"
    ]


def test_equal_pixels_in_the_test_table_are_refused(records, tmp_path):
    outside = make_records({("b", 1): 2}, start=100, folder=tmp_path / "outside")
    row = int(records.index[records["label"] == 1][0])
    Image.open(records["image"][row]).save(outside["image"][2])
    with pytest.raises(DataError, match=f"rows {row}, 2 of the test table"):
        Pool(records, outside).prepare(4, None)


# --- from trees and tables


def write_tree(root, numbers):
    """The publisher's layout with an image of noise for each number and site, odd numbers with tuberculosis."""
    for folder, prefix in (("MontgomerySet", "MCUCXR"), ("ChinaSet_AllFiles", "CHNCXR")):
        (root / folder / "CXR_png").mkdir(parents=True)
        for number in numbers:
            name = f"{prefix}_{number:04d}_{number % 2}.png"
            save_image(root / folder / "CXR_png" / name, [len(folder), number])
    return root


def test_tree_is_pooled_and_a_second_tree_tests(tmp_path):
    trees = write_tree(tmp_path / "pool", range(1, 13)), write_tree(tmp_path / "test", range(900, 902))
    pool = pool_tuberculosis(*trees, val_frac=0.25)
    assert [len(pool.section(section)) for section in SECTIONS] == [18, 6, 4]
    assert pool.vocabulary.names == ("montgomery", "shenzhen")
    assert pool.prepare(4, None) == []
    with pytest.raises(DataError, match="24 patients are in both the pool and the test set"):
        pool_tuberculosis(trees[0], trees[0])


def write_table(path, records):
    table = records.assign(image=[image.rsplit("/", 1)[-1] for image in records["image"]])
    table.drop(columns="row").to_csv(path, index=False)
    return path


def test_table_is_pooled_and_a_second_table_tests(records, tmp_path):
    outside = make_records({("c", 0): 3, ("c", 1): 3}, start=100, folder=tmp_path / "outside")
    tables = write_table(tmp_path / "pool" / "t.csv", records), write_table(tmp_path / "outside" / "t.csv", outside)
    pool = pool_manifest(*tables, columns={"patient_column": "patient"}, seed=2)
    assert pool.all_sites.names == ("a", "b", "c")
    assert len(pool.section("test")) == 6


def test_images_of_two_tables_without_patients_are_not_taken_for_one_patient(records, tmp_path):
    table = write_table(tmp_path / "pool" / "t.csv", records)
    nameless = write_table(tmp_path / "pool" / "u.csv", records.drop(columns="patient"))
    pool = pool_manifest(nameless, nameless)
    assert len({item["patient"] for section in SECTIONS for item in pool.section(section)}) == 64
    assert len(pool_manifest(nameless, table).section("test")) == 32
    with pytest.raises(DataError, match="32 patients are in both"):
        pool_manifest(table, table, columns={"patient_column": "patient"})


def test_what_a_table_joined_and_left_out_is_noted(records, tmp_path):
    outside = change(make_records({("c", 0): 3, ("c", 1): 3}, start=100, folder=tmp_path / "outside"), 1, site="C")
    pool = change(records, 3, label=-1)
    tables = write_table(tmp_path / "pool" / "t.csv", pool), write_table(tmp_path / "outside" / "t.csv", outside)
    notes = pool_manifest(*tables, columns={"normalize": True, "ignore_label": "-1"}).notes()
    assert notes == [
        '1 of 32 rows are left out for the label -1 in "label" (a 1)',
        'test table: "c" joins "C" (1), "c" (5)',
        'site "c" is only in the test set (6 images)',
    ]


def test_a_split_column_of_a_table_is_used(records, tmp_path):
    table = write_table(tmp_path / "pool" / "t.csv", with_sections(records))
    pool = pool_manifest(table, columns={"split_column": "section"})
    assert [len(pool.section(section)) for section in SECTIONS] == [16, 8, 8]


def test_root_holds_the_images_of_both_tables(records, tmp_path):
    make_records({("c", 0): 3}, start=100, folder=tmp_path / "pool")
    outside = make_records({("c", 0): 3}, start=100)
    (tmp_path / "tables").mkdir()
    tables = write_table(tmp_path / "tables" / "t.csv", records), write_table(tmp_path / "tables" / "u.csv", outside)
    pool = pool_manifest(*tables, root_dir=tmp_path / "pool", columns={"patient_column": "patient"})
    assert len(pool.section("test")) == 3
