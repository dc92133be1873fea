"""``fairpool verbs`` on a synthetic tree."""

import json

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from fairpool.commands.verbs import verbs
from fairpool.data.imsitu import read_imsitu
from fairpool.data.imsitu_verbs import biased_verbs
from fairpool.data.synthetic_imsitu import synthesize_imsitu


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    folder = tmp_path_factory.mktemp("imsitu") / "tree"
    return synthesize_imsitu(folder, images_per_verb={"training": 56, "validation": 1, "test": 1}, confounding=0.6)


def run(*arguments):
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(verbs)
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_it_lists_the_biased_verbs_and_proposes_pairs(tree, tmp_path):
    done = run(tree, "--csv", tmp_path / "verbs.csv", "--json", tmp_path / "verbs.json")
    assert done.exit_code == 0, done.output
    assert "4 of 8 verbs lean to male agents" in done.output
    assert "4 of 8 verbs lean to female agents" in done.output
    assert "teaching" not in done.output
    expected = biased_verbs(read_imsitu(tree))
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "verbs.csv", keep_default_na=False), expected, atol=1e-12)
    found = json.loads((tmp_path / "verbs.json").read_text(encoding="utf-8"))
    assert [row["verb"] for row in found["verbs"]] == expected["verb"].tolist()
    assert len(found["pairs"]) == 4
    for pair in found["pairs"]:
        assert f"positive_verb={pair['female_verb']} negative_verb={pair['male_verb']}" in done.output


def test_without_enough_of_the_rarer_gender_there_is_no_pair(tree):
    assert "no pair" in run(tree, "--min-rare", 40).output


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--section", "train", "--section must be training, validation, test or all"),
        ("--gender-rule", "names", "--gender-rule must be nouns or gloss_words"),
        ("--csv", "verbs.txt", "--csv must end in .csv"),
    ],
)
def test_wrong_usage_is_status_2(tree, option, value, sentence):
    done = run(tree, option, value)
    assert done.exit_code == 2
    assert sentence in done.output
