"""``fairpool manifest build``: make a table of the images in a folder."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fairpool.commands.options import Aliases, NormalizeSites
from fairpool.commands.outcome import check_target, quieten, refuse_usage

if TYPE_CHECKING:
    from fairpool.data.scan import BuiltManifest, PatientSource, SiteSource, TableJoin
    from fairpool.terminal import Terminal

__all__ = ["build"]

_LISTED = 30


def build(
    folder: Annotated[Path, typer.Argument(help="Folder of DICOM, NIfTI, PNG and JPEG files, in any depth.")],
    output: Annotated[Path, typer.Option("--output", help="The table: .csv, .tsv, .parquet or .json datalist.")],
    site_from: Annotated[
        str | None,
        typer.Option(
            "--site-from",
            help="path:PATTERN with a group `(?P<site>...)`, level:N (folder), dicom:KEYWORD[+KEYWORD], sidecar:FIELD "
            "(BIDS), or table:FILE with --site-column, --site-key.",
        ),
    ] = None,
    site_column: Annotated[str | None, typer.Option("--site-column", help="Column of the site in table:FILE.")] = None,
    site_key: Annotated[
        str | None, typer.Option("--site-key", help="Column of table:FILE that names the image; default: as --site-on.")
    ] = None,
    site_on: Annotated[
        str, typer.Option("--site-on", help="What --site-key holds: path, file, patient or study.")
    ] = "path",
    missing_site: Annotated[
        str | None, typer.Option("--missing-site", help='Site of images without one, such as "unknown".')
    ] = None,
    normalize_sites: NormalizeSites = False,
    aliases: Aliases = None,
    pseudonymize_sites: Annotated[
        bool, typer.Option("--pseudonymize-sites", help="Replace the names of sites by pseudonyms too.")
    ] = False,
    patient_from: Annotated[
        str | None,
        typer.Option(
            "--patient-from",
            help="path:PATTERN with a group `(?P<patient>...)`, or table:FILE with --patient-column, --patient-key. "
            "Default: DICOM's PatientID, BIDS's sub-..., else each file is a patient of its own.",
        ),
    ] = None,
    patient_column: Annotated[
        str | None, typer.Option("--patient-column", help="Column of the patient in table:FILE.")
    ] = None,
    patient_key: Annotated[
        str | None,
        typer.Option("--patient-key", help="Its column that names the image; default: as --patient-on."),
    ] = None,
    patient_on: Annotated[str, typer.Option("--patient-on", help="What --patient-key holds: path or file.")] = "path",
    labels: Annotated[Path | None, typer.Option("--labels", help="Table that has the labels.")] = None,
    label_column: Annotated[str, typer.Option("--label-column", help="Its column of the labels.")] = "label",
    label_key: Annotated[
        str | None,
        typer.Option("--label-key", help="Its column that names the image or patient; default: as --label-on."),
    ] = None,
    label_on: Annotated[
        str, typer.Option("--label-on", help="What --label-key holds: path, file, patient or study.")
    ] = "path",
    per_device: Annotated[
        bool, typer.Option("--per-device", help="Tell scanners of one model apart, by a pseudonym of serial number.")
    ] = False,
    key_file: Annotated[
        Path | None, typer.Option("--key-file", help="Key of the pseudonyms; default: `<output>.key`, made if missing.")
    ] = None,
    hash_pixels: Annotated[
        bool, typer.Option("--hash-pixels", help="Decode every image, for `fairpool duplicates`: slow.")
    ] = False,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", min=1, help="Images that declare more in a plane are not used.")
    ] = 200_000_000,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes; default: one a core.")] = None,
) -> None:
    """Make a table of the images in a folder, one row a file, from their headers.

    Patients, studies and devices are pseudonyms; their key lies beside the table and must stay secret. What cannot be
    read is listed in `<output stem>.unreadable.csv`. Interrupted, the same command goes on where it was; later, it
    reads new and changed files alone.
    """
    from fairpool.data.tables import TABLE_ENDINGS, write_table

    check_target("--output", output, TABLE_ENDINGS)
    if not folder.is_dir():
        refuse_usage("the folder to scan is not there, or is no folder.")
    from fairpool.data.counted import counted
    from fairpool.data.pseudonyms import Pseudonyms, read_or_make_key
    from fairpool.data.scan import build_manifest
    from fairpool.terminal import Terminal

    quieten()
    key_file = key_file or output.with_name(f"{output.name}.key")
    unreadable_file = output.with_name(f"{output.stem}.unreadable.csv")
    journal = output.with_name(f"{output.stem}.journal.jsonl")
    terminal = Terminal()
    is_new_key = not key_file.exists()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pseudonyms = Pseudonyms(read_or_make_key(key_file))
    for warning in caught:
        terminal.note(str(warning.message))
    sites, patients, joined = _sources(
        folder,
        site=(site_from, site_column, site_key, site_on),
        patient=(patient_from, patient_column, patient_key, patient_on),
        labels=(labels, label_column, label_key, label_on),
        spelling={
            "normalize": normalize_sites,
            "aliases": aliases,
            "key_file": key_file if pseudonymize_sites else None,
            "missing": "raise" if missing_site is None else missing_site,
        },
    )
    with terminal:
        built = build_manifest(
            folder,
            pseudonyms,
            site=sites,
            patient=patients,
            labels=joined,
            per_device=per_device,
            hash_pixels=hash_pixels,
            max_pixels=max_pixels,
            workers=workers or os.cpu_count() or 1,
            journal=journal,
            exclude=[output, key_file, journal, unreadable_file],
            progress=terminal.images,
        )
    write_table(built.table, output)
    if len(built.unreadable):
        write_table(built.unreadable, unreadable_file)
    else:
        unreadable_file.unlink(missing_ok=True)
    _report(built, terminal)
    if len(built.unreadable):
        terminal.note(f"{counted(len(built.unreadable), 'file')} cannot be used; {unreadable_file.name} says why")
    if folder.resolve() != output.resolve().parent:
        terminal.note("paths of images are relative to the scanned folder: give it as --data from now on")
    if is_new_key:
        terminal.note(
            f"the key of the pseudonyms is new: {key_file.name}. Whoever has it can find patients by trying names. "
            "Keep it secret and apart from what you publish, and keep it for the next build"
        )
    patients = counted(built.table["patient"].nunique(), "patient")
    typer.echo(f"{counted(len(built.table), 'image')} of {patients}: {output}")


def _sources(
    folder: Path,
    *,
    site: tuple[str | None, str | None, str | None, str],
    patient: tuple[str | None, str | None, str | None, str],
    labels: tuple[Path | None, str, str | None, str],
    spelling: dict[str, Any],
) -> "tuple[SiteSource | None, PatientSource | None, TableJoin | None]":
    """Where sites, patients and labels come from; leaves with status 2 where an option makes no sense."""
    from fairpool.data.scan import PatientSource, SiteSource, TableJoin
    from fairpool.errors import DataError

    sites = patients = joined = None
    try:
        source, column, key, on = site
        if source is not None:
            sites = SiteSource(source, root=folder, column=column, key=key or on, on=on, **spelling)
        source, column, key, on = patient
        if source is not None:
            kind, _, value = source.partition(":")
            if kind not in ("path", "table") or not value:
                refuse_usage("--patient-from takes path:PATTERN or table:FILE.")
            if kind == "path":
                patients = PatientSource(pattern=value)
            elif column is None:
                refuse_usage("--patient-from table:FILE needs --patient-column.")
            else:
                patients = PatientSource(table=TableJoin(value, column, key or on, on))
        file, label, key, on = labels
        if file is not None:
            joined = TableJoin(file, label, key or on, on)
    except DataError:
        raise
    except ValueError as error:
        refuse_usage(str(error))
    return sites, patients, joined


def _report(built: "BuiltManifest", terminal: "Terminal") -> None:
    """Counts by site and format, and what a reader of the table should know."""
    from rich.table import Table
    from rich.text import Text

    from fairpool.data.counted import counted
    from fairpool.data.manifest_schema import validate_manifest
    from fairpool.errors import DataError

    table = built.table
    counts = table.groupby(["site", "scanner", "format"]).agg(images=("path", "size"), patients=("patient", "nunique"))
    shown = Table("site", "scanner", "format", title="images found")
    for column in counts.columns:
        shown.add_column(column, justify="right")
    for (site, scanner, kind), row in list(counts.iterrows())[:_LISTED]:
        shown.add_row(Text(site), Text(scanner), kind, *(str(number) for number in row))
    terminal.console.print(shown)
    if len(counts) > _LISTED:
        terminal.console.print(f"and {counted(len(counts) - _LISTED, 'line')} more", highlight=False)
    if built.num_known:
        known, read = counted(built.num_known, "file was", "files were"), counted(built.num_read, "was", "were")
        terminal.note(f"{known} known from an earlier run; {read} read")
    for kind, number in built.skipped.most_common():
        terminal.note(f"{counted(number, 'file')} passed over: {kind}")
    for sentence in built.notes:
        terminal.note(sentence)
    if not table["site"].any():
        terminal.note("no image has a site: say where it stands with --site-from")
        return
    try:
        for sentence in validate_manifest(table):
            terminal.note(sentence)
    except DataError as error:
        terminal.note(str(error))
