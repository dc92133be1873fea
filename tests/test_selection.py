"""The choice by validation figures, against a slow search in exact fractions."""

import math
from fractions import Fraction

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairpool.finished_runs import FinishedRuns
from fairpool.selection import choose_runs, gap_of_constraint, nvp_selection, select_nvp


def rows(*figures):
    return [{"name": number, "val/error": error, "val/deo": gap} for number, (error, gap) in enumerate(figures)]


def chosen_by_hand(figures, within):
    """Number of the row by Donini et al.'s rule: pass over all rows, in fractions, where None has no estimate."""
    best = max(1 - error for error, gap in figures if error is not None and gap is not None)
    chosen = None
    for number, (error, gap) in enumerate(figures):
        if error is None or gap is None or 1 - error < within * best:
            continue
        if chosen is None:
            chosen = number
        other_error, other_gap = figures[chosen]
        if gap < other_gap or (gap == other_gap and error < other_error):
            chosen = number
    return chosen


# Few cases each, so that ties and figures on the very limit are common.
shares = st.one_of(
    st.none(),
    st.builds(Fraction, st.integers(0, 4), st.just(4)),
    st.integers(1, 60).flatmap(lambda cases: st.builds(Fraction, st.integers(0, cases), st.just(cases))),
)


@settings(max_examples=500, deadline=None)
@given(
    figures=st.lists(st.tuples(shares, shares), min_size=1, max_size=12),
    within=st.sampled_from([Fraction(1, 2), Fraction(3, 4), Fraction(9, 10), Fraction(1)]),
)
def test_the_choice_is_that_of_an_exhaustive_search_in_fractions(figures, within):
    table = rows(*[tuple(math.nan if part is None else float(part) for part in pair) for pair in figures])
    if all(None in pair for pair in figures):
        with pytest.raises(ValueError, match="nothing to select from"):
            select_nvp(table, within=float(within))
        return
    assert select_nvp(table, within=float(within))["name"] == chosen_by_hand(figures, within)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=10, unique=True), st.randoms())
def test_the_order_of_different_rows_does_not_matter(figures, random):
    table = rows(*[(error / 30, gap / 30) for error, gap in figures])
    shuffled = random.sample(table, len(table))
    assert select_nvp(table) == select_nvp(shuffled)


def test_a_hand_worked_table():
    # Best accuracy .9, so .81 and better are candidates; the smallest gap of all is not one.
    table = rows((0.10, 0.30), (0.19, 0.05), (0.15, 0.06), (0.20, 0.00))
    selection = nvp_selection(table)
    assert selection.chosen is table[1]
    assert (selection.index, selection.candidates, selection.excluded) == (1, [0, 1, 2], {})
    assert selection.best_accuracy == pytest.approx(0.9)
    assert select_nvp(table) is table[1]
    assert select_nvp(table, within=1.0) is table[0]
    assert select_nvp(table, within=0.5) is table[3]


def test_ties_go_to_the_smaller_error_then_to_the_first():
    assert select_nvp(rows((0.2, 0.1), (0.1, 0.1), (0.1, 0.1)))["name"] == 1
    assert select_nvp(rows((0.1, 0.3 - 0.2), (0.05, 0.1)))["name"] == 1  # 0.3 - 0.2 is just below 0.1


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf, 1.7976931348623157e308, "no number"])
@pytest.mark.parametrize("key", ["val/error", "val/deo"])
def test_a_row_without_an_estimate_is_excluded_with_the_reason(key, nothing):
    table = rows((0.0, 0.0), (0.3, 0.2))
    table[0][key] = nothing
    selection = nvp_selection(table)
    assert selection.index == 1
    assert selection.excluded == {0: f"no estimate of {key}"}
    del table[0][key]
    assert nvp_selection(table) == selection


def test_an_excluded_row_is_not_the_best_accuracy():
    assert select_nvp(rows((0.0, math.nan), (0.5, 0.2)))["name"] == 1


SILENT = {"val/fnr/basel": 1.0, "val/fnr/bern": 1.0, "val/fpr/basel": 0.0, "val/fpr/bern": 0.0}
ALARMED = {"val/fnr/basel": 0.0, "val/fnr/bern": 0.0, "val/fpr/basel": 1.0, "val/fpr/bern": 1.0}
USEFUL = {"val/fnr/basel": 1.0, "val/fnr/bern": 0.9, "val/fpr/basel": 0.0, "val/fpr/bern": 0.0}


@pytest.mark.parametrize(
    ("rates", "reason"),
    [(SILENT, "misses every positive at every site"), (ALARMED, "takes every negative for a positive at every site")],
)
def test_a_network_of_no_use_is_not_chosen_for_its_gap_of_zero(rates, reason):
    table = rows((0.10, 0.0), (0.15, 0.1), (0.12, 0.2))
    for row, own in zip(table, (rates, USEFUL, {}), strict=True):
        row.update(own)
    selection = nvp_selection(table)
    assert (selection.index, selection.excluded) == (1, {0: reason})
    assert selection.best_accuracy == pytest.approx(0.88)  # it is no measure for the others either
    with pytest.raises(ValueError, match=reason):
        nvp_selection(table[:1])


def test_figures_without_a_prefix_are_told_apart_as_well():
    table = [{"error": 0.1, "deo": 0.0, "fnr/a": 1.0, "fnr/b": 1.0}, {"error": 0.1, "deo": 0.2, "fnr/a": 0.2}]
    assert nvp_selection(table, "error", "deo").index == 1


