"""``fairpool duplicates``: find images that occur twice."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import Aliases, Image, MaxGroups, NormalizeSites, Patient, Site
from fairpool.commands.outcome import check_target, quieten, refuse_usage

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from fairpool.data.duplicates import Duplicates
    from fairpool.terminal import Terminal

__all__ = ["duplicates"]

_LISTED = 20


def duplicates(
    manifest: Annotated[Path, typer.Argument(help="Table of images: .csv, .tsv, .parquet or .json datalist.")],
    data: Annotated[Path | None, typer.Option("--data", help="Folder of the images; default: the manifest's.")] = None,
    distance: Annotated[
        int, typer.Option("--distance", min=0, max=11, help="Bits of 64 in which near images' hashes may differ.")
    ] = 4,
    image_column: Image = "image",
    label_column: Annotated[
        str | None, typer.Option("--label-column", help='Column of the labels; default: "label" where there is one.')
    ] = None,
    site_column: Site = "site",
    patient_column: Patient = None,
    split_columns: Annotated[
        list[str] | None,
        typer.Option("--split-column", help='Column of a split; several times. Default: "split" and all "split_...".'),
    ] = None,
    normalize_sites: NormalizeSites = False,
    aliases: Aliases = None,
    max_groups: MaxGroups = 1000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the findings here, as .json.")] = None,
) -> None:
    """Find images with the same pixels, and nearly the same, across sites, splits and labels.

    Uses the columns `pixel_hash` and `perceptual_hash` of `fairpool manifest build --hash-pixels`, or reads the images.
    Status 1 where the same pixels are in two splits or have two labels. Near pairs are for looking at: of 403 chest
    radiographs without a copy, 1 of 81,003 pairs lies within 4 bits, 5 within 6, 28 within 8; at that rate 10,000
    images have some 600 near pairs of different people. Found within 4 bits are all copies that were only reduced or
    compressed again, nearly 9 in 10 of another gamma, 1 in 6 cropped by 3 % a side; no mirrored or inverted ones.
    """
    check_target("--json", json_file, (".json",))
    from fairpool.data.duplicates import find_duplicates
    from fairpool.data.manifest import read_manifest, read_table
    from fairpool.terminal import Terminal
    from fairpool.whole_file import write_json

    quieten()
    terminal = Terminal()
    table = read_table(manifest)
    has_hashes = {"pixel_hash", "perceptual_hash"} <= set(table.columns)
    records = read_manifest(
        manifest,
        image_column=None if has_hashes else image_column,
        label_column=None,
        site_column=site_column,
        patient_column=patient_column,
        root_dir=data,
        normalize=normalize_sites,
        aliases=aliases,
        max_groups=max_groups,
    )
    splits = split_columns or [name for name in map(str, table) if name == "split" or name.startswith("split_")]
    label = label_column or ("label" if "label" in table else None)
    for option, names in (("split", splits), ("label", [label] if label else [])):
        if missing := [name for name in names if name not in table]:
            refuse_usage(
                f'the table has no column "{missing[0]}" of --{option}-column; it has {", ".join(map(str, table))}.'
            )
    hashes = table[["pixel_hash", "perceptual_hash"]] if has_hashes else _read_images(records, terminal)
    for name in splits:
        records[name] = table[name].str.strip().to_numpy()
    records["label"] = table[label].str.strip().to_numpy() if label else ""
    records[["pixel_hash", "perceptual_hash"]] = hashes.to_numpy()
    found = find_duplicates(records, split_columns=splits, distance=distance)
    for note in records.attrs.get("notes", []):
        terminal.note(note)
    _show(found, terminal.console)
    if json_file is not None:
        write_json(json_file, found.to_json())
    if found.faults():
        raise typer.Exit(1)


def _read_images(records: "pd.DataFrame", terminal: "Terminal") -> "pd.DataFrame":
    from fairpool.data.image_hashes import hash_images

    rows, sites = records["row"].tolist(), records["site"].tolist()
    with terminal:
        return hash_images(
            records["image"].tolist(),
            describe=lambda i: f"row {rows[i]} ({sites[i]})",
            progress=terminal.images,
        )


def _show(found: "Duplicates", console: "Console") -> None:
    from rich.table import Table

    from fairpool.data.counted import counted

    counts = found.counts()
    table = Table("", "in all", "at two sites", "in two splits", "with two labels", "of one patient")
    for column in table.columns[1:]:
        column.justify = "right"
    keys = ("all", "across_sites", "across_splits", "across_labels", "same_patient")
    words = {"same_pixels": "images that occur several times", "near": f"pairs within {found.distance} bits"}
    for name, title in words.items():
        table.add_row(title, *(str(counts[name].get(key, "")) for key in keys))
    console.print(table)
    console.print(
        f"{counted(found.num_images, 'image')}, {found.num_images - found.num_hashed} without a hash, "
        f"{found.num_blank} of one grey value; neither are compared.",
        highlight=False,
    )
    for _, group in list(found.equal.groupby("group"))[:_LISTED]:
        named = ", ".join(_name(row, found.split_columns) for row in group.to_dict("records"))
        _line(console, f"same pixels: {named}")
    for pair in found.near.head(_LISTED).to_dict("records"):
        other = {name: pair[f"other_{name}"] for name in ("row", "site", "label", *found.split_columns)}
        _line(
            console, f"{pair['distance']} bits: {_name(pair, found.split_columns)}, {_name(other, found.split_columns)}"
        )
    hidden = max(counts["same_pixels"]["all"] - _LISTED, 0) + max(len(found.near) - _LISTED, 0)
    if hidden:
        _line(console, f"and {hidden} more: --json FILE has them")
    for fault in found.faults():
        _line(console, f"fault: {fault}. Drop the copies, or give them one patient, one split and one label.")


def _name(row: dict, splits: tuple[str, ...]) -> str:
    about = [row["site"], *([f"label {row['label']}"] if row["label"] else []), *(row[name] for name in splits[:1])]
    return f"row {row['row']} ({', '.join(filter(None, about))})"


def _line(console: "Console", text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)
