"""What the help says is what its source says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from small_study import run_cli

from fairpool.cli import app

ROOT = Path(__file__).parents[2]


def commands(group, above=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*above, name))
        else:
            yield (*above, name), command


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_no_word_of_the_help_is_lost(name, monkeypatch):
    """In rich's Markdown what stands in angle brackets would be a tag, and vanish."""
    monkeypatch.setenv("COLUMNS", "200")  # narrower tables break words at their hyphens
    command = COMMANDS[name]
    shown = re.sub(r"[\s│]+", "", run_cli(*name, "--help").out)
    texts = [command.help or ""] + [parameter.help or "" for parameter in command.params]
    words = {word for text in texts for word in text.replace("`", "").split()}
    assert {word for word in words if word not in shown} == set()


def test_python_dash_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "fairpool", "--help"], capture_output=True, text=True, check=True)
    assert "Pool medical images" in done.stdout
