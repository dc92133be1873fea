"""``fairpool overlap``: a tiny study and its classifier of gender, trained, compared and kept."""

import json

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from fairpool.commands.overlap import overlap
from fairpool.data.synthetic_celeba import synthesize_celeba
from fairpool.errors import CheckpointError
from fairpool.evaluation import evaluate_checkpoint
from fairpool.saliency.overlap import MapOverlap

TINY = ["image_size=32", "block_inplanes=[4,8,8,8]", "batch_size=16", "num_workers=0", "cache_rate=1.0"]


@pytest.fixture(scope="module")
def app():
    app = typer.Typer()
    app.command()(overlap)
    return app


@pytest.fixture(scope="module")
def done(app, tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlap")
    tree = synthesize_celeba(folder / "tree", num_images=90)
    options = ["--data", str(tree), "--output", str(folder / "out"), "--epochs", "1", "--images", "12", *TINY]
    results = [CliRunner().invoke(app, ["celeba", *options]) for _ in range(2)]
    for result in results:
        assert result.exit_code == 0, result.output
    return folder, [result.output for result in results]


@pytest.mark.slow
def test_the_figures_by_image_and_the_summary_agree(done):
    folder, _ = done
    (table,) = [pd.read_csv(file) for file in (folder / "out").glob("*/overlap.csv")]
    (summary,) = [json.loads(file.read_text()) for file in (folder / "out").glob("*/overlap.json")]
    assert summary["target_of_the_classifier"] == "Male"
    assert set(summary["methods"]) == {"unconstrained", "fairalm"}
    assert {"row", "site", "label", *MapOverlap.__dataclass_fields__} - {"iou_independent"} <= set(table.columns)
    for method, figures in summary["methods"].items():
        rows = table[table["method"] == method]
        assert len(rows) == figures["images"] == 12
        assert figures["iou_mean"] == pytest.approx(rows["iou"].mean())
    by_method = table.groupby("method")["iou"].mean()
    change = summary["methods"]["fairalm"]["iou_minus_unconstrained"]
    assert change == pytest.approx(by_method["fairalm"] - by_method["unconstrained"])
    (picture,) = (folder / "out").glob("*/overlap.png")
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_classifier_is_trained_for_the_protected_attribute_without_a_constraint(done):
    folder, _ = done
    from fairpool.checkpoints import load_model

    settings = [load_model(file)[2] for file in (folder / "out").glob("*/*/model.pt")]
    about = sorted((s["method"], s["overrides"]["target"], s["overrides"]["protected"]) for s in settings)
    wanted = [
        ("fairalm", "Attractive", "Male"),
        ("unconstrained", "Attractive", "Male"),
        ("unconstrained", "Male", "Young"),
    ]
    assert about == wanted


@pytest.mark.slow
def test_the_classifier_is_no_run_of_the_studys_experiment_where_it_would_pass_for_the_baseline(done):
    from fairpool.finished_runs import open_store, runs_of

    folder, _ = done
    client = open_store(f"sqlite:///{folder / 'out' / 'mlruns.db'}")
    targets = {
        name: sorted((row["method"], row["params/target"]) for row in runs_of(client, name).rows)
        for name in ("celeba", "celeba-overlap")
    }
    assert targets == {
        "celeba": [("fairalm", "Attractive"), ("unconstrained", "Attractive")],
        "celeba-overlap": [("unconstrained", "Male")],
    }


def test_a_study_of_the_protected_attribute_itself_shares_no_run_with_the_classifier(tmp_path):
    from fairpool.bundle import find_bundle
    from fairpool.overlap_study import reference_study
    from fairpool.study import Study

    study = Study(find_bundle("celeba"), ("unconstrained",), 1, "equal_opportunity", (), {}, tmp_path, "sqlite:///x")
    reference = reference_study(study)
    plain = Study(
        study.bundle, study.methods, 1, study.constraint, (), dict(reference.overrides), tmp_path, study.tracking_uri
    )
    assert (reference.experiment, plain.experiment) == ("celeba-overlap", "celeba")
    assert reference.identity("d") != plain.identity("d")


def test_a_setting_of_the_study_that_makes_no_sense_is_said_before_the_classifier_is_trained(app, tmp_path):
    tree = synthesize_celeba(tmp_path / "tree", num_images=30)
    options = ["--data", str(tree), "--output", str(tmp_path / "out"), "--epochs", "1", "--images", "12", *TINY]
    result = CliRunner().invoke(app, ["celeba", *options, "target=Mail"])
    assert isinstance(result.exception, ValueError)
    assert 'no attribute "Mail" (did you mean "Male"?)' in str(result.exception)
    assert not list((tmp_path / "out").rglob("model.pt"))


@pytest.mark.slow
def test_the_same_command_again_trains_nothing(done):
    _, (first, second) = done
    assert "was finished" not in first
    assert second.count("was finished") == 3
    assert "IoU" in second


@pytest.mark.slow
def test_a_model_of_faces_cannot_score_a_table_and_no_run_advises_it(done, tmp_path):
    folder, outputs = done
    assert not any("fairpool evaluate" in output for output in outputs)
    table = tmp_path / "faces.csv"
    table.write_text("image,site\na.png,male\n")
    model = next((folder / "out").glob("*/fairalm-seed0/model.pt"))
    with pytest.raises(CheckpointError, match='models of the pipeline "celeba" cannot score a table') as caught:
        evaluate_checkpoint(model, table, columns={"label_column": None})
    assert str(folder) not in str(caught.value)


def test_a_pipeline_without_a_protected_attribute_is_wrong_usage(app, tmp_path):
    result = CliRunner().invoke(app, ["tuberculosis", "--data", str(tmp_path), "--output", str(tmp_path / "out")])
    assert result.exit_code == 2
    assert 'has no settings "target" and "protected"' in result.output


def test_a_share_that_is_no_part_is_wrong_usage(app, tmp_path):
    result = CliRunner().invoke(app, ["celeba", "--share", "1.5", "--output", str(tmp_path)])
    assert result.exit_code == 2
    assert "got 1.5" in result.output
