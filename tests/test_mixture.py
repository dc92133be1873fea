"""Mixtures of runs in a real MLflow store against plain loops over the stored predictions."""

from collections import Counter
from itertools import count
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from stored_runs import SITES, predictions, rates, write_run

from fairpool.errors import DataError
from fairpool.mixture import fair_mixture
from fairpool.posterior import NoFairMixtureError

_numbers = count()

# Wrong decisions of ten: the first misses more at Basel, the second at Bern, the third is even and bad.
LEAN_BASEL = {("validation", 0, 1): 4, ("validation", 1, 1): 1, ("test", 0, 1): 5, ("test", 1, 0): 2}
LEAN_BERN = {("validation", 1, 1): 2, ("validation", 0, 0): 2, ("test", 1, 1): 3, ("test", 0, 0): 1}
EVEN = {("validation", 0, 1): 5, ("validation", 1, 1): 5, ("test", 0, 1): 4, ("test", 1, 1): 4}


@pytest.fixture
def experiment(store, tmp_path):
    """A new experiment: ``add(wrong, name=...)`` writes a run, ``mix(...)`` solves."""
    name = f"mixture-{next(_numbers)}"
    experiment_id = store.client.create_experiment(name, artifact_location=(tmp_path / "artifacts").as_uri())

    def add(wrong, *, name, table=..., **options):
        shape = {key: options.pop(key) for key in ("cases", "split_seed") if key in options}
        shape |= {"sites": options["sites"]} if "sites" in options else {}
        if "split_seed" in shape:
            shape["seed"] = shape.pop("split_seed")
        table = predictions(wrong, **shape) if table is ... else table
        return write_run(store.client, experiment_id, table, tmp_path, name=name, **options)

    def mix(**options):
        return fair_mixture(name, tracking_uri=store.uri, **options)

    return SimpleNamespace(name=name, id=experiment_id, add=add, mix=mix)


def three(experiment):
    wrongs = {"lean-basel": LEAN_BASEL, "lean-bern": LEAN_BERN, "even": EVEN}
    return wrongs, {name: experiment.add(wrong, name=name) for name, wrong in wrongs.items()}


def test_weights_cancel_the_gaps_of_two_runs(experiment):
    three(experiment)
    found = experiment.mix()
    weights = dict(zip(found.runs["run_name"], found.runs["weight"], strict=True))
    # Gaps are +0.3 and -0.2, validation errors 5/40 and 4/40; the even run's is 10/40.
    assert weights == pytest.approx({"lean-basel": 0.4, "lean-bern": 0.6, "even": 0.0})
    assert found.comparison.loc["mixture", "val/error"] == pytest.approx(0.4 * 5 / 40 + 0.6 * 4 / 40)
    assert found.comparison.loc["mixture", "val/deo"] == pytest.approx(0, abs=1e-12)
    assert found.multipliers == pytest.approx({"fnr/basel": (4 / 40 - 5 / 40) / 0.5})
    assert found.is_fair
    assert found.constraint == "equal_opportunity"
    assert found.runs["val/gap/fnr/basel"].tolist() == pytest.approx([0.3, -0.2, 0])


def test_a_network_that_finds_no_positive_is_no_nvp_choice_and_is_named_where_it_is_drawn(experiment):
    silent = {(split, site, 1): 10 for split in ("validation", "test") for site in (0, 1)}
    experiment.add(silent, name="silent")
    alone = experiment.mix()
    assert list(alone.comparison.index) == ["mixture", "lowest_error"]
    assert "silent, which is drawn, misses every positive at every site in the validation." in alone.notes
    assert any("no NVP choice" in note and "misses every positive" in note for note in alone.notes)
    run = experiment.add({("validation", 0, 1): 6, ("validation", 1, 1): 5, ("validation", 1, 0): 9}, name="useful")
    # The silent one has the smaller gap, 0 against 0.1, and both are accurate enough: error 0.5.
    assert experiment.mix(within=0.5, closest=True).comparison.loc["nvp", "run_id"] == run


