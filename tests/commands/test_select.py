"""``fairpool select`` on a real study of two methods and two seeds."""

import json
import re

import pytest
from small_study import assert_one_sentence, run_cli
from written_figures import FAIR_GAPS, write_figures


def select(study, *arguments, experiment="tuberculosis"):
    return run_cli("select", experiment, "--output", study.store.folder, "--study", study.study, *arguments)


def chosen_by_hand(runs, within=0.9):
    figures = {name: (run.data.metrics["val/error"], run.data.metrics["val/deo"]) for name, run in runs.items()}
    best = max(1 - error for error, _ in figures.values())
    good = [name for name in figures if 1 - figures[name][0] >= within * best - 1e-9]
    order = sorted(runs, key=lambda name: runs[name].info.start_time)
    return min(good, key=lambda name: (round(figures[name][1], 9), round(figures[name][0], 9), order.index(name)))


def test_it_shows_the_chosen_run_with_its_test_figures_and_no_other_runs(small_study, tmp_path):
    done = select(small_study, "--json", tmp_path / "choice.json")
    assert (done.status, done.err) == (0, "")
    found = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))
    (choice,) = found["choices"]
    run = small_study.runs[chosen_by_hand(small_study.runs)]
    assert choice["chosen"]["run_id"] == run.info.run_id
    assert choice["test"]["error"] == pytest.approx(run.data.metrics["test/error"])
    assert run.info.run_id in done.out
    assert f"{100 * run.data.metrics['test/error']:.1f}" in done.out
    assert (found["within"], choice["compared"]) == (0.9, 4)
    for other in small_study.runs.values():
        assert (other.info.run_id in done.out) == (other is run)
    assert "test/" not in json.dumps(choice["chosen"])


def test_by_method_there_is_one_choice_for_each(small_study, tmp_path):
    done = select(small_study, "--by-method", "--within", "1", "--json", tmp_path / "choice.json")
    assert (done.status, done.err) == (0, "")
    choices = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))["choices"]
    assert [choice["method"] for choice in choices] == ["unconstrained", "fairalm"]
    for choice in choices:
        runs = {name: run for name, run in small_study.runs.items() if name.startswith(choice["method"])}
        assert choice["chosen"]["run_id"] == runs[chosen_by_hand(runs, 1.0)].info.run_id
        assert choice["chosen"]["run_id"] in done.out


def test_over_seeds_a_configuration_is_one_row_and_a_sweeps_lucky_run_is_not_compared(store, tmp_path):
    place = {"store": store, "experiment": "over-seeds", "methods": ["fairalm"], "constraint": "equal_opportunity"}
    for seed, error in ((0, 0.1), (1, 0.4)):
        write_figures(**place, study="plan", seed=seed, eta=0.1, figures={"val/deo": 0.1, "test/error": error})
    for number, eta in enumerate((0.1, 0.2, 0.3, 0.4)):  # the first repeats the plan's seed 0
        write_figures(**place, study=f"trial{number}", eta=eta, figures={"val/deo": 0.01, "test/error": 0.99})
    arguments = ["select", "over-seeds", "--by-method", "--output", store.folder, "--json", tmp_path / "choice.json"]
    done = run_cli(*arguments, "--over-seeds")
    assert (done.status, done.err) == (0, "")
    (choice,) = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))["choices"]
    assert (choice["compared"], choice["chosen"]["study"]) == (4, "plan")
    assert choice["test"]["error"] == pytest.approx(0.25)
    assert "mean over 2" in done.out
    assert "fairalm-seed0 of study trial3: it lacks some of the 2 seeds compared" in done.out
    assert "note: 1 run repeats a seed of the same configuration; of each seed the first run counts" in done.out
    assert "favours a lucky seed" not in done.out
    assert "single runs were compared, which favours a lucky seed" in run_cli(*arguments).out


def test_runs_of_two_targets_are_not_compared_with_each_other(store, tmp_path):
    place = {"store": store, "experiment": "two-targets", "constraint": "equal_opportunity", "pipeline": "celeba"}
    faces = {"target": "Attractive", "protected": "Male"}
    (fair,) = write_figures(**place, methods=["fairalm"], study="faces", figures={"val/deo": 0.2}, **faces)
    gender = {"target": "Male", "protected": "Young"}
    write_figures(**place, methods=["unconstrained"], study="gender", figures={"val/deo": 0.0}, **gender)
    arguments = ["select", "two-targets", "--output", store.folder, "--json", tmp_path / "choice.json"]
    done = run_cli(*arguments)
    choices = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))["choices"]
    assert [choice["task"] for choice in choices] == ["Attractive, Male", "Male, Young"]
    assert choices[0]["chosen"]["run_id"] == fair
    assert "these runs are of 2 tasks (other data, another target), each with a choice of its own; --study" in done.out
    assert [cells[-1] for cells in cells_of(done.out, "method")] == ["fairalm", "unconstrained"]  # a table each
    assert done.out.index("Attractive, Male") < done.out.index("Male, Young")
    done = run_cli(*arguments, "--study", "faces")
    (choice,) = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))["choices"]
    assert (choice["task"], "tasks" in done.out) == (None, False)


