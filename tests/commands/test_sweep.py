"""``fairpool sweep`` on a study of seconds: continued, killed, and in several processes at once."""

import re
import signal

import pytest
from mlflow import MlflowClient
from small_study import TINY, assert_one_sentence, end_group, run_cli, start_cli, wait_for, write_hospitals

from fairpool.tracking import default_tracking_uri


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_hospitals(tmp_path_factory.mktemp("hospitals"))


def arguments(manifest, output, trials, *more, epochs=1):
    data = ["--manifest", manifest, "--patient-column", "patient"]
    return ["sweep", "tuberculosis", *data, "--epochs", epochs, "--trials", trials, "--output", output, *TINY, *more]


def runs_in(output):
    if not (output / "mlruns.db").exists():
        return []  # a client would make the store that the command is about to make
    client = MlflowClient(default_tracking_uri(output))
    experiment = client.get_experiment_by_name("tuberculosis")
    return [] if experiment is None else client.search_runs([experiment.experiment_id])


def states(output):
    return sorted(run.info.status for run in runs_in(output))


def test_it_tries_continues_and_ends_in_the_choice_which_select_repeats(manifest, tmp_path):
    done = run_cli(*arguments(manifest, tmp_path, 2))
    assert (done.status, done.err) == (0, "")
    assert "2 trials finished, 0 failed" in done.out
    sweep = re.search(r"Sweep (\w+):", done.out)[1]
    runs = runs_in(tmp_path)
    assert [run.data.tags["sweep"] for run in runs] == [sweep] * 2
    assert {run.data.tags["fairpool.kind"] for run in runs} == {"run"}  # no summary

    # While it runs, no test figure is on the terminal: only the choice's, at the end.
    during, after = done.out.split(f"Sweep {sweep}")
    assert "test" not in during
    assert "test error" in after

    more = run_cli(*arguments(manifest, tmp_path, 3))
    assert "3 trials finished, 0 failed" in more.out
    assert more.out.count("validation error") == 1
    again = run_cli(*arguments(manifest, tmp_path, 3))
    assert again.out.count("validation error") == 0
    table = again.out[again.out.index("━") :]
    chosen = re.search(r"chosen: MLflow run (\w+)", again.out)[1]
    selected = run_cli("select", "tuberculosis", "--output", tmp_path, "--sweep", sweep)
    assert (selected.status, selected.err) == (0, "")
    assert re.search(r"chosen: MLflow run (\w+)", selected.out)[1] == chosen
    assert "3 of 3" in table or "of 3" in table

    # The line that trains the choice on other seeds names settings that run takes.
    line = re.search(r"--methods fairalm (.*)", again.out)[1]
    assert re.findall(r'"(\w+)=', line) == ["eta", "growth", "learning_rate"]
    assert "--constraint" not in line  # it is the default


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--method", "fairal"], 'did you mean "fairalm"'),
        (["--range", "etta=1:2"], 'did you mean "eta"'),
        (["--range", "eta=1:2", "eta=0.1"], "both fixed and in a range"),
        (["--method", "unconstrained", "learning_rate=0.1"], "no setting left to try"),
        (["--within", "90"], "--within"),
        (["--constraint", "equal_oportunity"], 'did you mean "equal_opportunity"'),
        (["seed=3"], "--seeds"),
        (["--method", "unconstrained", "eta=0.1"], '"eta" is a setting of'),
    ],
)
def test_wrong_usage_is_one_sentence_and_status_2(manifest, tmp_path, more, message):
    done = run_cli(*arguments(manifest, tmp_path / "out", 2, *more))
    assert_one_sentence(done, 2)
    assert message in done.err
    assert not list(tmp_path.iterdir())


def test_the_commands_at_the_end_keep_the_constraint_and_its_gap(manifest, tmp_path):
    done = run_cli(*arguments(manifest, tmp_path, 1, "--constraint", "predictive_equality", "--within", "0.8"))
    assert (done.status, done.err) == (0, "")
    line = re.search(r"Compare it on other seeds: (.*)", done.out)[1]
    assert "--methods fairalm --constraint predictive_equality" in line
    again = re.search(r"See the choice again: fairpool (.*)", done.out)[1].split()
    assert again[-2:] == ["--within", "0.8"]
    selected = run_cli(*again)
    title = "Smallest validation FPR gap (val/fpr_gap) among runs with at least 80 %"
    for out in (done.out, selected.out):
        assert title in " ".join(out.split())


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_output_that_is_no_folder_is_one_sentence_naming_the_option(manifest, tmp_path, name):
    (tmp_path / "file").write_text("")
    done = run_cli(*arguments(manifest, tmp_path / name, 1))
    assert_one_sentence(done, 2)
    assert "--output" in done.err
    assert "must be a folder" in done.err


