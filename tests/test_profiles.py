"""Training profiles, against the metric histories taken one by one."""

import math

import pytest
from mlflow.entities import Metric

from fairpool.finished_runs import runs_of
from fairpool.profiles import profile_plot, training_profiles

# Values by epoch of each run; fair-seed1 ended an epoch early, and had no estimate at its first.
HISTORIES = {
    ("fair", "s", 0): {"val/deo": [0.6, 0.4, 0.2], "val/error": [0.5, 0.3, 0.1]},
    ("fair", "s", 1): {"val/deo": [math.inf, 0.2], "val/error": [0.3, 0.1]},
    ("plain", "s", 0): {"val/deo": [0.8, 0.8, 0.8], "val/error": [0.4, 0.2, 0.2]},
}


def add_runs(client, name, histories):
    experiment_id = client.create_experiment(name)
    for (method, study, seed), figures in histories.items():
        tags = {"study": study, "fairpool.kind": "run"}
        run_id = client.create_run(experiment_id, run_name=f"{method}-seed{seed}", tags=tags).info.run_id
        client.log_param(run_id, "method", method)
        for figure, values in figures.items():
            points = [Metric(figure, value, 1000 + epoch, epoch) for epoch, value in enumerate(values, start=1)]
            # An interrupted run's earlier value of an epoch: the later one counts, by its time.
            points.append(Metric(figure, 0.99, 1, 1))
            client.log_batch(run_id, metrics=points)
        client.set_terminated(run_id)
    return runs_of(client, name)


@pytest.fixture(scope="module")
def runs(store):
    return add_runs(store.client, "profiles", HISTORIES)


def test_each_epoch_has_mean_and_range_over_the_runs_that_have_an_estimate(store, runs):
    profiles = training_profiles(store.client, runs)
    found = {(row["line"], row["figure"], row["epoch"]): row for row in profiles.to_dict("records")}
    expected = {}
    for line in ("fair", "plain"):
        for figure in ("val/deo", "val/error"):
            for epoch in (1, 2, 3):
                values = [
                    history[figure][epoch - 1]
                    for (method, _, _), history in HISTORIES.items()
                    if method == line and len(history[figure]) >= epoch and math.isfinite(history[figure][epoch - 1])
                ]
                expected[line, figure, epoch] = values
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        row = found[key]
        assert row["runs"] == len(values), key
        assert row["mean"] == pytest.approx(sum(values) / len(values)), key
        assert (row["min"], row["max"]) == (min(values), max(values)), key


def test_lines_are_in_the_order_of_the_runs_and_figures_in_that_asked_for(store, runs):
    profiles = training_profiles(store.client, runs, ["val/error", "val/deo"])
    assert list(dict.fromkeys(profiles["line"])) == ["fair", "plain"]
    assert list(dict.fromkeys(profiles["figure"])) == ["val/error", "val/deo"]


def test_a_method_of_several_studies_has_a_line_for_each(store):
    figures = {"val/deo": [0.1], "val/error": [0.1]}
    runs = add_runs(store.client, "two studies", {("fair", s, 0): figures for s in "ab"} | {("plain", "a", 0): figures})
    assert set(training_profiles(store.client, runs)["line"]) == {"fair (a)", "fair (b)", "plain"}


def test_more_lines_than_can_be_told_apart_are_refused(store):
    histories = {("fair", f"study{n}", 0): {"val/deo": [0.1], "val/error": [0.1]} for n in range(11)}
    with pytest.raises(ValueError, match=r"11 methods and studies, .* newest study is study10"):
        training_profiles(store.client, add_runs(store.client, "many studies", histories))


def test_a_figure_that_no_run_has_is_one_sentence(store, runs):
    with pytest.raises(ValueError, match='no run of the experiment has a value of "val/dep"'):
        training_profiles(store.client, runs, ["val/error", "val/dep"])


def test_the_plot_draws_means_in_percent_and_bands_from_smallest_to_largest(store, runs, tmp_path):
    figure = profile_plot(training_profiles(store.client, runs))
    deo, error = figure.axes
    assert (deo.get_title(), error.get_title()) == ("validation DEO", "validation error")
    lines = {line.get_label(): line for line in deo.lines}
    assert set(lines) == {"fair (2)", "plain (1)"}
    assert list(lines["fair (2)"].get_xdata()) == [1, 2, 3]
    assert list(lines["fair (2)"].get_ydata()) == pytest.approx([60, 30, 20])
    band = error.collections[0].get_paths()[0].vertices
    assert {(x, round(y)) for x, y in band} >= {(1, 30), (1, 50), (2, 10), (2, 30), (3, 10)}
    figure.savefig(tmp_path / "profiles.png")
    assert (tmp_path / "profiles.png").stat().st_size > 5000


def test_one_epoch_is_drawn_as_a_point(store):
    runs = add_runs(store.client, "one epoch", {("fair", "s", 0): {"val/deo": [0.1], "val/error": [0.1]}})
    axis = profile_plot(training_profiles(store.client, runs)).axes[0]
    assert [line.get_marker() for line in axis.lines] == ["o"]


def test_profiles_of_a_real_study_are_its_histories(small_study):
    profiles = training_profiles(
        small_study.client, runs_of(small_study.client, "tuberculosis", study=small_study.study)
    )
    values = [
        point.value
        for name in ("fairalm-seed0", "fairalm-seed1")
        for point in small_study.client.get_metric_history(small_study.runs[name].info.run_id, "val/error")
        if point.step == 2
    ]
    (row,) = profiles.query("line == 'fairalm' and figure == 'val/error' and epoch == 2").to_dict("records")
    assert len(values) == row["runs"] == 2
    assert (row["mean"], row["min"], row["max"]) == pytest.approx((sum(values) / 2, min(values), max(values)))
