"""``fairpool select`` on a real study of two methods and two seeds."""

import json

import pytest
from small_study import assert_one_sentence, run_cli


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


def test_over_seeds_a_configuration_is_one_row(small_study, tmp_path):
    done = select(small_study, "--over-seeds", "--method", "fairalm", "--json", tmp_path / "choice.json")
    assert (done.status, done.err) == (0, "")
    (choice,) = json.loads((tmp_path / "choice.json").read_text(encoding="utf-8"))["choices"]
    runs = [run for name, run in small_study.runs.items() if name.startswith("fairalm")]
    assert choice["compared"] == 1
    for figure, value in choice["test"].items():
        assert value == pytest.approx(sum(run.data.metrics[f"test/{figure}"] for run in runs) / 2), figure
    assert "mean over 2" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "fairal"], "no finished run of study"),
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