def test_other_keys_and_a_table_of_pandas():
    table = pd.DataFrame({"e": [0.1, 0.12], "g": [0.2, math.nan], "run": ["a", "b"]})
    assert select_nvp(table, "e", "g")["run"] == "a"
    assert nvp_selection(table, error="e", gap="g").excluded == {1: "no estimate of g"}


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([], {}, "no run to select from"),
        (rows((math.nan, 0.1), (0.1, None)), {}, r"none of 2 runs can be chosen: no estimate of val/error \(1\), "),
        ([{"val/error": 0.1}, {"val/error": 0.2, "val/ddp": 0.1}], {}, r"chosen: no estimate of val/deo \(2\); there"),
        (rows((0.1, 0.1)), {"gap": "val/dep"}, 'did you mean "val/deo"'),
        (rows((0.1, 0.1)), {"error": "error"}, 'no run has the figure "error"'),
        (rows((0.1, 0.1)), {"gap": "test/deo"}, '"test/deo" is a test figure'),
        (rows((0.1, 0.1)), {"error": "test/error"}, '"test/error" is a test figure'),
        (rows((0.1, 0.1), (21.9, 0.1)), {}, "val/error of run 2 is 21.9"),
        (rows((0.1, 0.1), (0.2, -0.3)), {}, "val/deo of run 2 is -0.3"),
        (rows((0.1, 0.1)), {"within": 0}, r"in \(0, 1\]; got 0"),
        (rows((0.1, 0.1)), {"within": 90}, "got 90"),
        (rows((0.1, 0.1)), {"within": math.nan}, "got nan"),
    ],
)
def test_bad_input_is_one_sentence(table, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        select_nvp(table, **options)
    assert "\n" not in str(caught.value)


class Recorder:
    """A client that gives test figures and writes down whose were asked for."""

    def __init__(self):
        self.asked = []

    def get_run(self, run_id):
        from types import SimpleNamespace

        self.asked.append(run_id)
        metrics = {"test/error": int(run_id) / 100, "val/error": 0.0}
        return SimpleNamespace(data=SimpleNamespace(metrics=metrics))


def run(run_id, study, method, error, gap):
    about = {"run_id": str(run_id), "study": study, "method": method, "val/error": error}
    return about if gap is None else {**about, "val/deo": gap}


RUNS = FinishedRuns(
    [
        run(1, "a", "plain", 0.10, 0.40),
        run(2, "a", "fair", 0.12, 0.02),
        run(3, "a", "plain", 0.20, 0.30),
        run(4, "a", "fair", 0.12, 0.20),
        run(5, "b", "fair", 0.13, 0.10),
        run(6, "b", "fair", 0.13, 0.10),
        run(7, "c", "fair", 0.13, None),
    ],
    {},
)


def test_test_figures_are_read_of_the_chosen_run_alone():
    client = Recorder()
    (choice,) = choose_runs(client, RUNS)
    assert choice.selection.chosen["run_id"] == "2"
    assert client.asked == ["2"]
    assert choice.test == {"error": 0.02}
    assert choice.as_dict()["excluded"] == {"7": "no estimate of val/deo"}


def test_a_choice_is_written_as_json_though_another_figure_of_it_is_nan():
    import json

    runs = FinishedRuns([run(1, "a", "fair", 0.1, 0.1) | {"val/fdr_gap": math.nan}], {})
    (choice,) = choose_runs(Recorder(), runs)
    found = json.loads(json.dumps(choice.as_dict(), allow_nan=False))
    assert found["chosen"]["val/fdr_gap"] is None
    assert found["candidates"] == ["1"]


def test_one_choice_a_method_within_its_own_best_accuracy():
    client = Recorder()
    plain, fair = choose_runs(client, RUNS, by_method=True, within=0.85)
    assert (plain.method, plain.selection.chosen["run_id"]) == ("plain", "3")  # .80 of .90; of .88 as well
    assert (fair.method, fair.selection.chosen["run_id"]) == ("fair", "2")
    assert client.asked == ["3", "2"]
    assert len(plain.rows) == 2


def test_over_seeds_the_configuration_with_the_best_mean_is_chosen_not_the_luckiest_run():
    client = Recorder()
    (choice,) = choose_runs(client, RUNS, over_seeds=True)
    # Means of the gap: a/plain .35, a/fair .11, b/fair .10; the luckiest run is in a/fair.
    assert choice.selection.chosen["study"] == "b"
    assert choice.selection.chosen["run_ids"] == client.asked == ["5", "6"]
    assert choice.selection.chosen["seeds"] == 2
    assert choice.test == {"error": pytest.approx(0.055)}
    assert choice.as_dict()["candidates"] == ["1/3", "2/4", "5/6"]


@pytest.mark.parametrize(
    ("constraints", "gap"),
    [
        (["equal_opportunity"] * 2, "val/deo"),
        (["predictive_equality"] * 2, "val/fpr_gap"),
        (["equalized_odds"], "val/eodds_gap"),
        (["error_rate_parity"], "val/ddp"),
        (["demographic_parity"], "val/selection_gap"),
        (["predictive_parity"], "val/fdr_gap"),
        (["predictive_equality", "error_rate_parity"], "val/deo"),
        (["predictive_equality", None], "val/deo"),
        (["my_own"], "val/deo"),
        ([], "val/deo"),
    ],
)
def test_the_gap_is_the_one_that_the_constraint_of_all_runs_makes_small(constraints, gap):
    assert gap_of_constraint([{"constraint": name} for name in constraints]) == gap
