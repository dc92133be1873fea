"""``fairpool profiles`` on a real study of two methods and two seeds."""

import pandas as pd
import pytest
from PIL import Image
from small_study import assert_one_sentence, run_cli


def profiles(study, *arguments):
    return run_cli("profiles", "tuberculosis", "--output", study.store.folder, "--study", study.study, *arguments)


def test_it_writes_the_picture_and_the_values_behind_it(small_study, tmp_path):
    done = profiles(small_study, "--image", tmp_path / "p.png", "--table", tmp_path / "p.csv")
    assert (done.status, done.err) == (0, "")
    assert "unconstrained, fairalm" in done.out
    assert min(Image.open(tmp_path / "p.png").size) > 300
    table = pd.read_csv(tmp_path / "p.csv")
    assert set(table["line"]) == {"unconstrained", "fairalm"}
    assert len(table) == 2 * 2 * 2  # methods, figures, epochs
    assert (table["runs"] == 2).all()
    assert (table["min"] <= table["mean"]).all()
    assert (table["mean"] <= table["max"]).all()


def test_only_the_methods_asked_for_are_drawn(small_study, tmp_path):
    done = profiles(small_study, "--methods", "fairalm", "--image", tmp_path / "p.svg", "--table", tmp_path / "p.csv")
    assert (done.status, done.err) == (0, "")
    assert set(pd.read_csv(tmp_path / "p.csv")["line"]) == {"fairalm"}
    assert "<svg" in (tmp_path / "p.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--image", "p.txt"], 2, ".png"),
        (["--methods", "fairalm,fairlam"], 1, 'the method "fairlam" (did you mean "fairalm"?)'),
        (["--methods", ""], 2, "--methods names no method"),
        (["--image", "none/p.png"], 2, 'the folder of --image, "none", does not exist'),
        (["--table", "none/p.csv"], 2, 'the folder of --table, "none", does not exist'),
        (["--table", "p.txt"], 2, '--table must end in .csv; got "p.txt"'),
    ],
)
def test_wrong_usage_is_one_sentence(small_study, tmp_path, monkeypatch, arguments, status, message):
    monkeypatch.chdir(tmp_path)
    done = profiles(small_study, *arguments)
    assert_one_sentence(done, status)
    assert message in done.err
    assert not list(tmp_path.iterdir())