def test_test_figures_are_the_expectation_over_the_draw(experiment):
    wrongs, _ = three(experiment)
    found = experiment.mix()
    expected = rates([predictions(wrong) for wrong in wrongs.values()], found.runs["weight"].tolist())
    mixture = found.comparison.loc["mixture"]
    for section, split in (("val", "validation"), ("test", "test")):
        assert mixture[f"{section}/error"] == pytest.approx(expected["error", split, None])
        for rate in ("fnr", "fpr", "error"):
            by_site = [expected[rate, split, site] for site in SITES]
            for site, value in zip(SITES, by_site, strict=True):
                assert mixture[f"{section}/{rate}/{site.lower()}"] == pytest.approx(value)
            gap = {"fnr": "deo", "fpr": "fpr_gap", "error": "ddp"}[rate]
            assert mixture[f"{section}/{gap}"] == pytest.approx(abs(by_site[0] - by_site[1]))


def test_single_runs_beside_the_mixture_are_chosen_by_validation(experiment):
    _, ids = three(experiment)
    table = experiment.mix().comparison
    assert table.loc["lowest_error", "run_id"] == ids["lean-bern"]
    # Accuracies 0.875, 0.9 and 0.75: the even run, whose DEO is 0, is below 0.9 * 0.9.
    assert table.loc["nvp", "run_id"] == ids["lean-bern"]
    assert table.loc["lowest_error", "test/error"] == pytest.approx(4 / 40)
    assert experiment.mix(within=0.5).comparison.loc["nvp", "run_id"] == ids["even"]


@pytest.mark.parametrize(
    ("constraint", "rate", "figure"),
    [("predictive_equality", "fpr", "fpr_gap"), ("error_rate_parity", "error", "ddp")],
)
def test_the_constraint_of_the_runs_says_which_rate_is_evened(experiment, constraint, rate, figure):
    wrong = [{("validation", 0, 0): 3}, {("validation", 1, 0): 1, ("validation", 1, 1): 1}, {("validation", 1, 0): 2}]
    for number, one in enumerate(wrong):
        experiment.add(one, name=f"run-{number}", constraint=constraint)
    found = experiment.mix()
    assert found.comparison.loc["mixture", f"val/{figure}"] == pytest.approx(0, abs=1e-12)
    assert f"val/gap/{rate}/basel" in found.runs
    expected = rates([predictions(one) for one in wrong], found.runs["weight"].tolist())
    assert expected[rate, "validation", "Basel"] == pytest.approx(expected[rate, "validation", "Bern"])


def test_selection_rates_can_be_evened_as_well(experiment):
    for number, wrong in enumerate([{("validation", 0, 0): 3}, {("validation", 0, 1): 2}]):
        experiment.add(wrong, name=f"run-{number}")
    found = experiment.mix(constraint="demographic_parity")
    # Selection rates of Basel: 13/20 and 8/20 against Bern's 10/20: +0.15 and -0.1.
    assert found.runs["weight"].tolist() == pytest.approx([0.4, 0.6])


def test_equalized_odds_evens_both_rates_over_more_runs(experiment):
    # Gaps (FPR, FNR) in tenths: (3, 0), (-1, 2), (-1, -2), and a bad fair run.
    wrong = [
        {("validation", 0, 0): 3},
        {("validation", 1, 0): 1, ("validation", 0, 1): 2},
        {("validation", 1, 0): 1, ("validation", 1, 1): 2},
        {(split, site, label): 5 for split in ("validation",) for site in (0, 1) for label in (0, 1)},
    ]
    for number, one in enumerate(wrong):
        experiment.add(one, name=f"run-{number}", constraint="equalized_odds")
    found = experiment.mix()
    assert found.runs["weight"].tolist() == pytest.approx([0.25, 0.375, 0.375, 0])
    assert found.comparison.loc["mixture", ["val/deo", "val/fpr_gap"]].tolist() == pytest.approx([0, 0], abs=1e-9)
    assert set(found.multipliers) == {"fpr/basel", "fnr/basel"}