def test_bad_data_are_one_sentence_before_anything_is_tried(manifest, tmp_path):
    done = run_cli(*arguments(manifest.with_name("none.csv"), tmp_path, 2))
    assert_one_sentence(done, 1)
    assert 'no manifest "none.csv"' in done.err
    assert not (tmp_path / "sweep.db").exists()


def test_a_sweep_whose_trials_all_fail_is_one_sentence(manifest, tmp_path):
    done = run_cli(*arguments(manifest, tmp_path, 2, "--range", "eta=1e37:1e38"))
    assert_one_sentence(done, 1)
    assert "no trial of the sweep finished" in done.err
    assert states(tmp_path) == ["FAILED", "FAILED"]


@pytest.mark.slow
def test_a_killed_sweep_continues_with_the_trial_that_was_running(manifest, tmp_path):
    process = start_cli(*arguments(manifest, tmp_path, 3, epochs=60))
    try:
        wait_for(lambda: {"FINISHED", "RUNNING"} <= set(states(tmp_path)), "trial after the first", 120)
        process.send_signal(signal.SIGKILL)
    finally:
        end_group(process)
        process.communicate()
    finished = states(tmp_path).count("FINISHED")
    before = {run.info.run_id: run.data.tags["study"] for run in runs_in(tmp_path)}
    done = run_cli(*arguments(manifest, tmp_path, 3, epochs=60))
    assert (done.status, done.err) == (0, "")
    assert "3 trials finished, 0 failed" in done.out
    assert done.out.count("validation error") == 3 - finished
    assert states(tmp_path) == ["FINISHED"] * 3
    after = {run.info.run_id: run.data.tags["study"] for run in runs_in(tmp_path)}
    assert len(set(after.values())) == 3
    assert before.items() <= after.items()  # the trial went on with its settings in its own run


@pytest.mark.slow
def test_two_commands_on_one_new_output_at_once_share_the_trials(manifest, tmp_path):
    processes = [start_cli(*arguments(manifest, tmp_path, 5)) for _ in range(2)]
    ended = []
    for process in processes:
        try:
            out, err = process.communicate(timeout=240)
        finally:
            end_group(process)
        assert (process.returncode, err) == (0, "")
        ended.append(out)
    assert states(tmp_path) == ["FINISHED"] * 5
    assert len({run.data.tags["study"] for run in runs_in(tmp_path)}) == 5
    # Whoever ends last shows the choice; both may, if both find all trials ended.
    assert any("chosen: MLflow run" in out for out in ended)
    for out in ended:
        assert ("chosen: MLflow run" in out) != ("running in other processes" in out)


@pytest.mark.slow
def test_several_jobs_share_the_trials_and_end_with_the_command(manifest, tmp_path):
    done = start_cli(*arguments(manifest, tmp_path, 4, "--jobs", 2))
    try:
        out, err = done.communicate(timeout=240)
    finally:
        end_group(done)
    assert (done.returncode, err) == (0, "")
    assert "4 trials finished, 0 failed" in out
    assert states(tmp_path) == ["FINISHED"] * 4

    # Killed, the command takes its processes with it, and what they were doing is taken up again.
    parent = start_cli(*arguments(manifest, tmp_path, 8, "--jobs", 2, epochs=200))
    try:
        wait_for(lambda: states(tmp_path).count("RUNNING") == 2, "two running trials", 120)
        parent.send_signal(signal.SIGKILL)
        wait_for(lambda: states(tmp_path).count("RUNNING") == 0, "end of the processes", 60)
    finally:
        end_group(parent)
        parent.communicate()
    assert states(tmp_path).count("KILLED") == 2


@pytest.mark.slow
def test_interrupting_the_command_ends_its_jobs_too(manifest, tmp_path):
    process = start_cli(*arguments(manifest, tmp_path, 8, "--jobs", 2, epochs=200))
    try:
        wait_for(lambda: states(tmp_path).count("RUNNING") == 2, "two running trials", 120)
        process.send_signal(signal.SIGINT)  # to the command alone
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "the same command continues" in err
        assert "Traceback" not in err
    finally:
        end_group(process)
    assert set(states(tmp_path)) <= {"FINISHED", "KILLED"}
