"""The finished runs of an MLflow experiment, in a real sqlite store."""

import math

import pytest
from mlflow.entities import Metric, Param

from fairpool import finished_runs
from fairpool.configurations import means_compared
from fairpool.finished_runs import mean_over_seeds, open_store, read_test_figures, runs_of
from fairpool.tracking import log_metrics


def add_run(client, experiment_id, name, *, status="FINISHED", kind="run", study="s", sweep=None, metrics=(), **params):
    tags = {"study": study, "fairpool.kind": kind} | ({"sweep": sweep} if sweep else {})
    run_id = client.create_run(experiment_id, run_name=name, tags=tags).info.run_id
    figures = [Metric(key, value, 0, 0) for key, value in dict(metrics).items()]
    client.log_batch(run_id, metrics=figures, params=[Param(key, str(value)) for key, value in params.items()])
    client.set_terminated(run_id, status)
    return run_id


@pytest.fixture(scope="module")
def experiment(store):
    """Four finished runs, one in each other state, a summary, and a deleted run."""
    client = store.client
    experiment_id = client.create_experiment("selection")
    figures = {"val/error": 0.2, "val/deo": 0.1, "test/error": 0.3, "test/deo": 0.4, "seconds": 1.0}
    for seed in (0, 1):
        for method in ("plain", "fair"):
            add_run(client, experiment_id, f"{method}-seed{seed}", metrics=figures, method=method, seed=seed, eta=0.1)
    for status in ("FAILED", "KILLED", "RUNNING"):
        add_run(client, experiment_id, status, status=status, metrics=figures, method="fair")
    add_run(client, experiment_id, "summary", kind="summary", method="summary")
    add_run(client, experiment_id, "trial", metrics=figures, method="fair", study="t", sweep="w", seed=0, eta=0.7)
    client.delete_run(add_run(client, experiment_id, "deleted", metrics=figures, method="fair"))
    return "selection"


def test_only_finished_runs_are_rows_and_the_others_are_counted(store, experiment):
    runs = runs_of(store.client, experiment)
    names = [row["run_name"] for row in runs.rows]
    assert names == ["plain-seed0", "fair-seed0", "plain-seed1", "fair-seed1", "trial"]
    assert runs.left_out == {"FAILED": 1, "KILLED": 1, "RUNNING": 1}


def test_no_row_holds_a_figure_of_the_test_section(store, experiment):
    for row in runs_of(store.client, experiment).rows:
        assert not [key for key in row if "test" in key]
        assert (row["val/error"], row["val/deo"]) == (0.2, 0.1)
        assert read_test_figures(store.client, row) == {"error": 0.3, "deo": 0.4}


def test_rows_say_what_they_were(store, experiment):
    row = runs_of(store.client, experiment).rows[-1]
    assert (row["study"], row["sweep"], row["method"], row["seed"], row["params/eta"]) == ("t", "w", "fair", "0", "0.7")


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({"study": "t"}, ["trial"]),
        ({"sweep": "w"}, ["trial"]),
        ({"methods": ["plain"]}, ["plain-seed0", "plain-seed1"]),
        ({"study": "s", "methods": ["fair"]}, ["fair-seed0", "fair-seed1"]),
    ],
)
def test_runs_are_those_of_the_study_the_sweep_and_the_methods(store, experiment, asked, names):
    assert [row["run_name"] for row in runs_of(store.client, experiment, **asked).rows] == names


def test_all_pages_of_an_answer_are_read(store, experiment, monkeypatch):
    whole = runs_of(store.client, experiment)
    for size in (1, 2, 7):
        monkeypatch.setattr(finished_runs, "_PAGE", size)
        assert runs_of(store.client, experiment) == whole


@pytest.mark.parametrize(
    ("name", "asked", "message"),
    [
        ("selecton", {}, 'no experiment "selecton" [(]did you mean "selection"'),
        ("selection", {"study": "x"}, 'holds no finished run of study "x". There are the studies t, s.'),
        ("selection", {"study": "s' or attributes.status = 'FAILED"}, "no finished run of study"),
        ("selection", {"sweep": "%"}, 'no finished run of sweep "%". There is the sweep w.'),
        ("selection", {"study": "s", "sweep": "w"}, 'no finished run of study "s" of sweep "w".$'),
        (
            "selection",
            {"methods": ["fair", "plane", "b"]},
            'the method "plane" .did you mean "plain".. or "b". There are',
        ),
        (
            "selection",
            {"study": "t", "methods": ["plain"]},
            'of study "t" of the method "plain". There are runs of fair.',
        ),
    ],
)
def test_an_experiment_without_such_runs_is_one_sentence(store, experiment, name, asked, message):
    with pytest.raises(ValueError, match=message) as caught:
        runs_of(store.client, name, **asked)
    assert "\n" not in str(caught.value)


