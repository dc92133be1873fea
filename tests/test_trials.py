"""Trials shared by processes and resumed after a kill, on a problem whose answer is known instead of a training."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from fairpool.trials import SearchRange, TrialCounts, TrialStore

SPACE = {"x": SearchRange(0.01, 1.0, log=True), "n": SearchRange(1, 9, whole=True)}
FIRST = {"x": 0.5, "n": 2}


def store_in(folder, *, space=SPACE, first=FIRST, seed=0):
    return TrialStore(folder / "sweep.db", "toy", space=space, first=first, seed=seed, figures=["error", "gap"])


def figures(settings):
    return [abs(settings["x"] - 0.3), abs(settings["n"] - 4)]


def carry_out(store, budget):
    """Settings of the trials that this call carried out, in their order."""
    done = []
    while (trial := store.ask(budget)) is not None:
        done.append(trial.settings)
        store.finish(trial, figures(trial.settings))
    return done


def locks(folder):
    return sorted(path.name for path in (folder / "sweep").iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0), "smaller to a larger"),
        ((2.0, 1.0), "smaller to a larger"),
        ((0.0, float("inf")), "smaller to a larger"),
        ((float("nan"), 1.0), "smaller to a larger"),
        ((0.0, 1.0, True), "above 0"),
    ],
)
def test_a_range_that_holds_nothing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SearchRange(*arguments)


def test_trials_begin_with_the_given_settings_and_stay_within_their_ranges(tmp_path):
    done = carry_out(store_in(tmp_path), 15)
    assert len(done) == 15
    assert done[0] == FIRST
    for settings in done:
        assert settings["x"] in SPACE["x"]
        assert settings["n"] in SPACE["n"]
        assert isinstance(settings["n"], int)
    assert len({settings["x"] for settings in done}) == 15
    assert locks(tmp_path) == []


def test_settings_outside_a_range_do_not_begin(tmp_path):
    done = carry_out(store_in(tmp_path, first={"x": 5.0, "n": 2}), 2)
    assert all(settings["x"] in SPACE["x"] for settings in done)
    assert carry_out(store_in(tmp_path / "other", first={}), 1)[0] != FIRST


@pytest.mark.slow
def test_proposals_come_closer_than_chance_to_what_is_small(tmp_path):
    """Ten random trials, then TPE: the later half's error is smaller in the mean."""
    done = [figures(settings)[0] for settings in carry_out(store_in(tmp_path), 40)]
    assert sum(done[20:]) < sum(done[:20])


def test_a_sweep_extended_later_equals_one_that_ran_through(tmp_path):
    through = carry_out(store_in(tmp_path / "through"), 14)
    parts = [carry_out(store_in(tmp_path / "parts"), budget) for budget in (3, 3, 12, 14)]
    assert [len(part) for part in parts] == [3, 0, 9, 2]
    assert [settings for part in parts for settings in part] == through


def test_another_seed_proposes_other_settings(tmp_path):
    assert carry_out(store_in(tmp_path / "a"), 3)[1:] != carry_out(store_in(tmp_path / "b", seed=100), 3)[1:]


def test_a_trial_given_back_is_the_next_one_and_changes_no_other(tmp_path):
    through = carry_out(store_in(tmp_path / "through"), 12)
    store = store_in(tmp_path / "interrupted")
    done = []
    for number in range(12):
        trial = store.ask(12)
        if number in (0, 5, 11):
            store.give_back(trial)
            store = store_in(tmp_path / "interrupted")  # as the same command again
            assert store.counts() == TrialCounts(number, 0, 0)
            trial = store.ask(12)
        done.append(trial.settings)
        store.finish(trial, figures(trial.settings))
    assert store.ask(12) is None
    assert done == through


def test_a_failed_trial_counts_and_is_not_carried_out_again(tmp_path):
    store = store_in(tmp_path)
    trial = store.ask(3)
    store.fail(trial, "the loss is not finite")
    rest = carry_out(store_in(tmp_path), 3)
    assert len(rest) == 2
    assert trial.settings not in rest
    assert store.counts() == TrialCounts(finished=2, failed=1, running=0)


def test_three_failures_before_the_first_success_end_the_sweep_with_the_reason(tmp_path):
    store = store_in(tmp_path)
    for number in range(3):
        store.fail(store.ask(20), f"reason {number}")
    for again in (store, store_in(tmp_path)):
        with pytest.raises(RuntimeError, match="3 trials failed and none finished; the last: reason 2"):
            again.ask(20)


def test_failures_after_a_success_do_not_end_the_sweep(tmp_path):
    store = store_in(tmp_path)
    carry_out(store, 1)
    for _ in range(4):
        store.fail(store.ask(6), "no")
    assert store.ask(6) is not None


def test_trials_in_progress_are_within_the_budget(tmp_path):
    first, second = store_in(tmp_path), store_in(tmp_path)
    held = [first.ask(2), second.ask(2)]
    assert first.ask(2) is None
    assert second.ask(2) is None
    assert first.counts() == second.counts() == TrialCounts(0, 0, 2)
    assert held[0].settings != held[1].settings
    second.give_back(held[1])  # its place in the budget is free again
    assert first.ask(2).settings == held[1].settings


WORKER = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_trials import store_in
trial = store_in(Path({folder!r})).ask(9)
print(trial.number, flush=True)
time.sleep(600)
"""


def test_the_trial_of_a_killed_process_is_given_to_the_next_one_at_once(tmp_path):
    script = WORKER.format(tests=os.path.dirname(__file__), folder=str(tmp_path))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "0\n"
        store = store_in(tmp_path)
        assert store.counts() == TrialCounts(0, 0, running=1)
        assert store.ask(1) is None  # it lives
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert store.counts() == TrialCounts(0, 0, 0)
        trial = store.ask(1)
        assert trial.settings == FIRST
        assert trial.number == 1
        store.finish(trial, [0, 0])
        assert store.counts() == TrialCounts(1, 0, 0)
        assert locks(tmp_path) == []
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _carry_out_slowly(folder, budget, queue):
    store = store_in(folder)
    done = []
    while (trial := store.ask(budget)) is not None:
        done.append(trial.settings["x"])
        time.sleep(0.05)
        store.finish(trial, figures(trial.settings))
    queue.put(done)


@pytest.mark.slow
def test_processes_that_begin_at_once_share_the_budget_exactly(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [context.Process(target=_carry_out_slowly, args=(tmp_path, 10, queue)) for _ in range(3)]
    for process in processes:
        process.start()
    done = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    settings = [x for part in done for x in part]
    assert len(settings) == len(set(settings)) == 10
    assert store_in(tmp_path).counts() == TrialCounts(10, 0, 0)


def test_a_file_that_is_no_store_is_one_sentence(tmp_path):
    (tmp_path / "sweep.db").write_text("a table of something else" * 100)
    with pytest.raises(RuntimeError, match=r'"sweep.db" failed') as caught:
        store_in(tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)
