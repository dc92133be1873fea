"""``fairpool run``: what is refused before anything is read."""

import pytest
from small_study import assert_one_sentence, run_cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--methods", "", "image_size=32"], "--methods names no method"),
        (["--methods", " , ", "eta=0.5"], "--methods names no method"),
        (["--methods", "unconstrained", "eta=0.5"], '"eta" is a setting of fairalm'),
        (["--methods", "unconstrained", "strength=2"], '"strength" is a setting of adversarial and'),
    ],
)
def test_wrong_usage_is_one_sentence_about_its_cause(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = run_cli("run", "tuberculosis", *arguments)
    assert_one_sentence(done, 2)
    assert message in done.err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_an_output_that_is_no_folder_is_one_sentence_naming_the_option(small_study, tmp_path, name):
    (tmp_path / "file").write_text("")
    done = run_cli("run", "tuberculosis", "--manifest", small_study.manifest, "--output", tmp_path / name)
    assert_one_sentence(done, 2)
    assert "--output" in done.err
    assert "must be a folder" in done.err
    assert "store" not in done.err


def test_an_output_that_cannot_be_made_is_one_sentence_naming_the_option(small_study, tmp_path):
    output = tmp_path / ("x" * 300)  # longer than a file system takes
    done = run_cli("run", "tuberculosis", "--manifest", small_study.manifest, "--output", output)
    assert_one_sentence(done, 2)
    assert "the folder of --output" in done.err
    assert "cannot be made" in done.err


def test_more_folds_than_patients_are_one_sentence(small_study):
    done = run_cli(*small_study.arguments, "num_folds=500")
    assert_one_sentence(done, 1)
    assert "num_folds is 500, but there are only 48 patients" in done.err
