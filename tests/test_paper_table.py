"""The paper's table from runs whose figures are written by hand into a real store."""

import csv
import io
import json
import statistics

import pytest

from fairpool.paper_table import paper_table
from fairpool.paper_table_text import to_csv, to_latex, to_markdown

PAIR = {"positive_verb": "cooking", "negative_verb": "driving"}
OTHER = {"positive_verb": "shaving", "negative_verb": "moisturizing"}


@pytest.fixture
def runs(store):
    """``runs(experiment, method, study, [(val error, val DEO, test error, test DEO), ...])`` writes a run each."""

    def write(
        experiment, method, study, figures, *, data="d", pipeline="imsitu", status="FINISHED", more=None, **params
    ):
        found = store.client.get_experiment_by_name(experiment)
        place = found.experiment_id if found else store.client.create_experiment(experiment)
        ids = []
        for seed, values in enumerate(figures):
            run = store.client.create_run(place, tags={"study": study, "fairpool.kind": "run"})
            about = {
                "method": method,
                "seed": seed,
                "constraint": "equal_opportunity",
                "pipeline": pipeline,
                "data": data,
            }
            for key, value in {**about, **params}.items():
                store.client.log_param(run.info.run_id, key, value)
            for name, value in zip(("val/error", "val/deo", "test/error", "test/deo"), values, strict=True):
                if value is not None:
                    store.client.log_metric(run.info.run_id, name, value)
            for name, value in (more or {}).items():
                store.client.log_metric(run.info.run_id, name, value)
            store.client.set_terminated(run.info.run_id, status)
            ids.append(run.info.run_id)
        return ids

    return write


def test_each_method_is_chosen_by_validation_alone_and_shown_over_its_seeds(runs, store):
    # Study a1 is accurate and unfair, a2 accurate enough and fair, a3 fair and bad: 0.8 >= 0.9 * 0.85 > 0.6.
    runs("table-1", "fairalm", "a1", [(0.15, 0.30, 0.01, 0.00), (0.15, 0.30, 0.01, 0.00)], eta=1, **PAIR)
    chosen = runs("table-1", "fairalm", "a2", [(0.20, 0.05, 0.22, 0.06), (0.20, 0.07, 0.25, 0.03)], eta=2, **PAIR)
    runs("table-1", "fairalm", "a3", [(0.40, 0.00, 0.02, 0.00)] * 2, eta=3, **PAIR)
    runs("table-1", "unconstrained", "a1", [(0.10, 0.40, 0.17, 0.30), (0.10, 0.40, 0.19, 0.34)], **PAIR)
    runs("table-1", "fairalm", "b1", [(0.10, 0.10, 0.5, 0.25)], **OTHER)
    runs("table-1", "fairalm", "b1", [(0.10, 0.10, 0.0, 0.0)], status="FAILED", **OTHER)
    table = paper_table(store.client, ["table-1"])
    assert [task.title for task in table.tasks] == ["Cooking(+) Driving(-)", "Shaving(+) Moisturizing(-)"]
    assert table.methods == ["unconstrained", "fairalm"]
    first, second = table.tasks
    assert sorted(first.run_ids["fairalm"]) == sorted(chosen)
    error, deo = first.figures["fairalm"]
    assert (error.mean, error.sd, error.runs) == pytest.approx((23.5, statistics.stdev([22, 25]), 2))
    assert (deo.mean, deo.sd) == pytest.approx((4.5, statistics.stdev([6, 3])))
    assert second.figures["fairalm"][0].sd is None
    assert table.cells("unconstrained") == [("18.0 ± 1.4", True), ("32.0 ± 2.8", False), ("-", False), ("-", False)]
    assert table.cells("fairalm") == [("23.5 ± 2.1", False), ("4.5 ± 2.1", True), ("50.0", True), ("25.0", True)]
    assert table.notes == ["left out: 1 failed runs of table-1"]
    assert "over 1 to 2 seeds" in table.spread


def test_a_mean_over_seeds_is_not_replaced_by_one_lucky_run_of_a_sweep(runs, store):
    plan = runs("table-8", "fairalm", "plan", [(0.2, 0.10, 0.2, 0.1), (0.2, 0.12, 0.3, 0.2)], eta=0.1, **PAIR)
    runs("table-8", "fairalm", "trial-0", [(0.2, 0.00, 0.9, 0.0)], eta=0.1, **PAIR)  # the plan's seed 0 again
    for number in (1, 2):
        runs("table-8", "fairalm", f"trial-{number}", [(0.2, 0.01, 0.9, 0.0)], eta=0.1 + number, **PAIR)
    table = paper_table(store.client, ["table-8"])
    (task,) = table.tasks
    assert task.run_ids["fairalm"] == plan
    assert table.cells("fairalm") == [("25.0 ± 7.1", True), ("15.0 ± 7.1", True)]
    assert table.notes == [
        "Cooking(+) Driving(-), fairalm: 2 of 3 left out: it lacks some of the 2 seeds compared",
        "Cooking(+) Driving(-), fairalm: 1 run repeats a seed of the same configuration; of each seed the first run "
        "counts",
    ]


