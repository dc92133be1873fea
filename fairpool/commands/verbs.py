"""``fairpool verbs``: the gender-biased verbs of imSitu's annotations, and pairs to train on."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.outcome import check_target, refuse_usage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["verbs"]


def verbs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder with train.json, dev.json, test.json of imSitu.")
    ],
    min_images: Annotated[
        int, typer.Option("--min-images", min=1, help="Images of one gender that a verb needs.")
    ] = 50,
    min_rare: Annotated[int, typer.Option("--min-rare", min=1, help="Images of the rarer gender, in a pair.")] = 10,
    section: Annotated[str, typer.Option("--section", help="training, validation, test or all.")] = "training",
    gender_rule: Annotated[
        str, typer.Option("--gender-rule", help='"nouns", or "gloss_words" of Zhao et al. 2017.')
    ] = "nouns",
    most: Annotated[int, typer.Option("--most", min=1, help="Verbs of each side and pairs that are shown.")] = 15,
    csv_file: Annotated[Path | None, typer.Option("--csv", help="Also write all verbs here.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write verbs and pairs here.")] = None,
) -> None:
    """List the verbs whose agents are men, or women, more often than not, with 95 % intervals; propose pairs.

    The share of men among the images with one gender, as in Zhao et al. 2017, from the annotations alone: no image is
    read. A pair is for `fairpool run imsitu positive_verb=... negative_verb=...`.
    """
    check_target("--csv", csv_file, (".csv",))
    check_target("--json", json_file, (".json",))
    from fairpool.data.imsitu import GENDER_RULES, SECTION_FILES, read_imsitu
    from fairpool.data.imsitu_verbs import biased_verbs, propose_pairs
    from fairpool.whole_file import write_json, write_whole

    if section not in (*SECTION_FILES, "all"):
        refuse_usage(f'--section must be {", ".join(SECTION_FILES)} or all; got "{section}".')
    if gender_rule not in GENDER_RULES:
        refuse_usage(f'--gender-rule must be {" or ".join(GENDER_RULES)}; got "{gender_rule}".')
    records = read_imsitu(folder, gender_rule=gender_rule)
    table = biased_verbs(records, min_images=min_images, section=None if section == "all" else section)
    pairs = propose_pairs(table, most=most, min_rare=min_rare)
    _show(table, pairs, most)
    if csv_file is not None:
        write_whole(csv_file, table.to_csv(index=False))
    if json_file is not None:
        rule = {"section": section, "min_images": min_images, "min_rare": min_rare, "gender_rule": gender_rule}
        write_json(json_file, {**rule, "verbs": table.to_dict("records"), "pairs": pairs.to_dict("records")})


def _show(table: "pd.DataFrame", pairs: "pd.DataFrame", most: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout)
    for gender, others in (("male", table), ("female", table[::-1])):
        leaning = others[others["leans"] == gender]
        grid = Table(title=f"{len(leaning)} of {len(table)} verbs lean to {gender} agents")
        for title in ("verb", "male", "female", "mixed", "none", "share of men, %", "95 % interval"):
            grid.add_column(title, justify="left" if title == "verb" else "right")
        for row in leaning.head(most).to_dict("records"):
            numbers = [str(row[word]) for word in ("male", "female", "mixed", "none")]
            interval = f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
            grid.add_row(str(row["verb"]), *numbers, f"{100 * row['ratio']:.1f}", interval)
        console.print(grid)
    if pairs.empty:
        console.print("no pair: no verbs lean to either side with enough images of their rarer gender", highlight=False)
    for row in pairs.to_dict("records"):
        settings = f"positive_verb={row['female_verb']} negative_verb={row['male_verb']}"
        shares = f"{100 * row['female_ratio']:.0f} and {100 * row['male_ratio']:.0f} % men"
        console.print(
            f"pair: {settings}   ({shares}; rarest {row['rare']})", highlight=False, markup=False, soft_wrap=True
        )