def test_a_method_of_silent_networks_has_no_choice_and_the_others_have(store, tmp_path):
    place = {"store": store, "experiment": "silent", "constraint": "equal_opportunity"}
    silent = {"val/deo": 0.0, "val/fnr/basel": 1.0, "val/fnr/bern": 1.0}
    write_figures(**place, methods=["lagrangian"], figures=silent)
    write_figures(**place, methods=["fairalm"], figures={"val/deo": 0.2, "val/fnr/basel": 0.3, "val/fnr/bern": 0.5})
    arguments = ["select", "silent", "--output", store.folder, "--json", tmp_path / "choice.json"]
    done = run_cli(*arguments)
    assert "left out: lagrangian-seed0 of study abc: misses every positive at every site" in done.out
    (choice,) = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))["choices"]
    assert choice["chosen"]["method"] == "fairalm"
    done = run_cli(*arguments, "--by-method")
    assert (done.status, done.err) == (0, "")
    found = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))
    assert [choice["method"] for choice in found["choices"]] == ["fairalm"]
    assert "no choice of lagrangian: none of 1 runs can be chosen: misses every positive" in done.out
    assert len(found["no_choice"]) == 1
    assert_one_sentence(run_cli(*arguments, "--method", "lagrangian"), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "unconstrained,fairal"], 'of the method "fairal" (did you mean "fairalm"?). There are runs of'),
        (["--sweep", "none"], 'sweep "none"'),
        (["--gap", "val/dep"], 'did you mean "val/deo"'),
        (["--gap", "test/deo"], "is a test figure"),
    ],
)
def test_what_is_not_there_is_one_sentence(small_study, arguments, message):
    done = select(small_study, *arguments)
    assert_one_sentence(done, 1)
    assert message in done.err


def test_an_experiment_or_a_store_that_is_not_there_is_one_sentence(small_study, tmp_path):
    done = select(small_study, experiment="tubercolosis")
    assert_one_sentence(done, 1)
    assert 'did you mean "tuberculosis"' in done.err
    done = run_cli("select", "tuberculosis", "--output", tmp_path / "none")
    assert_one_sentence(done, 1)
    assert "no MLflow store" in done.err
    assert not list(tmp_path.iterdir())
    assert_one_sentence(run_cli("select", "tuberculosis", "--within", "90", "--output", small_study.store.folder), 2)


def test_a_study_that_is_not_there_is_refused_with_those_that_are(small_study):
    done = run_cli("select", "tuberculosis", "--output", small_study.store.folder, "--study", "nostudy")
    assert_one_sentence(done, 1)
    assert 'no finished run of study "nostudy". There ' in done.err
    assert small_study.study in done.err


@pytest.mark.parametrize(("name", "reason"), [("none/x.json", "does not exist"), ("", "is a folder")])
def test_a_json_file_that_cannot_be_written_is_refused_before_the_store_is_opened(tmp_path, name, reason):
    done = run_cli("select", "tuberculosis", "--output", tmp_path / "no-store", "--json", tmp_path / name)
    assert_one_sentence(done, 2)
    assert "--json" in done.err
    assert reason in done.err
    assert not list(tmp_path.iterdir())


def test_no_method_is_wrong_usage(small_study):
    done = select(small_study, "--method", ",")
    assert_one_sentence(done, 2)
    assert "--method names no method" in done.err


def test_the_gap_is_the_one_of_the_runs_constraint_and_the_title_says_which(store):
    write_figures(store, "own-gap", ["a", "b"], constraint="predictive_equality")
    done = run_cli("select", "own-gap", "--output", store.folder)
    title = "Smallest validation FPR gap (val/fpr_gap) among runs with at least 90 % of the best accuracy"
    assert title in " ".join(done.out.split())
    assert FAIR_GAPS["b"]["val/fpr_gap"] < FAIR_GAPS["a"]["val/fpr_gap"]
    assert [cells[-1] for cells in cells_of(done.out, "method")] == ["b"]
    done = run_cli("select", "own-gap", "--output", store.folder, "--gap", "val/deo")
    assert "Smallest validation DEO (val/deo) among" in " ".join(done.out.split())
    assert [cells[-1] for cells in cells_of(done.out, "method")] == ["a"]


def test_runs_of_several_constraints_are_compared_by_the_deo_with_a_note(store):
    write_figures(store, "two-constraints", ["a"], constraint="predictive_equality")
    write_figures(store, "two-constraints", ["b"], constraint="equal_opportunity")
    done = run_cli("select", "two-constraints", "--output", store.folder)
    assert "Smallest validation DEO (val/deo) among" in " ".join(done.out.split())
    assert "different constraints (equal_opportunity, predictive_equality); --gap" in done.out


@pytest.mark.parametrize("gap", ["val/deo", "val/selection_gap", "val/worst_group_error"])
def test_the_table_of_many_methods_is_not_cut_in_80_columns(store, monkeypatch, gap):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["unconstrained", "fairalm_quadratic", "balanced_sampling", "proxy_lagrangian", "fairalm_paper"]
    write_figures(store, f"many-{gap}", names, constraint="equal_opportunity")
    done = run_cli("select", f"many-{gap}", "--output", store.folder, "--by-method", "--over-seeds", "--gap", gap)
    assert (done.status, done.err) == (0, "")
    assert "…" not in done.out
    for name in names:
        ((seeds, error, *_),) = cells_of(done.out, name)
        assert (seeds, error) == ("1 seed", "20.0")
    heading = {"val/selection_gap": "selection", "val/worst_group_error": "site's"}.get(gap, "DEO")
    assert re.search(rf"┃ +{heading} ┃", done.out)  # no word of a heading is broken


def cells_of(out, first):
    """The cells behind the first of the printed rows that start with this one."""
    rows = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in out.splitlines() if "│" in line]
    return [row[1:] for row in rows if row[0] == first]