def test_a_network_that_finds_no_positive_is_neither_chosen_nor_in_bold(runs, store):
    silent = {f"{section}/fnr/{site}": 1.0 for section in ("val", "test") for site in ("female", "male")}
    fair = runs("table-9", "fairalm", "a", [(0.2, 0.1, 0.2, 0.1)], eta=0.1, **PAIR)
    runs("table-9", "fairalm", "b", [(0.2, 0.0, 0.3, 0.0)], eta=0.2, more=silent, **PAIR)
    runs("table-9", "lagrangian", "b", [(0.2, 0.0, 0.3, 0.0)], more=silent, **PAIR)
    only_in_test = {name: value for name, value in silent.items() if name.startswith("test/")}
    runs("table-9", "l2_penalty", "b", [(0.2, 0.0, 0.3, 0.0)], more=only_in_test, **PAIR)
    table = paper_table(store.client, ["table-9"])
    assert table.tasks[0].run_ids["fairalm"] == fair
    assert table.cells("fairalm") == [("20.0", True), ("10.0", True)]
    assert table.cells("l2_penalty") == [("30.0", False), ("no estimate", False)]
    assert "lagrangian" not in table.methods
    about = "misses every positive at every site"
    assert table.notes == [
        f"Cooking(+) Driving(-), fairalm: 1 of 2 left out: seed 0 {about}",
        f"Cooking(+) Driving(-), lagrangian: none of 1 runs can be chosen: seed 0 {about} (1); there is nothing to "
        "select from.",
        f"Cooking(+) Driving(-), l2_penalty: the run {about} of the test set: its gap of 0 is no fairness",
    ]


def test_single_runs_are_compared_if_asked_for(runs, store):
    runs("table-2", "fairalm", "a", [(0.2, 0.1, 0.3, 0.3), (0.2, 0.0, 0.4, 0.1)], **PAIR)
    (task,) = paper_table(store.client, ["table-2"], each_run=True).tasks
    assert task.figures["fairalm"][0].mean == pytest.approx(40)
    assert task.figures["fairalm"][0].runs == 1


def test_runs_on_other_data_are_another_column(runs, store):
    for data in ("real00", "drawn0"):
        runs("table-3", "fairalm", data, [(0.2, 0.1, 0.3, 0.3)], data=data, **PAIR)
    titles = [task.title for task in paper_table(store.client, ["table-3"]).tasks]
    assert titles == ["Cooking(+) Driving(-), data real00", "Cooking(+) Driving(-), data drawn0"]


def test_several_experiments_and_other_parameters_make_columns(runs, store):
    runs("table-4a", "fairalm", "a", [(0.2, 0.1, 0.3, 0.3)], pipeline="tuberculosis", image_size=64)
    runs("table-4b", "fairalm", "b", [(0.2, 0.1, 0.3, 0.3)], pipeline="tuberculosis", image_size=128)
    both = ["table-4a", "table-4b"]
    assert [task.title for task in paper_table(store.client, both).tasks] == both
    assert [task.title for task in paper_table(store.client, both, by=["image_size"]).tasks] == ["64", "128"]
    with pytest.raises(ValueError, match='no run has the parameter "size"'):
        paper_table(store.client, both, by=["size"])
    with pytest.raises(ValueError, match='no experiment "table-4c"'):
        paper_table(store.client, ["table-4c"])


def test_a_method_without_a_validation_gap_is_a_note_and_a_missing_test_gap_no_estimate(runs, store):
    runs("table-5", "fairalm", "a", [(0.2, None, 0.3, 0.3)], **PAIR)
    runs("table-5", "lagrangian", "a", [(0.2, 0.1, 0.3, None)], **PAIR)
    table = paper_table(store.client, ["table-5"])
    assert table.cells("lagrangian") == [("30.0", True), ("no estimate", False)]
    assert any("fairalm" in note and "val/deo" in note for note in table.notes)


def test_equal_figures_are_all_the_best(runs, store):
    for method in ("fairalm", "lagrangian"):
        runs("table-6", method, method, [(0.2, 0.1, 0.30001 if method == "fairalm" else 0.3, 0.0)], **PAIR)
    table = paper_table(store.client, ["table-6"])
    assert all(is_best for method in table.methods for _, is_best in table.cells(method))


def test_the_forms_carry_the_figures_and_run_nothing(runs, store):
    runs("table-7", "=cmd()", "a", [(0.2, 0.1, 0.3, 0.25)], positive_verb="a|b_&\\", negative_verb="=1+1")
    runs("table-7", "fairalm", "a", [(0.2, 0.1, 0.2, 0.3)], positive_verb="a|b_&\\", negative_verb="=1+1")
    table = paper_table(store.client, ["table-7"])
    head, _, first, second, *_ = to_markdown(table).splitlines()
    assert head == r"| | A\|b_&\(+) =1+1(-) ERR | A\|b_&\(+) =1+1(-) DEO |"
    assert first == "| FairALM | **20.0** | 30.0 |"
    assert second == "| =cmd() | 30.0 | **25.0** |"
    latex = to_latex(table)
    assert r"\multicolumn{2}{c}{A|b\_\&\textbackslash{}(+) =1+1(-)} \\" in latex
    assert r"FairALM & \textbf{20.0} & 30.0 \\" in latex
    assert latex.count("\\begin{tabular}{lrr}") == latex.count("\\end{tabular}") == 1
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [row["method"] for row in rows] == ["fairalm", "'=cmd()"]
    assert (rows[0]["error"], rows[0]["error_sd"], rows[0]["deo"], rows[0]["runs"]) == ("20.0000", "", "30.0000", "1")
    assert json.loads(json.dumps(table.as_dict()))["tasks"][0]["methods"]["fairalm"]["deo"]["mean"] == pytest.approx(30)
