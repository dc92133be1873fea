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

    def write(experiment, method, study, figures, *, data="d", pipeline="imsitu", status="FINISHED", **params):
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
            store.client.set_terminated(run.info.run_id, status)
            ids.append(run.info.run_id)
        return ids

    return write


def test_each_method_is_chosen_by_validation_alone_and_shown_over_its_seeds(runs, store):
    # Study a1 is accurate and unfair, a2 accurate enough and fair, a3 fair and bad: 0.8 >= 0.9 * 0.85 > 0.6.
    runs("table-1", "fairalm", "a1", [(0.15, 0.30, 0.01, 0.00), (0.15, 0.30, 0.01, 0.00)], **PAIR)
    chosen = runs("table-1", "fairalm", "a2", [(0.20, 0.05, 0.22, 0.06), (0.20, 0.07, 0.25, 0.03)], **PAIR)
    runs("table-1", "fairalm", "a3", [(0.40, 0.00, 0.02, 0.00)], **PAIR)
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