def test_three_sites_are_evened_each_against_the_others(experiment):
    sites = ("Basel", "Bern", "Genf")
    wrong = [{("validation", number, 1): 2 + number} for number in range(3)]
    for number, one in enumerate(wrong):
        experiment.add(one, name=f"run-{number}", sites=sites)
    found = experiment.mix()
    # Rates w0 * .2, w1 * .3, w2 * .4 agree for weights as 1/2 : 1/3 : 1/4.
    assert found.runs["weight"].tolist() == pytest.approx([6 / 13, 4 / 13, 3 / 13])
    assert found.comparison.loc["mixture", "val/deo"] == pytest.approx(0, abs=1e-9)
    assert list(found.multipliers) == ["fnr/basel", "fnr/bern", "fnr/genf"]


def test_a_site_without_a_case_of_the_event_enters_no_gap(experiment):
    sites = ("Basel", "Bern", "Genf")
    cases = {(split, site, label): 10 for split in ("validation", "test") for site in range(3) for label in (0, 1)}
    del cases["validation", 2, 1]
    for name, wrong in {"lean-basel": LEAN_BASEL, "lean-bern": LEAN_BERN}.items():
        experiment.add(wrong, name=name, sites=sites, cases=cases)
    found = experiment.mix()
    assert found.runs["weight"].tolist() == pytest.approx([0.4, 0.6])
    assert any("FNR rests on these validation cases: Basel 10, Bern 10, Genf 0" in note for note in found.notes)
    assert found.unconstrained == ("Genf is not constrained (0 validation cases of label 1)",)
    assert found.sites == {"basel": "Basel", "bern": "Bern", "genf": "Genf"}
    assert "test/fnr/genf" in found.comparison
    assert "val/fnr/genf" not in found.comparison
    even = experiment.mix(constraint="equalized_odds", closest=True)
    assert even.unconstrained == ("Genf is not constrained in its FNR (0 validation cases of label 1)",)


def test_a_rate_that_one_site_alone_has_is_compared_with_nobody(experiment):
    cases = {(split, site, label): 10 for split in ("validation", "test") for site in (0, 1) for label in (0, 1)}
    del cases["validation", 1, 1]
    experiment.add({}, name="one", cases=cases)
    assert experiment.mix(constraint="equalized_odds").unconstrained == (
        "Bern is not constrained in its FNR (0 validation cases of label 1)",
        "Basel is not constrained in its FNR (no site to compare it with)",
    )
    assert experiment.mix(constraint="predictive_equality").unconstrained == ()


def test_no_event_at_two_sites_is_refused(experiment):
    cases = {("validation", 0, 1): 3, ("validation", 1, 0): 3, ("test", 0, 1): 1}
    experiment.add({}, name="one", cases=cases)
    with pytest.raises(DataError, match='fewer than two sites have validation cases for "equal_opportunity"'):
        experiment.mix()


def test_runs_that_lean_one_way_are_refused_with_the_closest(experiment):
    experiment.add(LEAN_BASEL, name="lean-basel")
    closest = experiment.add({("validation", 0, 1): 2, ("validation", 0, 0): 4}, name="less")
    with pytest.raises(NoFairMixtureError) as raised:
        experiment.mix()
    assert f"The closest is 100 % less ({closest}), with a largest gap of 20.0 points" in str(raised.value)
    found = experiment.mix(closest=True)
    assert found.runs["weight"].tolist() == [0, 1]
    assert not found.is_fair
    assert found.multipliers == {}
    assert any("comes closest" in note for note in found.notes)


def test_runs_of_other_splits_are_refused_with_the_remedy(experiment):
    experiment.add(LEAN_BASEL, name="a-seed0")
    experiment.add(LEAN_BERN, name="b-seed0")
    experiment.add(LEAN_BERN, name="a-seed1", seed=1, split_seed=1)
    with pytest.raises(DataError) as raised:
        experiment.mix()
    assert "the validation cases and test cases differ between 2 runs of seed 0 in study abc; 1 run of seed 1" in str(
        raised.value
    )
    assert "--seed" in str(raised.value)
    assert experiment.mix(seed=0).runs["run_name"].tolist() == ["a-seed0", "b-seed0"]


