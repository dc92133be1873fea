"""What a sweep tries, and trials that are real runs of a study of seconds."""

import itertools
import json
from dataclasses import replace

import pytest
from small_study import TINY, write_hospitals

from fairpool.bundle import find_bundle, parse_overrides
from fairpool.constraints import CONSTRAINTS
from fairpool.experiment import Study, prepare_data
from fairpool.finished_runs import runs_of
from fairpool.study import load_result
from fairpool.sweep import Sweep, run_trials, search_space
from fairpool.tracking import SpoolingClient
from fairpool.trials import SearchRange, TrialCounts

BUNDLE = find_bundle("tuberculosis")
NUMBERS = itertools.count(1)


class Silent:
    """An observer that keeps the sentences and the runs, and can interrupt at an epoch."""

    def __init__(self, interrupt_in_run=0):
        self.notes, self.finished, self.interrupt_in_run, self.runs = [], [], interrupt_in_run, 0

    def note(self, sentence):
        self.notes.append(sentence)

    def images(self, done, total):
        pass

    def run_started(self, number, total, method, seed, epochs):
        self.runs += 1

    def epoch(self, epoch, metrics):
        if self.runs == self.interrupt_in_run:
            raise KeyboardInterrupt

    def run_finished(self, result, *, was_there):
        self.finished.append((result, was_there))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_hospitals(tmp_path_factory.mktemp("hospitals"))


@pytest.fixture
def sweep_in(store, manifest, tmp_path):
    """A sweep whose models lie in a folder of the test, its runs in an experiment that all share; none is another's."""
    own = f"weight_decay={next(NUMBERS)}e-7"

    def make(*settings, method="fairalm", ranges=(), fixed=(), seeds=1, constraint="equal_opportunity", name="sweep"):
        given = [*TINY, own, "epochs=1", *settings]
        overrides = parse_overrides(given, BUNDLE.keys([method], ("manifest",)))
        study = Study(
            bundle=BUNDLE,
            methods=(method,),
            seeds=seeds,
            constraint=constraint,
            overlays=("manifest",),
            overrides={"manifest": str(manifest), "patient_column": "patient", **overrides},
            output_dir=tmp_path / name,
            tracking_uri=store.uri,
        )
        space = search_space(BUNDLE, method, ("manifest",), fixed=[*overrides, *fixed], ranges=ranges)
        return Sweep(study, space, CONSTRAINTS[constraint].gap)

    return make


@pytest.fixture
def carry_out(store):
    def call(sweep, trials, observer=None):
        observer = observer or Silent()
        fingerprint = prepare_data(sweep.study, observer)[0].fingerprint()
        with SpoolingClient(store.uri, "sweeps") as client:
            counts = run_trials(sweep, fingerprint, trials, client, observer)
            assert client.flush(30) == 0
        return counts, sweep.identity(fingerprint), observer

    return call


def test_the_default_ranges_hold_the_pipelines_own_settings():
    for overlays in ((), ("synthetic",), ("manifest",)):
        keys = BUNDLE.keys(["fairalm"], overlays)["fairalm"]
        space = search_space(BUNDLE, "fairalm", overlays)
        assert set(space) == {"eta", "growth", "learning_rate"}
        for key, drawn in space.items():
            assert keys[key] in drawn


def test_only_settings_that_the_method_has_are_tried():
    assert set(search_space(BUNDLE, "unconstrained")) == {"learning_rate"}
    for method in BUNDLE.methods:
        assert set(search_space(BUNDLE, method)) <= set(BUNDLE.keys([method])[method])


