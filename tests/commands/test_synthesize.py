"""What is written is where --output says, and the commands that pages and messages name are commands."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from small_study import assert_one_sentence, run_cli

from fairpool.cli import app

ROOT = Path(__file__).parent.parent.parent
SOURCES = [
    ROOT / "README.md",
    *sorted(ROOT.glob("docs/**/*.md")),
    *sorted(ROOT.glob("pipelines/**/*.md")),
    *sorted(ROOT.glob("fairpool/**/*.py")),
]


def named_commands():
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        # In a line of its own or within a sentence; a module's title names the command without a data set.
        for command in re.findall(r"(?:`|^ {4})fairpool (synthesize [a-z][^`\n]*)", text, re.MULTILINE):
            yield pytest.param(command, id=f"{source.name}: {command}")


@pytest.mark.parametrize("command", [*named_commands()])
def test_a_command_that_a_page_or_message_names_is_understood(command):
    name, *words = shlex.split(command, comments=True)
    context = typer.main.get_command(app).commands[name].make_context(name, words)
    assert context.params["pipeline"] in ("tuberculosis", "celeba", "imsitu")


def test_the_pages_and_messages_name_the_command_of_every_data_set():
    found = {parameter.values[0].split()[1] for parameter in named_commands()}
    assert found == {"tuberculosis", "celeba", "imsitu"}


@pytest.mark.parametrize(
    ("pipeline", "images", "part"),
    [
        ("tuberculosis", 4, "MontgomerySet"),
        ("celeba", 30, "list_attr_celeba.txt"),
        ("imsitu", 4, "train.json"),
    ],
)
def test_the_tree_is_written_where_output_says_and_the_next_command_is_named(tmp_path, pipeline, images, part):
    done = run_cli("synthesize", pipeline, "--output", tmp_path / "tree", "--images", images)
    assert done.status == 0, done.err
    assert list((tmp_path / "tree").rglob(part))
    assert f"fairpool run {pipeline} --data {tmp_path / 'tree'}" in done.out


def test_an_unknown_data_set_is_wrong_usage():
    done = run_cli("synthesize", "faces")
    assert_one_sentence(done, 2)
    assert 'there is no synthetic data for "faces"; there is for tuberculosis, celeba, imsitu.' in done.err