def test_a_common_test_set_does_not_hide_other_validation_cases(experiment):
    other = predictions(LEAN_BERN, seed=1)
    other.loc[other["split"] == "test", ["row", "patient"]] -= 100_000
    experiment.add(LEAN_BASEL, name="a")
    experiment.add(None, name="b", table=other, seed=1)
    with pytest.raises(DataError, match="and the validation cases differ between"):
        experiment.mix()


def test_equal_rows_of_other_data_are_refused(experiment):
    experiment.add(LEAN_BASEL, name="a")
    experiment.add(LEAN_BERN, name="b", data="other", study="xyz")
    with pytest.raises(
        DataError, match="the data differ between 1 run of seed 0 in study abc; 1 run of seed 0 in study"
    ):
        experiment.mix()


def test_order_of_the_stored_rows_does_not_matter(experiment):
    experiment.add(LEAN_BASEL, name="a")
    experiment.add(None, name="b", table=predictions(LEAN_BERN).sample(frac=1, random_state=0))
    assert experiment.mix().runs["weight"].tolist() == pytest.approx([0.4, 0.6])


def test_runs_of_several_studies_over_the_same_cases_mix(experiment):
    experiment.add(LEAN_BASEL, name="a", study="one")
    experiment.add(LEAN_BERN, name="b", study="two", method="l2")
    assert experiment.mix().runs["study"].tolist() == ["one", "two"]
    for options in ({"study": "two"}, {"methods": ["l2"]}):
        found = experiment.mix(closest=True, **options)
        assert found.runs["run_name"].tolist() == ["b"]


def test_unfinished_runs_and_runs_without_predictions_take_no_part(experiment):
    three(experiment)
    experiment.add({}, name="failed", status="FAILED")
    experiment.add(None, name="bare", table=None)
    found = experiment.mix()
    assert found.runs["run_name"].tolist() == ["lean-basel", "lean-bern", "even"]
    assert "bare of study abc is left out: it stored no predictions.parquet." in found.notes


def test_runs_without_predictions_alone_are_refused(experiment):
    experiment.add(None, name="bare", table=None)
    with pytest.raises(DataError, match="none of 1 runs has stored its predictions"):
        experiment.mix()


def test_equal_runs_give_a_mixture_all_the_same(experiment):
    for name in ("a", "b"):
        experiment.add(LEAN_BASEL, name=name)
        experiment.add(LEAN_BERN, name=name + name)
    found = experiment.mix()
    assert found.runs["weight"].sum() == pytest.approx(1)
    assert found.comparison.loc["mixture", "val/deo"] == pytest.approx(0, abs=1e-12)


def test_mixed_constraints_must_be_decided(experiment):
    experiment.add(LEAN_BASEL, name="a")
    experiment.add(LEAN_BERN, name="b", constraint="predictive_equality")
    with pytest.raises(
        ValueError, match=r"different constraints \(equal_opportunity, predictive_equality\).*--constraint"
    ):
        experiment.mix()
    assert experiment.mix(constraint="equal_opportunity").is_fair


@pytest.mark.parametrize(
    ("constraint", "says"),
    [("predictive_parity", "not linear in a mixture"), ("nonsense", 'no mixture for the constraint "nonsense"')],
)
def test_constraints_without_a_linear_rate_are_refused(experiment, constraint, says):
    experiment.add(LEAN_BASEL, name="a")
    with pytest.raises(ValueError, match=says):
        experiment.mix(constraint=constraint)


def test_a_seed_that_no_run_has_is_refused_with_those_there_are(experiment):
    experiment.add(LEAN_BASEL, name="a")
    with pytest.raises(ValueError, match="no finished run has seed 7; there are the seeds 0"):
        experiment.mix(seed=7)


def test_an_empty_section_is_refused(experiment):
    table = predictions(LEAN_BASEL)
    experiment.add(None, name="a", table=table[table["split"] == "validation"])
    with pytest.raises(DataError, match=r"a of study abc: its predictions\.parquet has no test case"):
        experiment.mix()


def test_predictions_without_rows_are_refused(experiment):
    experiment.add(None, name="a", table=predictions(LEAN_BASEL).drop(columns="row"))
    with pytest.raises(DataError, match="no row and patient"):
        experiment.mix()


