"""``fairpool audit``: what a table of images can support, before anything is trained."""

from pathlib import Path
from typing import Annotated

import typer

from fairpool.commands.options import (
    Aliases,
    IgnoreLabel,
    Image,
    MaxGroups,
    NormalizeSites,
    Patient,
    Positive,
    Site,
    table_options,
)
from fairpool.commands.outcome import check_target, quieten, refuse_usage
from fairpool.constraints import CONSTRAINTS

__all__ = ["audit"]


def audit(
    manifest: Annotated[Path, typer.Argument(help="Table of images: .csv, .tsv, .parquet or .json datalist.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the images; default: the manifest's.")] = None,
    image_column: Image = "image",
    label_column: Annotated[str, typer.Option("--label-column", help="Column of the labels.")] = "label",
    positive: Positive = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    normalize_sites: NormalizeSites = False,
    aliases: Aliases = None,
    ignore_label: IgnoreLabel = None,
    max_groups: MaxGroups = 1000,
    scanner_column: Annotated[
        str | None,
        typer.Option("--scanner-column", help='Column of the scanners; default: "scanner", else the DICOM headers.'),
    ] = None,
    metadata_columns: Annotated[
        str,
        typer.Option("--metadata-columns", help="More columns to tell the site from, separated by commas: age,sex."),
    ] = "",
    no_images: Annotated[bool, typer.Option("--no-images", help="Audit the table alone; read no image.")] = False,
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, help="Of more images, a random sample of patients is read.")
    ] = 20_000,
    constraint: Annotated[str, typer.Option("--constraint", help=", ".join(CONSTRAINTS))] = "equal_opportunity",
    html_file: Annotated[Path | None, typer.Option("--html", help="Also write a page with plots, as .html.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures, as .json.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of folds, classifiers and resamples.")] = 0,
) -> None:
    """Say whether a table of images can support a fairness constraint, and what a network might learn instead.

    Counts and prevalence by site, label and scanner; association with intervals; cells too small to constrain; how well
    the site can be told from metadata, image statistics and thumbnails; copies; advice, and a verdict as the last line.
    The status is 0 whatever the verdict.
    """
    columns = table_options(locals())
    check_target("--html", html_file, (".html", ".htm"))
    check_target("--json", json_file, (".json",))
    if constraint not in CONSTRAINTS:
        refuse_usage(f'there is no constraint "{constraint}"; choose one of {", ".join(CONSTRAINTS)}.')
    from fairpool.audit import audit_manifest
    from fairpool.audit.terminal import show_audit
    from fairpool.data.image_cache import default_cache_dir
    from fairpool.terminal import Terminal
    from fairpool.whole_file import write_json, write_whole

    quieten()
    terminal = Terminal(constraint)
    task = terminal.progress.add_task("telling sites apart", total=None, visible=False, status="")

    def measured(done: int, total: int) -> None:
        terminal.progress.update(task, completed=done, total=total, visible=True)

    with terminal:
        found = audit_manifest(
            manifest,
            columns=columns,
            root_dir=data,
            scanner_column=scanner_column,
            metadata_columns=[name.strip() for name in metadata_columns.split(",") if name.strip()],
            read_images=not no_images,
            constraint=constraint,
            seed=seed,
            max_images=max_images,
            cache_dir=default_cache_dir(),
            progress=terminal.images,
            measured=measured,
        )
    show_audit(found, terminal.console)
    if json_file is not None:
        write_json(json_file, found.to_json(), allow_nan=False)
        terminal.console.print(f"JSON: {json_file}", highlight=False, markup=False, soft_wrap=True)
    if html_file is not None:
        from fairpool.audit.page import make_page

        write_whole(html_file, make_page(found))
        terminal.console.print(f"page: {html_file}", highlight=False, markup=False, soft_wrap=True)
