"""``fairpool labels``: from a tree of faces to table, plot and flat MLflow runs."""

import json

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from fairpool.commands.labels import labels
from fairpool.data.synthetic_celeba import synthesize_celeba


@pytest.fixture(scope="module")
def app():
    app = typer.Typer()
    app.command()(labels)
    return app


@pytest.fixture(scope="module")
def done(app, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    tree = synthesize_celeba(folder / "tree", num_images=600)
    options = ["--data", str(tree), "--output", str(folder / "out"), "--protected", "Male", "--pixels", "8"]
    options += [
        "--least-deo",
        "0.01",
        "--width",
        "8",
        "--epochs",
        "3",
        "--least-precision",
        "0.3",
        "--learning-rate",
        "0.03",
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        result = CliRunner().invoke(app, ["celeba", *options])
        assert result.exit_code == 0, result.output
        (place,) = (folder / "out").glob("*/labels.csv")
        other = CliRunner().invoke(app, ["celeba", *options, "--eta", "0.5", "--epochs", "1"])
        assert other.exit_code == 0, other.output
    return folder, place.parent, result.output


@pytest.mark.slow
def test_the_terminal_says_how_many_labels_were_selected(done):
    *_, output = done
    assert "of 39 labels selected" in output


@pytest.mark.slow
def test_the_files_hold_every_label_and_agree(done):
    folder, place, _ = done
    table = pd.read_csv(place / "labels.csv")
    content = json.loads((place / "labels.json").read_text())
    assert len(content["labels"]) == len(table)
    plain = table[table["method"] == "unconstrained"]
    assert plain["target"].nunique() == 39
    assert "Male" not in set(plain["target"])
    assert content["settings"]["pixels"] == 8
    assert (place / "labels.png").read_bytes().startswith(b"\x89PNG")
    assert str(folder) not in json.dumps(content)


@pytest.mark.slow
def test_every_label_and_method_is_a_flat_run(done):
    from mlflow import MlflowClient

    folder, place, _ = done
    client = MlflowClient(f"sqlite:///{folder / 'out' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("celeba-labels")
    of_study = f"tags.study = '{place.name}'"
    runs = client.search_runs([experiment.experiment_id], of_study, max_results=200)
    table = pd.read_csv(place / "labels.csv")
    wanted = {tuple(row) for row in table[["target", "protected", "method"]].drop_duplicates().to_numpy().tolist()}
    ones = [run for run in runs if run.data.tags["fairpool.kind"] == "run"]
    assert {
        (run.data.params["target"], run.data.params["protected"], run.data.params["method"]) for run in ones
    } == wanted
    assert all("mlflow.parentRunId" not in run.data.tags for run in runs)
    by_name = table[(table["target"] == "Smiling") & (table["method"] == "unconstrained")].set_index("section")
    (smiling,) = [run for run in ones if run.info.run_name == "Smiling-Male-unconstrained"]
    assert smiling.data.metrics["test/deo"] == pytest.approx(by_name.loc["test", "deo"])
    assert smiling.data.metrics["val/error"] == pytest.approx(by_name.loc["validation", "error"])
    (summary,) = [run for run in runs if run.data.tags["fairpool.kind"] == "summary"]
    chosen = table[table["selected"]]["target"].nunique()
    assert summary.data.metrics["selected/Male"] == chosen > 0


@pytest.mark.slow
def test_a_search_with_other_settings_is_another_study_and_overwrites_nothing(done):
    from mlflow import MlflowClient

    folder, place, _ = done
    settings = {
        file.parent.name: json.loads(file.read_text())["settings"] for file in (folder / "out").glob("*/labels.json")
    }
    assert {(one["eta"], one["epochs"]) for one in settings.values()} == {(0.02, 3), (0.5, 1)}
    assert settings[place.name]["eta"] == 0.02
    client = MlflowClient(f"sqlite:///{folder / 'out' / 'mlruns.db'}")
    experiment = client.get_experiment_by_name("celeba-labels")
    runs = client.search_runs([experiment.experiment_id], max_results=500)
    assert {(run.data.tags["study"], run.data.params["eta"]) for run in runs} == {
        (study, str(one["eta"])) for study, one in settings.items()
    }


@pytest.mark.parametrize(
    ("protected", "sentence"),
    [
        ("Male,Male", "--protected names an attribute twice, got Male,Male: name each attribute once."),
        (",", '--protected names no attribute, got ",": name each attribute once'),
    ],
)
def test_protected_attributes_are_named_once_each(app, tmp_path, protected, sentence):
    result = CliRunner().invoke(app, ["celeba", "--protected", protected, "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert sentence in result.output
    assert "target" not in result.output


def test_an_unknown_data_set_is_wrong_usage(app, tmp_path):
    result = CliRunner().invoke(app, ["imsitu", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert 'only the labels of celeba can be searched; got "imsitu"' in result.output


def test_an_unknown_attribute_is_named_before_anything_is_read(app, tmp_path):
    result = CliRunner().invoke(app, ["celeba", "--protected", "Mail", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert 'no attribute "Mail" (did you mean "Male"?)' in result.output
    assert not (tmp_path / "synthetic-celeba").exists()
