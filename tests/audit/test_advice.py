"""Advice: which sentence comes when."""

import numpy as np
import pandas as pd
import pytest

from fairpool.audit.advice import advise, advise_on_images, prevalence_differs
from fairpool.audit.association import measure_association
from fairpool.audit.cells import count_cells
from fairpool.audit.separability import Separability, measure_separability


def advice(counts, *, separability=(), metadata=None, patients_named=True, scanners=None, **columns):
    rows = [(site, label) for site, numbers in counts.items() for label in (0, 1) for _ in range(numbers[label])]
    records = pd.DataFrame(rows, columns=["site", "label"]).assign(patient=range(len(rows)), scanner="")
    records = records.assign(**columns)
    associations = {"site x label": measure_association(records["site"], records["label"], records["patient"])}
    if (records["scanner"] != "").any():
        associations["site x scanner"] = measure_association(records["site"], records["scanner"], records["patient"])
    found = advise(
        records, count_cells(records), associations, separability, metadata or {}, patients_named=patients_named
    )
    return {sentence.code: sentence for sentence in found}


def told(target, features, auc, within, std=0.05):
    return Separability(target, features, auc=auc, auc_std=std, auc_folds=(auc,) * 5, auc_within=within)


CONFOUNDED, ALIKE = {"a": (90, 10), "b": (10, 90)}, {"a": (100, 100), "b": (100, 100)}


def test_one_site_and_one_label_are_stops():
    assert advice({"a": (10, 10)})["one_site"].level == "stop"
    assert advice({"a": (10, 0), "b": (10, 0)})["one_label"].level == "stop"


def test_perfect_confounding_is_a_stop():
    found = advice({"a": (30, 0), "b": (0, 30)})
    assert found["perfect_confounding"].level == "stop"
    assert next(iter(found)) == "perfect_confounding"


def test_prevalence_alike_or_different():
    found = advice(ALIKE)["prevalence_alike"]
    assert "the site is no shortcut" in found.text
    assert "do not exclude" not in found.text
    assert advice(CONFOUNDED)["prevalence_differs"].level == "risk"


def test_too_few_images_to_call_prevalence_alike_are_said():
    assert "do not exclude a difference" in advice({"a": (8, 8), "b": (8, 8)})["prevalence_alike"].text


def test_a_difference_by_chance_is_none():
    assert not prevalence_differs(measure_association(["a"] * 10 + ["b"] * 10, [0, 1] * 9 + [1, 1], range(20)))


@pytest.mark.parametrize(
    ("counts", "auc", "code", "level"),
    [
        (CONFOUNDED, 0.97, "shortcut_risk", "risk"),
        (ALIKE, 0.97, "site_told_from_images", "note"),
        (CONFOUNDED, 0.8, "site_told_in_part", "risk"),
        (ALIKE, 0.8, "site_told_in_part", "note"),
        (CONFOUNDED, 0.55, "site_hardly_told", "note"),
    ],
)
def test_what_the_images_tell(counts, auc, code, level):
    found = advice(counts, separability=[told("site", "thumbnails", 0.99, auc)])
    assert found[code].level == level
    assert f"{auc:.2f}" in found[code].text


def test_a_label_that_is_told_by_the_site_is_a_risk():
    found = advice(CONFOUNDED, separability=[told("label", "thumbnails", 0.9, 0.6)])
    assert "only 0.60 among images of one site" in found["label_told_by_site"].text
    assert "label_told_by_site" not in advice(CONFOUNDED, separability=[told("label", "thumbnails", 0.9, 0.85)])


@pytest.mark.parametrize(
    ("counts", "auc", "within", "std"),
    [
        (CONFOUNDED, 0.39, 0.25, 0.01),  # below chance, nothing is told
        (CONFOUNDED, 0.64, 0.45, 0.01),  # hardly told
        (CONFOUNDED, 0.75, 0.60, 0.20),  # within what the folds vary: 2 x 0.20 / sqrt(5) = 0.18
        (ALIKE, 0.90, 0.60, 0.05),  # the site does not tell the label
    ],
)
def test_a_drop_among_equals_that_may_be_noise_is_not_called_the_site(counts, auc, within, std):
    assert "label_told_by_site" not in advice(counts, separability=[told("label", "thumbnails", auc, within, std)])
    assert "label_told_by_site" in advice(CONFOUNDED, separability=[told("label", "thumbnails", 0.75, 0.6, 0.1)])


def test_pure_noise_is_not_said_to_tell_the_label_by_the_site():
    fired = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        site = np.repeat(["a", "b"], 30)
        label = (rng.random(60) < np.where(site == "a", 0.1, 0.9)).astype(int)
        noise = pd.DataFrame(rng.normal(size=(60, 5)), columns=list("abcde"))
        part = measure_separability(
            noise, label, range(60), site, names=("label", "metadata"), kind="forest", seed=seed
        )
        counts = {name: (int((label[site == name] == 0).sum()), int(label[site == name].sum())) for name in "ab"}
        fired += "label_told_by_site" in advice(counts, separability=[part])
    assert fired == 0


def test_metadata_that_tell_the_site_are_named_the_surest_first():
    found = advice(ALIKE, metadata={"age": 0.85, "view": 0.95, "sex": 0.6, "format": None})
    assert '"view" 0.95, "age" 0.85)' in found["metadata_tell_site"].text


def test_scanners_of_one_site_and_missing_ones_are_told():
    found = advice({"a": (10, 10), "b": (10, 10)}, scanner=["GE"] * 20 + ["Philips"] * 15 + [""] * 5)
    assert {"scanner_within_site", "scanner_missing"} <= set(found)
    assert "scanner_within_site" not in advice({"a": (5, 5), "b": (5, 5)}, scanner=["GE", "Philips"] * 10)


def test_patients_not_named_need_care():
    assert advice(ALIKE, patients_named=False)["patients_not_named"].level == "care"


def test_patients_at_two_sites_or_of_two_labels_are_counted():
    found = advice({"a": (1, 1), "b": (1, 1)}, patient=["p", "q", "p", "q"])
    assert "2 patients have images at several sites" in found["patients_at_several_sites"].text
    found = advice({"a": (1, 1), "b": (1, 1)}, patient=["p", "p", "q", "r"])
    assert "1 patients have images of both labels" in found["patients_with_both_labels"].text


def test_unreadable_images_need_care_where_a_site_loses_over_a_twentieth():
    sites = ["a"] * 100 + ["b"] * 10
    assert advise_on_images(sites, {0: "x"}, None)[0].level == "note"
    found = advise_on_images(sites, {0: "x", 105: "x"}, None)[0]
    assert (found.level, "b 1 (10 %), a 1 (1 %)" in found.text) == ("care", True)


def test_copies_are_told_by_where_they_are():
    none = {"all": 0, "across_sites": 0, "across_splits": 0, "across_labels": 0}
    counts = {"same_pixels": none | {"all": 5, "across_sites": 2, "across_labels": 1}, "near": none | {"all": 3}}
    found = {sentence.code: sentence for sentence in advise_on_images([], {}, counts)}
    assert list(found) == ["duplicates_across_labels", "duplicates_across_sites", "duplicates", "near_duplicates"]
    assert found["duplicates_across_labels"].level == "care"
    assert advise_on_images([], {}, {"same_pixels": none, "near": none}) == []
