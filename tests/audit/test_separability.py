"""How well classes are told apart: against scikit-learn's AUC, and on planted and absent differences."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from fairpool.audit.separability import measure_separability, stratified_auc

RNG = np.random.default_rng(0)
NAMES = ("site", "metadata")


def measure(features, target, *, patients=None, strata=None, kind="forest"):
    number = len(target)
    return measure_separability(
        pd.DataFrame(features),
        target,
        range(number) if patients is None else patients,
        [0] * number if strata is None else strata,
        names=NAMES,
        kind=kind,
    )


def test_the_auc_is_scikit_learns():
    scores, positive = np.round(RNG.random(200), 1), RNG.random(200) < 0.3
    assert stratified_auc(scores, positive, None) == pytest.approx(roc_auc_score(positive, scores))


def test_the_stratified_auc_counts_pairs_of_one_stratum_only():
    scores, positive, strata = np.round(RNG.random(120), 1), RNG.random(120) < 0.4, RNG.integers(0, 4, 120)
    wins = pairs = 0
    for i in range(120):
        for j in range(120):
            if positive[i] and not positive[j] and strata[i] == strata[j]:
                pairs += 1
                wins += 1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
    assert stratified_auc(scores, positive, strata) == pytest.approx(wins / pairs)


def test_no_pair_is_no_auc():
    assert np.isnan(stratified_auc(np.array([0.1, 0.2]), np.array([True, True]), None))
    assert np.isnan(stratified_auc(np.array([0.1, 0.2]), np.array([True, False]), [0, 1]))


@pytest.mark.parametrize("kind", ["forest", "linear"])
def test_a_planted_difference_is_found_and_none_is_near_chance(kind):
    target = ["a", "b", "c"] * 60
    noise = RNG.normal(size=(180, 4))
    planted = noise + 4 * np.eye(4)[np.arange(180) % 3]
    assert measure(planted, target, kind=kind).auc > 0.95
    assert 0.35 < measure(noise, target, kind=kind).auc < 0.65


def test_copies_of_patients_are_not_recognised_by_their_image():
    # Each patient has ten nearly equal images and a class of no meaning: parted patients would give an AUC of 1.
    patients = np.repeat(np.arange(40), 10)
    classes = RNG.permutation(np.arange(40) % 2)[patients]
    features = RNG.normal(size=(40, 5))[patients] + 0.01 * RNG.normal(size=(400, 5))
    assert measure(features, classes.tolist(), patients=patients).auc < 0.8


def test_among_equals_scores_of_two_folds_are_not_compared():
    # All but one image have one value, so each fold has one score: the share of "b" in the others, which is low where
    # the fold's own is high, as in those with one of the three large patients. Within a fold nothing is told.
    sizes = [60] * 3 + [1] * 27 + [5] * 30
    patients = np.repeat(np.arange(60), sizes)
    classes = np.where(patients < 30, "b", "a")
    column = np.where(np.arange(len(patients)) == len(patients) - 1, "rare", "usual")
    found = measure({"vendor": column}, classes.tolist(), patients=patients, kind="table")
    assert found.auc_within == pytest.approx(0.5, abs=0.02)


def test_text_and_missing_values_are_features():
    site = ["a", "b"] * 50
    table = {"vendor": [None if s == "a" else "GE" for s in site], "age": [np.nan] * 100}
    assert measure(table, site).auc == 1
    table = {"age": [np.nan if s == "a" else 50.0 + i % 7 for i, s in enumerate(site)]}
    assert measure(table, site).auc == 1


def test_small_classes_are_left_out_and_named():
    target = ["a"] * 40 + ["b"] * 40 + ["tiny"] * 9
    found = measure(RNG.normal(size=(89, 2)), target)
    assert (found.left_out, found.num_images) == (("tiny",), 80)


def test_many_images_do_not_make_many_patients():
    target = ["a"] * 40 + ["b"] * 40
    found = measure(RNG.normal(size=(80, 2)), target, patients=[n // 10 for n in range(80)])
    assert found.auc is None
    assert "10 patients" in found.note


def test_equal_features_tell_nothing():
    assert measure({"format": ["png"] * 60}, ["a", "b"] * 30).note == "every image has the same features"


def test_within_strata_only_the_rest_of_the_difference_counts():
    # The feature is the label, and the label goes with the site: within a label, the site cannot be told.
    site = np.repeat([0, 1], 150)
    label = np.where(RNG.random(300) < 0.9, site, 1 - site)
    found = measure({"label": label + 0.1 * RNG.normal(size=300)}, site.tolist(), strata=label.tolist())
    assert found.auc > 0.8
    assert found.auc_within < 0.65


def test_the_label_is_told_from_the_site_by_the_rates():
    site = pd.DataFrame({"site": np.repeat(["a", "b", "c"], 100).astype(object)})
    label = np.concatenate([np.arange(100) < share for share in (90, 50, 10)]).astype(int)
    found = measure_separability(site, label, range(300), site["site"], names=("label", "site"), kind="table")
    truth = roc_auc_score(label, np.repeat([0.9, 0.5, 0.1], 100))
    assert found.auc == pytest.approx(truth, abs=0.02)


def test_a_seed_gives_the_same_figures():
    features, target = RNG.normal(size=(80, 3)), ["a", "b"] * 40
    assert measure(features, target) == measure(features, target)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match='kind must be "forest"'):
        measure(RNG.normal(size=(80, 3)), ["a", "b"] * 40, kind="magic")
