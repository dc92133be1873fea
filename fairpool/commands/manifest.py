"""``fairpool manifest``: make, check and convert tables of images."""

from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.manifest_build import build
from fairpool.commands.outcome import check_target, refuse_usage

__all__ = ["manifest"]


manifest = typer.Typer(
    name="manifest", help="Tables of images: build one from a folder, check it, convert it.", no_args_is_help=True
)
manifest.command()(build)


@manifest.command()
def validate(
    file: Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .parquet or .json datalist.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the images; default: the table's.")] = None,
    labels: Annotated[
        str | None, typer.Option("--labels", help="Values that the column label may have, separated by commas.")
    ] = None,
    no_files: Annotated[bool, typer.Option("--no-files", help="Do not look whether the images are there.")] = False,
) -> None:
    """Check a table of images: paths, sites, labels, shapes, splits; every fault at once. Status 1 if there is one."""
    from fairpool.data.counted import counted
    from fairpool.data.manifest import read_table
    from fairpool.data.manifest_schema import validate_manifest
    from fairpool.data.vocabulary import SiteVocabulary
    from fairpool.terminal import Terminal

    wanted = None if labels is None else [value.strip() for value in labels.split(",") if value.strip()]
    if wanted is not None and not wanted:
        refuse_usage("--labels names no value: give them separated by commas.")
    table = read_table(file)
    root = data if data is not None else file.parent
    terminal = Terminal()
    for sentence in validate_manifest(table, root_dir=root, labels=wanted, check_files=not no_files):
        terminal.note(sentence)
    patients = f" of {counted(table['patient'].nunique(), 'patient')}" if "patient" in table else ""
    number = len(SiteVocabulary.from_sites(table["site"].str.strip()))
    typer.echo(f"no fault: {counted(len(table), 'image')}{patients} at {counted(number, 'site')}")


@manifest.command()
def convert(
    file: Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .parquet or .json datalist.")],
    output: Annotated[Path, typer.Argument(help="The same table, as one of these kinds.")],
) -> None:
    """Write a table as another kind. As .json it is the datalist that MONAI reads, a list for each split."""
    from fairpool.data.tables import TABLE_ENDINGS, write_table

    check_target("OUTPUT", output, TABLE_ENDINGS)
    from fairpool.data.counted import counted
    from fairpool.data.manifest import read_table
    from fairpool.terminal import Terminal

    table = read_table(file)
    write_table(table, output)
    if output.resolve().parent != file.resolve().parent:
        Terminal().note("paths of images are relative to the first table's folder: give it as --data from now on")
    typer.echo(f"{counted(len(table), 'image')}: {output}")
