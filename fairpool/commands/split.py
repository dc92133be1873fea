"""``fairpool split``: add a split to a table of images."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import (
    Aliases,
    IgnoreLabel,
    MaxGroups,
    NormalizeSites,
    Patient,
    Positive,
    Site,
    table_options,
)
from fairpool.commands.outcome import check_target, quieten, refuse_usage

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

__all__ = ["split"]

_MOST_LABELS = 20
_MOST_LINES = 200


def split(
    manifest: Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .parquet or .json datalist.")],
    output: Annotated[Path, typer.Option("--output", help="The same table with the split, as one of these kinds.")],
    val_frac: Annotated[float, typer.Option("--val-frac", help="Fraction of the patients that validates.")] = 0.1,
    test_frac: Annotated[float, typer.Option("--test-frac", help="Fraction of the patients that tests.")] = 0.25,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the draw.")] = 0,
    folds: Annotated[int, typer.Option("--folds", min=0, help="Cross-validation: columns split_0, split_1...")] = 0,
    leave_one_site_out: Annotated[
        bool, typer.Option("--leave-one-site-out", help="A column split_SITE for each site, which tests in it.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace split columns that are there.")] = False,
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the labels, of any values.")] = "label",
    positive: Positive = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    normalize_sites: NormalizeSites = False,
    aliases: Aliases = None,
    ignore_label: IgnoreLabel = None,
    max_groups: MaxGroups = 1000,
) -> None:
    """Split a table by patient into training, validation and test, each with its share of every site and label.

    The table keeps its rows and columns; the column `split` (or several) is added. Train on it with
    `fairpool run ... --manifest FILE --split-column split`. Rows of an ignored label are in no section.
    """
    options = table_options(locals())
    from fairpool.data.tables import TABLE_ENDINGS, write_table

    check_target("--output", output, TABLE_ENDINGS)
    if folds and leave_one_site_out:
        refuse_usage("--folds and --leave-one-site-out are two kinds of splits: give one, and call twice for both.")
    from fairpool.data.counted import counted
    from fairpool.data.folds import fold_columns
    from fairpool.data.folds import leave_one_site_out as leave_out
    from fairpool.data.manifest import read_manifest, read_table
    from fairpool.terminal import Terminal

    quieten()
    terminal = Terminal()
    records = read_manifest(manifest, image_column=None, any_label=positive is None, **options)
    _check_labels(records, label_column)
    notes = list(records.attrs["notes"])
    if not records.attrs["patients_named"]:
        notes.append("no column of patients: every image counts as a patient of its own (--patient-column)")
    if leave_one_site_out:
        columns, more = leave_out(records, seed=seed, val_frac=val_frac)
        notes += more
    else:
        columns = fold_columns(records, num_folds=folds, seed=seed, val_frac=val_frac, test_frac=test_frac)
    table = read_table(manifest)
    there = [name for name in columns if name in table]
    if there and not replace:
        refuse_usage(f'the table has a column "{there[0]}" already: --replace overwrites it, and then it is lost.')
    columns = columns.reindex(range(1, len(table) + 1)).fillna("").set_axis(table.index)
    write_table(table.assign(**{str(name): columns[name] for name in columns}), output)
    if output.resolve().parent != manifest.resolve().parent:
        notes.append("paths of images are relative to the first table's folder: give it as --data from now on")
    for note in notes:
        terminal.note(note)
    parts = list(_count_tables(records, columns.set_axis(range(1, len(table) + 1))))
    shown = max(1, _MOST_LINES // parts[0].row_count)
    for part in parts[:shown]:
        terminal.console.print(part)
    if len(parts) > shown:
        terminal.console.print(f"and {counted(len(parts) - shown, 'more split')}")
    names = ", ".join(map(str, columns))
    patients = counted(records["patient"].nunique(), "patient")
    typer.echo(f"{patients}, {counted(len(records), 'image')}; {names}: {output}")


def _check_labels(records: "pd.DataFrame", column: str) -> None:
    from fairpool.errors import DataError

    number = records["label"].nunique()
    if number > _MOST_LABELS:
        raise DataError(
            f'"{column}" has {number:,} values over {len(records):,} rows. Is it the column of the labels? A split is '
            f"stratified by at most {_MOST_LABELS}; say which values are positive with --positive."
        )


def _count_tables(records: "pd.DataFrame", columns: "pd.DataFrame") -> "Iterator[Table]":
    """Images by site and label in each section: one table a split."""
    from rich.table import Table
    from rich.text import Text

    from fairpool.data.splits import SECTIONS

    labels = sorted(records["label"].unique())
    for name in columns:
        table = Table("site", "label", title=f"images of {name}")
        for section in SECTIONS:
            table.add_column(section, justify="right")
        found = records.assign(section=columns[name].reindex(records.index))
        counts = found.groupby(["site", "label", "section"]).size()
        for site in sorted(records["site"].unique()):
            for label in labels:
                cells = [str(counts.get((site, label, section), 0)) for section in SECTIONS]
                table.add_row(Text(site), Text(str(label)), *cells)
        yield table
