"""``fairpool table``: the paper's table 1 over the studies of one or several experiments."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import check_target, check_within, method_names, quieten

if TYPE_CHECKING:
    from fairpool.paper_table import PaperTable

__all__ = ["table"]

_ENDINGS = (".md", ".tex", ".csv", ".json")


def table(
    experiments: Annotated[
        list[str], typer.Argument(metavar="EXPERIMENT...", help="MLflow experiments; `run` takes the pipeline's name.")
    ],
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Parameters that tell tasks apart, by commas; default: imsitu's verbs, celeba's target."
        ),
    ] = None,
    method: Annotated[str | None, typer.Option("--method", help="Only these methods, separated by commas.")] = None,
    gap: Annotated[
        str | None, typer.Option("--gap", help="Validation gap to make small; default: that of the constraint.")
    ] = None,
    within: Annotated[float, typer.Option("--within", help="Share of the best accuracy that a run needs.")] = 0.9,
    each_run: Annotated[
        bool, typer.Option("--each-run", help="Choose among single runs, not among means over seeds.")
    ] = False,
    write: Annotated[
        list[Path] | None, typer.Option("--write", help="Also write it here: .md, .tex, .csv or .json; repeatable.")
    ] = None,
) -> None:
    """Show error and DEO of every method on every task, each chosen by validation (NVP), as the paper's table 1.

    A task is a pair of verbs of imsitu, or what --by says; runs on different data are different tasks. Of each method
    the configuration with the smallest validation gap among those with at least 90 % of its best validation accuracy is
    shown, with the mean and the standard deviation over its seeds on the test set. The same settings in several studies
    are one configuration; of a method, only the configurations with the most seeds are compared.
    """
    check_within(within)
    for file in write or ():
        check_target("--write", file, _ENDINGS)
    names = method_names("--by", by, "parameter")
    methods = method_names("--method", method)
    quieten()
    from fairpool.finished_runs import open_store
    from fairpool.paper_table import paper_table
    from fairpool.tracking import default_tracking_uri

    client = open_store(tracking_uri or default_tracking_uri(output))
    found = paper_table(client, experiments, by=names, methods=methods, gap=gap, within=within, each_run=each_run)
    _show(found)
    for file in write or ():
        _write(found, file)


def _show(found: "PaperTable") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from fairpool.paper_table_text import gap_title, method_title

    grid = Table(caption=f"{found.spread}; the smallest of each column in bold")
    grid.add_column("", no_wrap=True)
    for task in found.tasks:
        for word in ("ERR", gap_title(found)):
            title = task.title.replace(" ", "\n")  # a word a line, so that four pairs fit beside each other
            grid.add_column(f"{escape(title)}\n{word}", justify="right", overflow="fold")
    for method in found.methods:
        cells = [f"[bold]{escape(text)}[/bold]" if best else escape(text) for text, best in found.cells(method)]
        grid.add_row(escape(method_title(method)), *cells)
    console = Console(file=sys.stdout)
    console.print(grid)
    for sentence in found.notes:
        console.print(f"note: {sentence}", markup=False, highlight=False, soft_wrap=True)


def _write(found: "PaperTable", file: Path) -> None:
    from fairpool.paper_table_text import to_csv, to_latex, to_markdown
    from fairpool.whole_file import write_json, write_whole

    if file.suffix.lower() == ".json":
        write_json(file, found.as_dict(), allow_nan=False)
        return
    forms = {".md": to_markdown, ".tex": to_latex, ".csv": to_csv}
    write_whole(file, forms[file.suffix.lower()](found))
