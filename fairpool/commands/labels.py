"""``fairpool labels``: which labels a plain network predicts unfairly, and what FairALM makes of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fairpool.commands.options import DEFAULT_OUTPUT, Output, TrackingUri
from fairpool.commands.outcome import make_output, method_names, quieten, refuse_usage

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["labels"]

_EXPERIMENT = "celeba-labels"


def labels(
    dataset: Annotated[str, typer.Argument(help="celeba")],
    data: Annotated[
        Path | None, typer.Option("--data", help="The data set's folder; default: synthetic faces.")
    ] = None,
    protected: Annotated[str, typer.Option("--protected", help="Attributes, separated by commas.")] = "Male,Young",
    least_precision: Annotated[float, typer.Option("--least-precision", help="On validation, 0 to 1.")] = 0.7,
    least_deo: Annotated[float, typer.Option("--least-deo", help="On validation, 0 to 1.")] = 0.04,
    pixels: Annotated[int, typer.Option("--pixels", min=4, help="Side of the reduced colour image.")] = 32,
    epochs: Annotated[int, typer.Option("--epochs", min=1)] = 5,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1)] = 64,
    learning_rate: Annotated[float, typer.Option("--learning-rate", help="Of SGD with momentum 0.9.")] = 0.01,
    width: Annotated[int, typer.Option("--width", min=1, help="Units of each hidden layer.")] = 64,
    eta: Annotated[float, typer.Option("--eta", help="Penalty of FairALM.")] = 0.02,
    dual_step: Annotated[float | None, typer.Option("--dual-step", help="Of its multipliers; default: eta.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    output: Output = DEFAULT_OUTPUT,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train a 3-layer ReLU network for every attribute, select the unfair ones, train these again under FairALM.

    The paper's figure 1. A label is selected if a plain network predicts it on the validation section with at least
    70 % precision and a DEO of at least 4 points; all figures shown are of the test section. Writes labels.csv,
    labels.json and labels.png into a folder of the search below the output, named by its data and settings, and flat
    runs into MLflow.
    """
    from fairpool.commands.labels_data import celeba_labels
    from fairpool.data.celeba import check_attributes
    from fairpool.terminal import Terminal
    from fairpool.tracking import default_tracking_uri, naming_store_failures, open_experiment
    from fairpool.unfair_labels import LabelTraining, find_unfair_labels
    from fairpool.unfair_labels_report import as_json, log_labels, search_identity, unfair_label_plot
    from fairpool.whole_file import write_json, write_whole

    if dataset != "celeba":
        refuse_usage(f'only the labels of celeba can be searched; got "{dataset}".')
    names = method_names("--protected", protected, "attribute") or []
    try:
        for name in names:
            check_attributes(name)
        if len(set(names)) < len(names):
            refuse_usage(f"--protected names an attribute twice, got {protected}: name each attribute once.")
        training = LabelTraining(epochs, batch_size, learning_rate, width, eta, dual_step, seed)
    except ValueError as error:
        refuse_usage(str(error))
    for option, value in (("--least-precision", least_precision), ("--least-deo", least_deo)):
        if not 0 <= value <= 1:
            refuse_usage(f"{option} is a share, in [0, 1]; got {value}.")
    make_output(output)
    quieten()
    address = tracking_uri or default_tracking_uri(output)
    terminal = Terminal()
    with terminal:
        client, experiment_id = open_experiment(address, _EXPERIMENT)
        found_data, digest, notes = celeba_labels(data, output, pixels, terminal)
        bar = terminal.progress.add_task("training the networks", total=None, status="")
        found = find_unfair_labels(
            found_data,
            names,
            training=training,
            least_precision=least_precision,
            least_deo=least_deo,
            progress=lambda done, total: terminal.progress.update(bar, completed=done, total=total),
        )
    settings = {**vars(training), "pixels": pixels, "least_precision": least_precision, "least_deo": least_deo}
    settings |= {"data": digest, "pipeline": "celeba", "protected": ",".join(names)}
    study = search_identity(settings)
    with naming_store_failures(address):
        log_labels(client, experiment_id, found, settings, study)
    folder = output / study
    folder.mkdir(exist_ok=True)
    write_json(folder / "labels.json", as_json(found, settings, notes), allow_nan=False)
    write_whole(folder / "labels.csv", found.to_csv(index=False))
    unfair_label_plot(found).savefig(folder / "labels.png", dpi=150)
    _show(found)
    typer.echo(f"Figures of all labels: {folder / 'labels.csv'}; the plot: {folder / 'labels.png'}")


def _show(found: "pd.DataFrame") -> None:
    from rich.console import Console
    from rich.table import Table

    from fairpool.unfair_labels_report import unfair_labels_table

    grid = Table(title="Test section, percent; selected on validation", caption="second figure of a pair: FairALM")
    for number, title in enumerate(_TITLES):
        grid.add_column(title, justify="right" if number else "left", overflow="fold")
    table = unfair_labels_table(found)
    for row in table.to_dict("records"):
        pairs = [f"{_percent(row[f'{name}_unconstrained'])} → {_percent(row[f'{name}_fairalm'])}" for name in _SHOWN]
        label = f"{row['target']}\n  against {row['protected']}"
        chance = f"{_percent(row['deo_by_chance_unconstrained'])} → {_percent(row['deo_by_chance_fairalm'])}"
        grid.add_row(label, *pairs, chance, str(row["fewest_positives"]))
    console = Console(file=sys.stdout)
    console.print(grid)
    tried = found[found["method"] == "unconstrained"].groupby("protected", sort=False)["target"].nunique()
    for name, number in tried.items():
        chosen = int((table["protected"] == name).sum())
        console.print(f"{name}: {chosen} of {number} labels selected", highlight=False)
    silent = table[table["precision_fairalm"].isna()]
    for row in silent.to_dict("records"):
        console.print(
            f"note: under FairALM the network of {row['target']} ({row['protected']}) predicts no positive at all: "
            "its DEO of 0 is no fairness. Lower --eta or train longer.",
            highlight=False,
        )


_SHOWN = ("precision", "error", "deo")
_TITLES = ("label", "precision", "error", "DEO", "DEO if equal", "fewest positives")


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f}"
