"""`fairpool mixture` over runs in a real MLflow store: what it prints, writes and refuses."""

import json

import pytest
import typer
from stored_runs import predictions, write_run
from typer.testing import CliRunner

from fairpool.commands.mixture import mixture

LEAN_BASEL = {("validation", 0, 1): 4, ("validation", 1, 1): 1, ("test", 0, 1): 5, ("test", 1, 0): 2}
LEAN_BERN = {("validation", 1, 1): 2, ("validation", 0, 0): 2, ("test", 1, 1): 3, ("test", 0, 0): 1}


@pytest.fixture(scope="module")
def experiment(store, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    experiment_id = store.client.create_experiment("mixture-command", artifact_location=folder.as_uri())
    wrongs = {"lean-basel": LEAN_BASEL, "lean-bern": LEAN_BERN}
    return {
        name: write_run(store.client, experiment_id, predictions(wrong), folder, name=name, method=name)
        for name, wrong in wrongs.items()
    }


def call(store, *arguments, experiment="mixture-command"):
    app = typer.Typer()
    app.command()(mixture)
    return CliRunner().invoke(app, [experiment, "--output", str(store.folder), *map(str, arguments)])


def test_weights_and_expected_figures_are_printed(experiment, store):
    done = call(store)
    assert done.exit_code == 0, done.output
    for words in ("2 of 2 runs: the mixture that closes the validation gaps (equal_opportunity)", "FNR gap of Basel"):
        assert words in " ".join(done.output.replace("│", " ").split())
    lines = [[cell.strip() for cell in line.strip("│┃ ").split("│")] for line in done.output.splitlines()]
    assert ["1", "lean-bern", "60.0", "10.0", "-20.0"] in lines
    assert ["2", "lean-basel", "40.0", "12.5", "+30.0"] in lines
    for number, name in enumerate(("lean-bern", "lean-basel"), start=1):
        assert f"{number}: {name}, MLflow run {experiment[name]}, study abc" in done.output.splitlines()
    for words in ("lowest error", "NVP"):
        assert f"{words}: lean-bern, MLflow run {experiment['lean-bern']}, study abc" in done.output.splitlines()
    # Test: 0.4 * 7/40 + 0.6 * 4/40; misses at Basel 0.4 * 5/10, at Bern 0.6 * 3/10.
    assert ["error", "13.0", "10.0", "10.0"] in lines
    assert ["DEO (FNR gap)", "2.0", "30.0", "30.0"] in lines
    assert ["missed positives at Basel", "20.0", "0.0", "0.0"] in lines
    assert "draw one run for each patient with these weights" in done.output
    assert "not constrained" not in done.output
    assert "The FNR rests on these validation cases: Basel 10, Bern 10." in done.output


def test_the_json_file_holds_the_mixture(experiment, store, tmp_path):
    file = tmp_path / "mixture.json"
    assert call(store, "--json", file).exit_code == 0
    content = json.loads(file.read_text(encoding="utf-8"))
    weights = {run["run_id"]: run["weight"] for run in content["runs"]}
    assert weights == pytest.approx({experiment["lean-basel"]: 0.4, experiment["lean-bern"]: 0.6})
    assert content["comparison"]["mixture"]["test/error"] == pytest.approx(0.13)
    assert content["is_fair"] is True
    assert [path.name for path in tmp_path.iterdir()] == ["mixture.json"]


def test_one_sided_runs_are_refused_unless_the_closest_is_asked_for(experiment, store):
    refused = call(store, "--method", "lean-basel")
    assert isinstance(refused.exception, ValueError)
    assert "closes the gaps" in str(refused.exception)
    done = call(store, "--method", "lean-basel", "--closest")
    assert done.exit_code == 0, done.output
    assert "comes closest to closing the validation gaps" in " ".join(done.output.split())
    assert "One run alone has the weight 1" in done.output


@pytest.mark.usefixtures("experiment")
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--within", 0], "--within is a share of the best accuracy"),
        (["--json", "no-such-folder/mixture.json"], 'the folder of --json, "no-such-folder", does not exist'),
        (["--json", "."], '--json "." is a folder'),
        (["--method", ","], "--method names no method"),
    ],
)
def test_wrong_usage_is_one_sentence_with_status_2(store, arguments, says):
    done = call(store, *arguments)
    assert done.exit_code == 2
    assert says in done.output
    assert len(done.output.splitlines()) == 1


def test_a_site_that_no_gap_holds_is_named_beside_the_claim(store, tmp_path):
    sites = ("Genève", "Bern", "Chur")
    cases = {(split, site, label): 10 for split in ("validation", "test") for site in range(3) for label in (0, 1)}
    del cases["validation", 2, 1]
    experiment_id = store.client.create_experiment("mixture-lacking", artifact_location=tmp_path.as_uri())
    for name, wrong in {"lean-basel": LEAN_BASEL, "lean-bern": LEAN_BERN}.items():
        table = predictions(wrong, sites=sites, cases=cases)
        write_run(store.client, experiment_id, table, tmp_path, name=name, sites=sites)
    done = call(store, experiment="mixture-lacking")
    lines = done.output.splitlines()
    note = lines.index("note: Chur is not constrained (0 validation cases of label 1)")
    assert note < lines.index(next(line for line in lines if line.startswith("1: lean-bern")))
    assert "missed positives at Genève" in done.output


def test_the_tables_of_many_sites_and_long_names_are_not_cut_in_80_columns(store, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    sites = tuple(f"University Hospital {number}" for number in range(5))
    experiment_id = store.client.create_experiment("mixture-wide", artifact_location=tmp_path.as_uri())
    for number in range(5):
        table = predictions({("validation", number, 1): 2 + number}, sites=sites)
        write_run(store.client, experiment_id, table, tmp_path, name=f"fairalm_quadratic-seed{number}", sites=sites)
    done = call(store, "--closest", experiment="mixture-wide")
    assert done.exit_code == 0, done.output
    assert "…" not in done.output
    assert "5 of 5 runs" in done.output
    shown = " ".join(" ".join(line.split("│")[-2].split()) for line in done.output.splitlines() if line.count("│") > 4)
    for number in range(5):
        assert f"+{20 + 10 * number}.0: FNR gap of University Hospital {number}" in shown


def test_no_store_is_refused(tmp_path):
    app = typer.Typer()
    app.command()(mixture)
    done = CliRunner().invoke(app, ["anything", "--output", str(tmp_path)])
    assert isinstance(done.exception, ConnectionError)
    assert "there is no MLflow store" in str(done.exception)
