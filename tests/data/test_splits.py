import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.data import split_by_patient
from fairpool.data.splits import SECTIONS, check_split
from fairpool.errors import DataError


def make_records(patients):
    """One or more images of each (site, label, number of images), patients numbered from 0."""
    rows = [
        {"patient": f"p{number}", "site": site, "label": label}
        for number, (site, label, images) in enumerate(patients)
        for _ in range(images)
    ]
    return pd.DataFrame(rows, columns=["patient", "site", "label"])


quick = settings(max_examples=50, deadline=None)
people = st.tuples(st.sampled_from("abcd"), st.integers(0, 1), st.integers(1, 3))
pools = st.lists(people, min_size=1, max_size=60).map(make_records)
foldable = st.lists(people, min_size=5, max_size=60).map(make_records)
seeds = st.integers(0, 1000)
fractions = st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.45])


def count_patients(records, sections):
    """Patients by (site, label) and section, by a loop."""
    section_of = dict(zip(records["patient"], sections, strict=True))
    counts = {}
    for patient, rows in records.groupby("patient"):
        cell = counts.setdefault((rows["site"].min(), rows["label"].max()), dict.fromkeys(SECTIONS, 0))
        cell[section_of[patient]] += 1
    return counts


@quick
@given(pools, seeds, fractions, fractions)
def test_no_patient_is_in_two_sections(records, seed, val_frac, test_frac):
    sections = split_by_patient(records, seed=seed, val_frac=val_frac, test_frac=test_frac)
    assert set(sections) <= set(SECTIONS)
    assert (sections.groupby(records["patient"]).nunique() == 1).all()


@quick
@given(pools, seeds, fractions, fractions)
def test_every_stratum_and_the_pool_have_their_fractions_within_one_patient(records, seed, val_frac, test_frac):
    counts = count_patients(records, split_by_patient(records, seed=seed, val_frac=val_frac, test_frac=test_frac))
    pool = {section: sum(cell[section] for cell in counts.values()) for section in SECTIONS}
    patients = sum(pool.values())
    assert abs(pool["test"] - test_frac * patients) <= 0.5
    assert abs(pool["validation"] - val_frac / (1 - test_frac) * (patients - pool["test"])) <= 0.5 + 1e-9
    for cell in counts.values():
        number = sum(cell.values())
        rest = number - cell["test"]
        assert abs(cell["test"] - pool["test"] / patients * number) < 1
        assert abs(cell["validation"] - pool["validation"] / max(patients - pool["test"], 1) * rest) < 1


@pytest.mark.parametrize("seed", range(20))
def test_many_tiny_strata_still_fill_every_section(seed):
    # Rounded stratum by stratum, 0.1 of 3 patients is none, and none of 60 patients would validate.
    records = make_records([(f"site{i}", label, 1) for i in range(10) for label in (0, 1) for _ in range(3)])
    counts = split_by_patient(records, seed=seed).value_counts()
    assert counts.to_dict() == {"training": 39, "test": 15, "validation": 6}


def test_tiny_site_is_tested_under_some_seeds_and_not_always_left_out():
    records = make_records([("big", 0, 1)] * 40 + [("tiny", 0, 1)])
    sections = [split_by_patient(records, seed=seed).iloc[-1] for seed in range(60)]
    assert set(sections) == set(SECTIONS)


@pytest.mark.parametrize(("number", "expected"), [(1, (1, 0, 0)), (2, (1, 0, 1)), (7, (4, 1, 2))])
def test_strata_of_one_two_and_seven_patients(number, expected):
    records = make_records([("a", 0, 1)] * number)
    sections = split_by_patient(records, seed=3)
    assert tuple((sections == section).sum() for section in SECTIONS) == expected


@quick
@given(foldable, seeds, st.sampled_from([0, 5]))
def test_same_seed_gives_the_same_split(records, seed, num_folds):
    first = split_by_patient(records, seed=seed, num_folds=num_folds)
    assert first.equals(split_by_patient(records.copy(), seed=seed, num_folds=num_folds))


@quick
@given(foldable, seeds, st.sampled_from([0, 5]), st.randoms(use_true_random=False))
def test_order_of_the_records_does_not_matter(records, seed, num_folds, random):
    rows = list(range(len(records)))
    random.shuffle(rows)
    shuffled = records.iloc[rows]
    sections = split_by_patient(records, seed=seed, num_folds=num_folds)
    assert split_by_patient(shuffled, seed=seed, num_folds=num_folds).equals(sections.iloc[rows])