def test_an_experiment_of_failed_runs_says_so(store):
    experiment_id = store.client.create_experiment("failures")
    with pytest.raises(ValueError, match=r'"failures" holds no finished run\.$'):
        runs_of(store.client, "failures")
    for _ in range(2):
        add_run(store.client, experiment_id, "fair-seed0", status="FAILED")
    with pytest.raises(ValueError, match=r"no finished run \(2 failed\)\."):
        runs_of(store.client, "failures")
    store.client.delete_experiment(experiment_id)
    with pytest.raises(ValueError, match="was deleted"):
        runs_of(store.client, "failures")


def test_of_many_studies_the_newest_are_named(store):
    experiment_id = store.client.create_experiment("many-studies")
    for number in range(8):
        add_run(store.client, experiment_id, "fair-seed0", study=f"study-{number}", method="fair")
    with pytest.raises(ValueError, match=r"There are the studies study-7, .*, study-3 and 3 older ones") as caught:
        runs_of(store.client, "many-studies", study="study7")
    assert 'did you mean "study-7"' in str(caught.value)
    with pytest.raises(ValueError, match=r'of sweep "w"\. It holds no sweep at all\.$'):
        runs_of(store.client, "many-studies", sweep="w")


def test_the_latest_value_of_a_figure_counts(store):
    client = store.client
    experiment_id = client.create_experiment("histories")
    run_id = add_run(client, experiment_id, "fair-seed0", method="fair")
    for epoch, value in enumerate([0.5, 0.1, 0.3], start=1):
        log_metrics(client, run_id, {"val/error": value}, epoch)
    (row,) = runs_of(client, "histories").rows
    assert row["val/error"] == 0.3


def test_means_over_seeds_are_of_all_runs_of_a_configuration_or_missing():
    runs = [
        {
            "study": "a",
            "method": "m",
            "seed": "0",
            "run_id": "1",
            "params/eta": "0.1",
            "val/error": 0.1,
            "val/deo": 0.3,
        },
        {
            "study": "a",
            "method": "n",
            "seed": "0",
            "run_id": "2",
            "params/eta": "0.1",
            "val/error": 0.9,
            "val/deo": 0.3,
        },
        {
            "study": "a",
            "method": "m",
            "seed": "1",
            "run_id": "3",
            "params/eta": "0.1",
            "val/error": 0.2,
            "val/deo": math.nan,
        },
        {
            "study": "b",
            "method": "m",
            "seed": "0",
            "run_id": "4",
            "params/eta": "0.2",
            "val/error": 0.5,
            "val/deo": 0.5,
        },
    ]
    first, second, third = mean_over_seeds(runs)
    assert first == {
        "study": "a",
        "method": "m",
        "params/eta": "0.1",
        "seeds": 2,
        "run_ids": ["1", "3"],
        "repeats": 0,
        "val/error": pytest.approx(0.15),
    }
    assert (second["run_ids"], second["seeds"], second["val/error"]) == (["2"], 1, 0.9)
    assert (third["study"], third["seed"]) == ("b", "0")


def seeds_of(study, seeds, *, run_id, error=0.2, **more):
    """A row a seed, as `runs_of` gives them."""
    about = {"study": study, "method": "m", "params/method": "m"} | more
    return [
        about | {"run_id": f"{run_id}{seed}", "seed": str(seed), "params/seed": str(seed), "val/error": error}
        for seed in seeds
    ]