def test_fixed_settings_are_not_tried_and_other_ranges_are():
    space = search_space(BUNDLE, "fairalm", fixed=["eta"], ranges=["dual_step=0.01:0.3:log", "batch_size=8:32"])
    assert set(space) == {"growth", "learning_rate", "dual_step", "batch_size"}
    assert space["dual_step"] == SearchRange(0.01, 0.3, log=True)
    assert space["batch_size"] == SearchRange(8, 32, whole=True)
    assert search_space(BUNDLE, "fairalm", ranges=["eta=0.1:0.2"])["eta"] == SearchRange(0.1, 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eta", "KEY=LOW:HIGH"),
        ("eta=0.1", "KEY=LOW:HIGH"),
        ("eta=0.1:0.2:lin", "KEY=LOW:HIGH"),
        ("eta=a:b", "KEY=LOW:HIGH"),
        ("etta=0.1:0.2", 'did you mean "eta"'),
        ("eta=0.2:0.1", "smaller to a larger"),
        ("eta=0:1:log", "above 0"),
        ("eta=nan:1", "smaller to a larger"),
        ("reweight=0:1", "not a number"),
        ("dual_rates=0:1", "not a number"),
        ("batch_size=8:16.5", "whole number"),
        ("val_frac=0.1:0.3", "decides the data"),
        ("seed=0:9", "decides the data"),
    ],
)
def test_a_wrong_range_is_one_sentence(text, message):
    with pytest.raises(ValueError, match=message) as caught:
        search_space(BUNDLE, "fairalm", ranges=[text])
    assert "\n" not in str(caught.value)


def test_a_sweep_of_nothing_of_two_methods_or_of_a_fixed_setting_is_refused(sweep_in):
    sweep = sweep_in()
    with pytest.raises(ValueError, match="no setting left to try"):
        sweep_in("learning_rate=0.1", method="unconstrained")
    with pytest.raises(ValueError, match='"eta" is both fixed and in a range'):
        sweep_in("eta=0.3", ranges=["eta=0.1:0.5"])
    with pytest.raises(ValueError, match="one method, got unconstrained, fairalm"):
        Sweep(replace(sweep.study, methods=("unconstrained", "fairalm")), sweep.space)


def test_a_sweep_is_its_settings_ranges_method_and_seeds_and_not_its_places(sweep_in):
    sweep = sweep_in()
    others = [
        sweep_in("eta=0.2"),
        sweep_in(ranges=["eta=0.1:0.2"]),
        sweep_in("batch_size=4"),
        sweep_in(method="unconstrained"),
        sweep_in(seeds=2),
        sweep_in(constraint="equalized_odds"),
        replace(sweep, study=replace(sweep.study, first_seed=7)),
    ]
    identities = {other.identity("data") for other in [sweep, *others]}
    assert len(identities) == len(others) + 1
    assert sweep.identity("data") != sweep.identity("other data")
    assert sweep_in(name="elsewhere").identity("data") == sweep.identity("data")


def test_a_trial_is_an_ordinary_run_with_the_tag_of_its_sweep(sweep_in, carry_out, store):
    sweep = sweep_in()
    counts, identity, observer = carry_out(sweep, 2)
    assert counts == TrialCounts(2, 0, 0)
    rows = runs_of(store.client, "sweeps", sweep=identity).rows
    assert len(rows) == len({row["study"] for row in rows}) == 2
    assert float(rows[0]["params/eta"]) == BUNDLE.keys(["fairalm"])["fairalm"]["eta"]
    assert float(rows[1]["params/eta"]) in sweep.space["eta"]
    assert [store.client.get_run(row["run_id"]).data.tags["sweep.trial"] for row in rows] == ["0", "1"]
    for row in rows:
        folder = sweep.study.output_dir / row["study"]
        result = load_result(folder / "fairalm-seed0")
        assert result.run_id == row["run_id"]
        assert not (folder / "comparison.csv").exists()  # no summary of a trial
    assert [trial.values for trial in told(sweep)] == [[row["val/error"], row["val/deo"]] for row in rows]
    # The same call again, and one with more trials.
    again, _, observer = carry_out(sweep, 2)
    assert (again, observer.runs) == (counts, 0)
    more, _, observer = carry_out(sweep, 3)
    assert (more.finished, observer.runs) == (3, 1)


def told(sweep):
    """Finished trials as Optuna itself reads them."""
    import optuna

    storage = optuna.storages.RDBStorage(f"sqlite:///{sweep.study.output_dir / 'sweep.db'}")
    (name,) = optuna.study.get_all_study_names(storage)
    trials = optuna.load_study(study_name=name, storage=storage).trials
    return [trial for trial in trials if trial.state.name == "COMPLETE"]