def test_patient_of_two_sites_counts_once_whatever_the_order():
    records = pd.DataFrame({"patient": ["p", "p", *"abcdefg"], "site": ["x", "y", *"xxxxyyy"], "label": [0] * 9})
    sections = split_by_patient(records, seed=1)
    assert split_by_patient(records[::-1], seed=1)[::-1].equals(sections)
    assert sections[0] == sections[1]


def test_another_seed_gives_another_split():
    records = make_records([("a", 0, 1)] * 40)
    assert not split_by_patient(records, seed=0).equals(split_by_patient(records, seed=1))


def test_index_of_the_records_is_kept():
    records = make_records([("a", 0, 2), ("a", 1, 1)]).set_axis([7, 9, 11])
    assert split_by_patient(records).index.tolist() == [7, 9, 11]


@quick
@given(foldable, st.integers(0, 4), fractions.filter(lambda fraction: fraction < 0.4))
def test_five_seeds_of_five_folds_test_every_patient_exactly_once(records, draw, val_frac):
    tested = []
    for fold in range(5):
        sections = split_by_patient(records, seed=5 * draw + fold, num_folds=5, val_frac=val_frac)
        tested += records["patient"][sections == "test"].unique().tolist()
    assert sorted(tested) == sorted(records["patient"].unique())


@quick
@given(foldable, seeds)
def test_folds_take_a_fifth_of_every_stratum_within_one_patient(records, seed):
    counts = count_patients(records, split_by_patient(records, seed=seed, num_folds=5))
    for cell in counts.values():
        assert abs(cell["test"] - sum(cell.values()) / 5) < 1


def test_next_five_seeds_draw_other_folds():
    records = make_records([("a", 0, 1)] * 40)
    assert not split_by_patient(records, seed=0, num_folds=5).equals(split_by_patient(records, seed=5, num_folds=5))


@pytest.mark.parametrize(
    ("val_frac", "test_frac"), [(-0.1, 0.2), (0.1, -0.2), (1.0, 0.0), (0.0, 1.0), (0.5, 0.5), (float("nan"), 0.1)]
)
def test_fractions_that_leave_nobody_to_train_on_are_refused(val_frac, test_frac):
    with pytest.raises(ValueError, match="must leave patients to train on"):
        split_by_patient(make_records([("a", 0, 1)]), val_frac=val_frac, test_frac=test_frac)


@pytest.mark.parametrize("num_folds", [1, -5])
def test_one_fold_is_refused(num_folds):
    with pytest.raises(ValueError, match=f"at least 2, got {num_folds}"):
        split_by_patient(make_records([("a", 0, 1)]), num_folds=num_folds)


@pytest.mark.parametrize("num_folds", [9, 500])
def test_more_folds_than_patients_are_refused(num_folds):
    records = make_records([("a", 0, 3)] * 8)  # 24 images
    with pytest.raises(ValueError, match=f"num_folds is {num_folds}, but there are only 8 patients"):
        split_by_patient(records, num_folds=num_folds)
    assert (split_by_patient(records, num_folds=8) == "test").sum() == 3


@pytest.mark.parametrize("column", ["patient", "site", "label"])
def test_empty_cell_is_refused_and_not_dropped_silently(column):
    records = make_records([("a", 0, 1)] * 4).astype(object)
    records.loc[2, column] = None
    with pytest.raises(ValueError, match="1 of 4 records have no patient, site or label"):
        split_by_patient(records)


def test_no_records_give_no_sections():
    assert split_by_patient(make_records([])).empty


# --- a split that came with the records


def make_sections(rows):
    return pd.DataFrame(rows, columns=["patient", "section"], index=pd.RangeIndex(1, len(rows) + 1))


def test_a_split_without_shared_patients_passes():
    check_split(make_sections([("p", "training"), ("p", "training"), ("q", "validation"), ("r", "test")]))


def test_patients_in_two_sections_are_counted_by_pair_and_not_named():
    rows = [("meier", "training"), ("meier", "test"), ("huber", "test"), ("huber", "training"), ("frei", "validation")]
    with pytest.raises(DataError) as caught:
        check_split(make_sections([*rows, ("frei", "test"), ("kunz", "training")]))
    message = str(caught.value)
    assert "patients are in two sections: 2 in training and test, 1 in validation and test." in message
    assert "Split by patient" in message
    assert not any(name in message for name in ("meier", "huber", "frei"))


def test_a_section_of_another_name_is_refused_by_row():
    with pytest.raises(DataError, match=r"1 of 2 rows are in no section \(row 2\): .*found 'dev'"):
        check_split(make_sections([("p", "training"), ("q", "dev")]))