def test_the_same_settings_in_two_studies_are_one_configuration_whose_repeated_seeds_do_not_count():
    # The lucky run of a sweep's first trial repeats seed 0; its later trials are other configurations.
    settings = {"params/eta": "0.1"}
    rows = seeds_of("plan", (0, 1, 2), run_id="p", **settings)
    rows += seeds_of("sweep", (0,), run_id="lucky", error=0.0, **settings)
    rows += seeds_of("sweep-2", (0,), run_id="other", **{"params/eta": "0.2"})
    rows += seeds_of("later", (3,), run_id="p", error=0.6, **settings)
    first, second = mean_over_seeds(rows)
    assert (first["run_ids"], first["seeds"], first["repeats"]) == (["p0", "p1", "p2", "p3"], 4, 1)
    assert first["val/error"] == pytest.approx((3 * 0.2 + 0.6) / 4)
    assert first["study"] == "plan, later"
    assert (second["run_ids"], second["repeats"], second["study"]) == (["other0"], 0, "sweep-2")


def test_the_digest_of_a_configuration_comes_before_the_parameters_that_show_only_a_part_of_it():
    same = {"params/num_workers": "0", "params/eta": "0.1"}
    rows = seeds_of("a", (0,), run_id="a", configuration="c1", **same)
    rows += seeds_of("b", (1,), run_id="b", configuration="c1", **same | {"params/num_workers": "4"})
    rows += seeds_of("c", (1,), run_id="c", configuration="c2", **same)
    rows += seeds_of("a", (2,), run_id="a", **same)  # of the same study, before the digest was kept
    assert [row["run_ids"] for row in mean_over_seeds(rows)] == [["a0", "b1", "a2"], ["c1"]]


@pytest.mark.parametrize("apart", [{"data": "e"}, {"constraint": "x"}, {"pipeline": "q"}, {"method": "n"}])
def test_runs_on_other_data_or_of_another_method_are_no_seeds_of_a_configuration(apart):
    rows = seeds_of("a", (0,), run_id="a", configuration="c") + seeds_of("b", (1,), run_id="b", configuration="c")
    assert len(mean_over_seeds(rows)) == 1
    assert len(mean_over_seeds([rows[0], rows[1] | apart])) == 2


def test_means_are_compared_on_shared_seeds_and_others_say_what_they_lack():
    rows = seeds_of("a", (0, 1), run_id="a", error=0.1, configuration="1")
    rows += seeds_of("s", (9,), run_id="a", error=0.9, configuration="1")  # tuned there
    rows += seeds_of("b", (0, 1), run_id="b", configuration="2")
    rows += seeds_of("t", (9,), run_id="t", configuration="3")
    first, second, third = means_compared(rows)
    assert (first["run_ids"], first["val/error"], first["study"]) == (["a0", "a1"], pytest.approx(0.1), "a")
    assert (first["aside"], second["aside"]) == (1, 0)
    assert "left_out" not in first | second
    assert third["left_out"] == "it lacks some of the 2 seeds compared"


def test_where_no_seeds_are_shared_the_most_seeds_are_compared():
    rows = [row for number in range(2) for row in seeds_of(f"{number}", (2 * number, 2 * number + 1), run_id=number)]
    for row in rows:
        row["configuration"] = row["study"]
    assert ["left_out" in row for row in means_compared(rows)] == [False, False]
    rows += seeds_of("t", (9,), run_id="t", configuration="t")
    assert [row.get("left_out") for row in means_compared(rows)] == [
        None,
        None,
        "it lacks some of 2 seeds, as others have",
    ]


def test_a_configuration_says_which_of_its_seeds_has_a_gap_that_is_no_fairness():
    rows = seeds_of("a", (0, 1), run_id="a")
    rows[1] |= {"val/fnr/basel": 1.0, "val/fnr/bern": 1.0}
    (row,) = mean_over_seeds(rows)
    assert row["left_out"] == "seed 1 misses every positive at every site"
    assert "left_out" not in mean_over_seeds(rows[:1])[0]


def test_a_store_that_is_not_there_is_one_sentence_and_is_not_made(tmp_path):
    with pytest.raises(ConnectionError, match=r'no MLflow store "mlruns\.db"') as caught:
        open_store(f"sqlite:///{tmp_path / 'out' / 'mlruns.db'}")
    assert str(tmp_path) not in str(caught.value)
    assert not list(tmp_path.iterdir())
    (tmp_path / "mlruns.db").write_text("no data base" * 100)
    with pytest.raises(ConnectionError, match=r'"mlruns\.db" cannot be read') as caught:
        open_store(f"sqlite:///{tmp_path / 'mlruns.db'}")
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(ConnectionError, match="is a folder"):
        open_store(str(tmp_path))
