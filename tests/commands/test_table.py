"""``fairpool table`` on runs written by hand."""

import json

import pytest
import typer
from typer.testing import CliRunner

from fairpool.commands.table import table
from fairpool.errors import DataError


@pytest.fixture(scope="module")
def stored(store):
    """Two seeds of two methods on one pair of verbs."""
    place = store.client.create_experiment("imsitu-by-hand")
    for method, deo in (("unconstrained", 0.3), ("fairalm", 0.02)):
        for seed in (0, 1):
            run = store.client.create_run(place, tags={"study": "s", "fairpool.kind": "run"})
            about = {
                "method": method,
                "seed": seed,
                "constraint": "equal_opportunity",
                "pipeline": "imsitu",
                "data": "d",
            }
            for key, value in {**about, "positive_verb": "washing", "negative_verb": "saluting"}.items():
                store.client.log_param(run.info.run_id, key, value)
            for name, value in {
                "val/error": 0.1,
                "val/deo": deo,
                "test/error": 0.125,
                "test/deo": deo + 0.01 * seed,
            }.items():
                store.client.log_metric(run.info.run_id, name, value)
            store.client.set_terminated(run.info.run_id, "FINISHED")
    return store


def run(stored, *arguments):
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(table)
    words = [*arguments, "--output", stored.folder]
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "200"})


def test_it_shows_and_writes_the_table(stored, tmp_path):
    files = [tmp_path / name for name in ("a.md", "a.tex", "a.csv", "a.json")]
    done = run(stored, "imsitu-by-hand", *[part for file in files for part in ("--write", file)])
    assert done.exit_code == 0, done.output
    assert done.output.index("Washing(+)") < done.output.index("Saluting(-)")
    assert "2.5 ± 0.7" in done.output
    assert "| FairALM | **12.5 ± 0.0** | **2.5 ± 0.7** |" in files[0].read_text(encoding="utf-8")
    assert r"\textbf{2.5 $\pm$ 0.7}" in files[1].read_text(encoding="utf-8")
    assert files[2].read_text(encoding="utf-8").startswith("task,method,error,error_sd,deo,deo_sd,runs\n")
    assert len(json.loads(files[3].read_text(encoding="utf-8"))["tasks"]) == 1


def test_only_some_methods_if_asked_for(stored):
    done = run(stored, "imsitu-by-hand", "--method", "fairalm")
    assert "No constraints" not in done.output
    assert done.exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--within", "1.5"), "--within is a share"),
        (("--write", "table.html"), "--write must end in .md, .tex, .csv, .json"),
    ],
)
def test_wrong_usage_is_status_2(stored, arguments, sentence):
    done = run(stored, "imsitu-by-hand", *arguments)
    assert done.exit_code == 2
    assert sentence in done.output


def test_an_unknown_experiment_is_refused_with_the_nearest_one(stored):
    done = run(stored, "imsitu-by-hands")
    assert isinstance(done.exception, ValueError)
    assert not isinstance(done.exception, DataError)
    assert 'no experiment "imsitu-by-hands" (did you mean "imsitu-by-hand"?)' in str(done.exception)