def test_predictions_that_are_no_numbers_are_refused_with_the_run(experiment):
    experiment.add(None, name="a", table=predictions(LEAN_BASEL).assign(probability=np.nan))
    with pytest.raises(DataError, match=r"a of study abc: .*no probability"):
        experiment.mix()


def test_a_missing_store_or_experiment_is_refused_and_not_made(store, tmp_path):
    with pytest.raises(ConnectionError, match="there is no MLflow store"):
        fair_mixture("p", tracking_uri=f"sqlite:///{tmp_path / 'no.db'}")
    assert not (tmp_path / "no.db").exists()
    with pytest.raises(ValueError, match='no experiment "no-such"'):
        fair_mixture("no-such", tracking_uri=store.uri)


def test_runs_are_drawn_with_the_weights_and_a_patient_keeps_the_run(experiment):
    _, ids = three(experiment)
    found = experiment.mix()
    patients = [f"patient-{number}" for number in range(20_000)]
    drawn = found.draw(patients)
    shares = Counter(drawn)
    # A standard error is 0.35 points.
    assert shares[ids["lean-basel"]] / 20_000 == pytest.approx(0.4, abs=0.015)
    assert set(shares) == {ids["lean-basel"], ids["lean-bern"]}
    assert found.draw(patients[500:502] * 2) == drawn[500:502] * 2
    assert found.draw(patients, seed=1) != drawn


def test_the_expectation_is_the_mean_over_draws(experiment):
    """Decisions drawn many times, each patient its run, come to the expected test error."""
    wrongs, ids = three(experiment)
    found = experiment.mix()
    tables = {ids[name]: predictions(wrong) for name, wrong in wrongs.items()}
    test = {run_id: table[table["split"] == "test"].reset_index() for run_id, table in tables.items()}
    cases = test[ids["even"]]["patient"].tolist()
    wrong = {run_id: ((t["probability"] > 0.5) != (t["label"] == 1)).tolist() for run_id, t in test.items()}
    errors = [
        sum(wrong[run_id][case] for case, run_id in enumerate(found.draw(cases, seed=seed))) / len(cases)
        for seed in range(400)
    ]
    # Of 40 cases one draw's error has a standard deviation below 0.08: 0.004 for the mean of 400.
    assert np.mean(errors) == pytest.approx(found.comparison.loc["mixture", "test/error"], abs=0.016)


def test_a_mixture_as_plain_values_holds_no_nan(experiment):
    import json

    three(experiment)
    text = json.dumps(experiment.mix().as_dict(), allow_nan=False)
    content = json.loads(text)
    assert [run["weight"] for run in content["runs"]] == pytest.approx([0.4, 0.6, 0])
    assert content["comparison"]["mixture"]["run_id"] is None


def test_figures_of_real_runs_are_those_that_the_runs_logged(small_study):
    found = fair_mixture(
        "tuberculosis", tracking_uri=small_study.store.uri, study=small_study.study, seed=1, closest=True
    )
    assert len(found.runs) == 2
    for name in ("lowest_error", "nvp"):
        row = found.comparison.loc[name]
        logged = small_study.runs[row["run_name"]].data.metrics
        for figure in ("error", "deo", "fpr_gap", "fnr/geneve", "fpr/bern", "balanced_error"):
            for section in ("val", "test"):
                assert row[f"{section}/{figure}"] == pytest.approx(logged[f"{section}/{figure}"])
    weights = found.runs["weight"].tolist()
    tables = [
        pd.read_parquet(small_study.client.download_artifacts(run_id, "predictions.parquet"))
        for run_id in found.runs["run_id"]
    ]
    expected = rates(tables, weights)
    assert found.comparison.loc["mixture", "test/error"] == pytest.approx(expected["error", "test", None])
    assert found.comparison.loc["mixture", "test/fnr/geneve"] == pytest.approx(expected["fnr", "test", "Genève"])


def test_seeds_of_a_real_study_have_other_splits_and_are_refused(small_study):
    with pytest.raises(DataError, match=r"2 runs of seed 0 in study \w+; 2 runs of seed 1 in study"):
        fair_mixture("tuberculosis", tracking_uri=small_study.store.uri, study=small_study.study)