def test_a_trial_of_several_seeds_is_told_their_mean(sweep_in, carry_out, store):
    sweep = sweep_in(seeds=2)
    _, identity, _ = carry_out(sweep, 1)
    rows = runs_of(store.client, "sweeps", sweep=identity).rows
    assert [row["seed"] for row in rows] == ["0", "1"]
    (trial,) = told(sweep)
    assert trial.values == pytest.approx([sum(row[key] for row in rows) / 2 for key in ("val/error", "val/deo")])


def test_an_interrupted_trial_is_carried_out_again_and_the_others_are_kept(sweep_in, carry_out, store):
    through = sweep_in(name="through")
    carry_out(through, 3)
    sweep = sweep_in(name="interrupted")
    observer = Silent(interrupt_in_run=2)
    with pytest.raises(KeyboardInterrupt):
        carry_out(sweep, 3, observer)
    assert [was_there for _, was_there in observer.finished] == [False]
    counts, _, observer = carry_out(sweep, 3)
    assert counts == TrialCounts(3, 0, 0)
    assert observer.runs == 2
    # One machine, one thread: the interruption changed neither what was tried nor what came of it.
    assert [trial.params for trial in told(sweep)] == [trial.params for trial in told(through)]
    assert [trial.values for trial in told(sweep)] == [trial.values for trial in told(through)]


def test_a_run_that_had_finished_when_its_process_was_killed_is_not_trained_again(sweep_in, carry_out, store):
    sweep = sweep_in()
    observer = Silent()
    observer.run_finished = lambda result, *, was_there: (_ for _ in ()).throw(KeyboardInterrupt)  # before it is told
    with pytest.raises(KeyboardInterrupt):
        carry_out(sweep, 1, observer)
    counts, identity, observer = carry_out(sweep, 1)
    assert (counts.finished, observer.runs) == (1, 0)
    assert [was_there for _, was_there in observer.finished] == [True]
    assert len(runs_of(store.client, "sweeps", sweep=identity).rows) == 1


def test_a_trial_that_fails_counts_with_its_reason_and_the_sweep_goes_on(sweep_in, carry_out, store):
    sweep = sweep_in(fixed=["growth", "learning_rate"], ranges=["eta=1e37:1e38"])
    with pytest.raises(RuntimeError, match="3 trials failed and none finished; the last: fairalm, seed 0: ") as caught:
        carry_out(sweep, 20)
    assert "\n" not in str(caught.value)
    # One good trial first, the pipeline's own settings; then only rates at which the loss is not finite.
    sweep = sweep_in("growth=1.0", name="good", fixed=["learning_rate"], ranges=["eta=0.2:1e38"])
    counts, identity, observer = carry_out(sweep, 3)
    assert (counts.finished, counts.failed) == (1, 2)
    assert len(runs_of(store.client, "sweeps", sweep=identity).rows) == 1
    assert any("trial 1 failed: fairalm, seed 0" in note for note in observer.notes)


def test_a_trial_without_an_estimate_of_the_gap_failed(sweep_in, carry_out, monkeypatch):
    from fairpool import experiment

    sweep = sweep_in()
    real = experiment.run_methods

    def without_gap(*arguments):
        (result,) = real(*arguments)
        return [replace(result, validation={"error": 0.5})]

    monkeypatch.setattr(experiment, "run_methods", without_gap)
    counts, _, observer = carry_out(sweep, 1)
    assert counts == TrialCounts(finished=0, failed=1, running=0)
    assert "no estimate of the validation error or deo" in observer.notes[-1]


def test_the_gap_of_the_constraint_is_told(sweep_in, carry_out, store):
    sweep = sweep_in(constraint="equalized_odds")
    carry_out(sweep, 1)
    (trial,) = told(sweep)
    (folder,) = sweep.study.output_dir.glob("*/fairalm-seed0")
    validation = json.loads((folder / "result.json").read_text(encoding="utf-8"))["validation"]
    assert trial.values == [validation["error"], validation["eodds_gap"]]
