"""Tables of uncertainty of a study, from predictions written by hand and from a real small study."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from written_runs import SITES, ill_rows, run, written

from fairpool.gaps import GAPS
from fairpool.metrics import expected_gap
from fairpool.uncertainty import gap_table, interval_table, null_gaps, paired_by_figure, paired_table


def row_of(table, **wanted):
    found = table[np.logical_and.reduce([table[key] == value for key, value in wanted.items()])]
    assert len(found) == 1
    return found.iloc[0]


def test_the_first_common_seed_stands_for_its_method(tmp_path):
    results = [
        written(tmp_path, "plain", 0, ill_rows((1, 1))),
        written(tmp_path, "plain", 1, ill_rows((4, 9))),
        written(tmp_path, "fair", 1, ill_rows((6, 3))),
        written(tmp_path, "fair", 2, ill_rows((0, 0))),
    ]
    table = interval_table(results)
    assert table.groupby("method", sort=False)["seeds"].agg(set).to_dict() == {"plain": {"1"}, "fair": {"1"}}
    row = row_of(table, method="plain", figure="fnr", site=SITES[0], against="")
    expected = stats.binomtest(4, 40).proportion_ci(method="wilson")
    assert (row["estimate"], row["low"], row["high"]) == pytest.approx((0.1, expected.low, expected.high))
    assert (row["n"], row["patients"]) == (40, 40)
    whole = row_of(table, method="plain", figure="error", site="all sites", against="")
    assert (whole["estimate"], whole["n"]) == (13 / 65, 65)
    gap = row_of(table, method="fair", figure="deo")
    assert gap["estimate"] == pytest.approx(abs(6 / 40 - 3 / 25))
    assert gap["low"] == 0 < gap["estimate"] < gap["high"]


def test_a_name_that_a_spreadsheet_would_run_is_quoted(tmp_path):
    table = interval_table([written(tmp_path, "plain", 0, ill_rows((1, 1)))])
    assert set(table["site"]) == {"all sites", "Genève", "'=bern"}
    assert set(table["against"]) == {"", "others", "Genève", "'=bern"}


def test_folds_are_put_together_and_every_image_counts_once(tmp_path):
    """Two folds a round: seeds 0 and 1 are the first round, 2 and 3 test the same images again."""
    results = [
        written(tmp_path, "plain", seed, ill_rows((seed + 1, 2 * seed), first=1000 * (seed % 2))) for seed in range(4)
    ]
    table = interval_table(results, num_folds=2)
    assert set(table["seeds"]) == {"0 1"}
    row = row_of(table, figure="fnr", site=SITES[0], against="")
    assert (row["estimate"], row["n"], row["patients"]) == (3 / 80, 80, 80)
    assert row_of(table, figure="fnr", site="all sites", against="")["n"] == 130


def test_a_rate_without_cases_has_no_numbers(tmp_path):
    table = interval_table([written(tmp_path, "plain", 0, ill_rows((1, 1)))])
    row = row_of(table, figure="fpr", site=SITES[0], against="")
    assert row["n"] == 0
    assert all(math.isnan(row[name]) for name in ("estimate", "low", "high"))


def test_several_images_of_a_patient_widen_the_interval(tmp_path):
    alone = ill_rows((8, 5))
    grouped = [(patient // 4, *rest) for patient, *rest in alone]
    one, four = (
        row_of(interval_table([written(tmp_path, name, 0, rows)]), figure="fnr", site=SITES[0], against="")
        for name, rows in (("one", alone), ("four", grouped))
    )
    assert four["patients"] < one["patients"] == 40
    assert four["estimate"] == one["estimate"]
    assert four["high"] - four["low"] > one["high"] - one["low"]


def test_gaps_stand_beside_their_expectation_at_the_pooled_rate(tmp_path):
    results = [written(tmp_path, "plain", 0, ill_rows((4, 9))), written(tmp_path, "fair", 0, ill_rows((6, 3)))]
    table = gap_table(results)
    row = row_of(table, method="plain", figure="deo")
    assert row["gap"] == pytest.approx(9 / 25 - 4 / 40)
    assert row["expected"] == pytest.approx(expected_gap([40, 25], 13 / 65))
    assert 0 < row["p_value"] < 0.05
    assert row_of(table, method="fair", figure="deo")["p_value"] > 0.5
    assert math.isnan(row_of(table, method="fair", figure="fpr_gap")["gap"])  # nobody is healthy


def test_every_constraints_gap_and_rate_is_in_every_table(tmp_path):
    """By hand: of Genève's 40 ill 4 are missed, of bern's 25 nine, and 6 of 30 healthy at bern are false alarms."""
    rows = ill_rows((4, 9))
    rows += [(2000 + i, SITES[1], "test", 0, 0.9 if i < 6 else 0.2) for i in range(30)]
    rows += [(3000 + i, SITES[0], "test", 0, 0.9 if i < 4 else 0.2) for i in range(10)]
    rates = {  # Genève, bern
        "error": ((8, 50), (15, 55)),
        "fnr": ((4, 40), (9, 25)),
        "fpr": ((4, 10), (6, 30)),
        "selection_rate": ((40, 50), (22, 55)),
        "fdr": ((4, 40), (6, 22)),
    }
    result = written(tmp_path, "plain", 0, rows)
    intervals, gaps = interval_table([result]), gap_table([result])
    for gap, rate in GAPS.items():
        parts = rates[rate]
        for site, (part, whole) in zip(("Genève", "'=bern"), parts, strict=True):
            row = row_of(intervals, figure=rate, site=site, against="")
            expected = stats.binomtest(part, whole).proportion_ci(method="wilson")
            assert (row["estimate"], row["n"]) == (pytest.approx(part / whole), whole)
            assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
        difference = abs(parts[0][0] / parts[0][1] - parts[1][0] / parts[1][1])
        largest, tested = row_of(intervals, figure=gap), row_of(gaps, figure=gap)
        assert largest["estimate"] == tested["gap"] == pytest.approx(difference)
        pooled = sum(part for part, _ in parts) / sum(whole for _, whole in parts)
        assert tested["expected"] == pytest.approx(expected_gap([whole for _, whole in parts], pooled))
        whole = row_of(intervals, figure=rate, site="all sites", against="")
        assert whole["estimate"] == pytest.approx(pooled)
    figures = dict.fromkeys(GAPS, 0.1) | {"error": 0.1, "worst_group_error": 0.2}
    paired = paired_table([run(method, 0, figures) for method in ("plain", "fair")])
    assert set(paired["figure"]) == set(figures)


def test_a_run_whose_predictions_are_gone_is_left_out(tmp_path):
    results = [written(tmp_path, "plain", 0, ill_rows((4, 9))), run("fair", 0, {"deo": 0.1})]
    assert null_gaps(results[1]) == {}
    assert set(gap_table(results)["method"]) == set(interval_table(results)["method"]) == {"plain"}
    assert list(interval_table(results[1:]).columns) == list(interval_table(results).columns)
    assert interval_table([]).empty


def test_methods_are_paired_by_seed_in_every_figure():
    deo = {"plain": (0.3, 0.4, 0.5), "fair": (0.1, 0.1, 0.2), "other": (0.3, 0.5, 0.4)}
    results = [
        run(method, seed, {"deo": values[seed], "error": 0.1 * (seed + 1)})
        for seed in range(3)
        for method, values in deo.items()
    ]
    table = paired_table(results)
    assert len(table) == 2 * 3  # the other figures have no estimate
    row = row_of(table, figure="deo", method="fair", against="plain")
    assert (row["seeds"], row["mean_difference"]) == (3, pytest.approx(-0.8 / 3))
    assert (row["p_value"], row["p_value_holm"], row["smallest_p_value"]) == (0.25, 0.25, 0.25)
    assert (table["verdict"] == "no evidence of a difference").all()
    assert row_of(table, figure="error", method="fair", against="plain")["p_value"] == 1
    assert paired_by_figure(results)["fpr_gap"] == []


def test_a_real_studys_counts_are_the_reports(small_study):
    """The decisions read back from stored probabilities are those that the runs counted."""
    from fairpool.study import load_result

    results = [load_result(path.parent) for path in sorted(small_study.folder.glob("*/result.json"))]
    table = pd.read_csv(small_study.folder / "intervals.csv", keep_default_na=False)
    for result in results:
        if result.seed:
            continue
        for number, site in enumerate(result.sites):
            (negative, alarms), (misses, positive) = result.test_counts[number]
            of_rate = {"fnr": (misses, misses + positive), "fpr": (alarms, alarms + negative)}
            of_rate["selection_rate"] = alarms + positive, misses + positive + alarms + negative
            of_rate["fdr"] = alarms, alarms + positive
            for figure, (wrong, cases) in of_rate.items():
                if not cases:
                    continue
                row = row_of(table, method=result.method, figure=figure, site=site, against="")
                assert (float(row["estimate"]), row["n"]) == (pytest.approx(wrong / cases), cases)
    gaps = pd.read_csv(small_study.folder / "gaps.csv")
    for result in results:
        for gap in GAPS:
            row = row_of(gaps, method=result.method, seed=result.seed, figure=gap)
            assert row["gap"] == pytest.approx(result.test.get(gap, math.nan), nan_ok=True)
    paired = pd.read_csv(small_study.folder / "paired.csv")
    assert {"error", "deo", "fpr_gap", "ddp", "selection_gap", "worst_group_error"} <= set(paired["figure"])
    assert (paired["smallest_p_value"] == 0.5).all()  # two seeds
