"""The study's page, from its runs alone."""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from fairpool.metrics import sign_flip_p_value
from methods_study.conditions import OURS, Condition, Rows, condition_of, deviation
from methods_study.figures import FIGURES
from methods_study.hospitals import cell_counts
from methods_study.protocol import Plan
from methods_study.registry import BASES

__all__ = ["markdown", "table"]

TRIED = Path(__file__).with_name("tried.md")
"""What was tried, in the words of those who did; it becomes a section of the page."""


def table(condition: Condition) -> list[str]:
    """Markdown lines: one row a method, mean ± standard deviation over seeds, in percent."""
    headings = ["", *FIGURES.values(), "CPU seconds"]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    leader = condition.contenders()[0] if condition.methods else ""
    for method in condition.methods:
        cells = [_spread(condition.values(method, figure), 100) for figure in FIGURES]
        cells.append(_spread(condition.values(method, "seconds"), 1))
        name = f"**{method}**" if method == leader else method
        if condition.failed[method]:
            name += f" ({condition.failed[method]} failed)"
        lines.append("| " + " | ".join([name, *cells]) + " |")
    for method, failed in condition.failed.items():
        if failed and method not in condition.methods:
            lines.append(f"| {method} | all {failed} runs failed |")
    return lines


def markdown(plan: Plan, outcome: Mapping[str, Any], about: Mapping[str, Any], plots: Mapping[str, str]) -> str:
    """The page.

    Args:
        plan: what was carried out.
        outcome: what `carry_out` gave.
        about: machine and versions, by name.
        plots: address of each plot, by its caption.
    """
    conditions = condition_of(plan, outcome["runs"])
    parts = [
        "# Results: methods compared on synthetic hospitals",
        "<!-- Written by benchmarks/methods.py from its runs. Do not edit: change the script. -->",
        _introduction(plan),
        "## Who leads",
        "\n".join(_verdict(condition) for condition in conditions if condition.strength > 0),
        "## What it costs without confounding",
        "\n".join(_cost(condition) for condition in conditions if condition.strength == 0),
    ]
    for condition in conditions:
        parts += [f"## {condition.title}", "\n".join(table(condition))]
    parts += [f"![{caption}]({address})" for caption, address in plots.items()]
    parts += ["## How it was done", _method(plan), _settings(plan, outcome["chosen"])]
    if TRIED.is_file():
        parts += ["## What was tried", TRIED.read_text(encoding="utf-8").strip()]
    machine = ", ".join(f"{name} {value}" for name, value in about.items())
    parts += ["## Machine", f"{machine}. CPU seconds are processor time of one training on one thread."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(plan: Plan) -> str:
    return _paragraph(f"""
        Mean ± standard deviation over {len(plan.seeds)} seeds, each with its own training patients, initial weights and
        order; figures in percent. Test images are balanced in site and label and the same for all runs,
        {plan.test_images} for each site and label. DEO is the largest difference between sites in the false negative
        rate; "a fair model's" is the DEO that a model with this false negative rate at every site would show on these
        test images by chance, in the mean. In-distribution error is the error where site and label go together as in
        the training pool. FNR and FPR are means over the sites. In bold: the smallest DEO among the methods within one
        point of the smallest error. p is that of the sign-flip test, unadjusted; {len(plan.seeds)} seeds can give none
        below {2 / 2 ** len(plan.seeds):.2g}, so that no order of methods here is more than an indication. The images
        are drawn by a program: these figures compare methods and say nothing of patients.
    """)


def _verdict(condition: Condition) -> str:
    """Who has the smallest DEO among those within a point of the best error, and where FairALM stands."""
    close = condition.contenders()
    leader = close[0]
    best = min(condition.methods, key=lambda method: condition.mean(method, "error"))
    text = (
        f"- **{condition.title}**: the smallest error is {_of(condition, best, 'error')}. Of the methods within one "
        f"point of it ({', '.join(close)}), **{leader}** has the smallest DEO, {_of(condition, leader, 'deo')}"
        f" (a fair model's: {100 * condition.mean(leader, 'fair_deo'):.1f})"
    )
    if len(close) > 1:
        text += f", before {_against(condition, leader, close[1], 'deo')}"
    text += "."
    for method in OURS:
        if method in condition.methods and method != leader:
            distance = 100 * (condition.mean(method, "error") - condition.mean(best, "error"))
            text += (
                f" {method}: DEO {_of(condition, method, 'deo')}, error {distance:.1f} points above the smallest; "
                f"against the leader, {_paired(condition, method, leader, 'deo')}."
            )
    return text


def _cost(condition: Condition) -> str:
    if "unconstrained" not in condition.methods:
        return ""
    others = [method for method in condition.methods if method != "unconstrained"]
    costs = [f"{method} {_shown(condition.differences(method, 'unconstrained', 'error'))}" for method in others]
    base = _spread(condition.values("unconstrained", "error"), 100)
    return (
        f"- **{condition.title}**: error in points above the unconstrained {base} %, seed by seed: {'; '.join(costs)}."
    )


def _against(condition: Condition, method: str, other: str, figure: str) -> str:
    return f"{other} ({_paired(condition, method, other, figure)})"


def _paired(condition: Condition, method: str, other: str, figure: str) -> str:
    values = condition.differences(method, other, figure)
    smaller = sum(value < 0 for value in values)
    return (
        f"difference seed by seed {_shown(values)}, smaller on {smaller} of {len(values)} seeds, "
        f"p = {sign_flip_p_value(values):.2g}"
    )


def _method(plan: Plan) -> str:
    recipe = plan.recipe
    training = _paragraph(f"""
        Images of {plan.size} x {plan.size} pixels, drawn at twice the size. A training pool has {plan.training_images}
        images, the same number from every site; at confounding c the sites' shares of ill patients are spread evenly
        from 0.5 - c/2 to 0.5 + c/2. Every training is MONAI's SupervisedTrainer over {recipe.epochs} epochs of batches
        of {recipe.batch_size}: a ResNet with one basic block a stage and {", ".join(map(str, recipe.block_inplanes))}
        channels, AdamW with a cosine schedule, random flips and shifts. The constraint is equal opportunity.
    """)
    tuning = _paragraph(f"""
        Every method had the same tuning budget: {plan.max_settings} settings, each trained on {len(plan.tuning_seeds)}
        tuning seed{"s" if len(plan.tuning_seeds) > 1 else ""} for each number of sites and strength, whose patients are
        in no reported run. The choice was made on {plan.validation_images} validation images a tuning seed, drawn with
        the confounding of the training pool because a user has no balanced ones: the smallest DEO among the settings
        whose balanced accuracy is at least {plan.within:g} of the method's best. (The paper's procedure has 0.9, which
        would let a setting cost eight points of error.) A setting's DEO rests on few rare cases there ({_rarest(plan)}
        ill patients of the rarest site at the largest strength and number of sites), so the choice among accurate
        settings is noisy, for all methods alike. Methods without settings of their own tried two weight decays instead.
        {_borrowed(plan)}The test images were used for the reported runs alone.
    """)
    return f"{training}\n\n{tuning}"


def _rarest(plan: Plan) -> int:
    cohorts = [plan.validation(max(plan.sites), max(plan.strengths), seed) for seed in plan.tuning_seeds]
    return sum(int(cell_counts(cohort)[1].min()) for cohort in cohorts)


def _borrowed(plan: Plan) -> str:
    names = [f"{name} has the settings of {base}" for name, base in BASES.items() if name in plan.methods]
    return f"{'; '.join(names)}. " if names else ""


def _paragraph(text: str) -> str:
    return " ".join(text.split())


def _settings(plan: Plan, chosen: Rows) -> str:
    conditions = list(product(plan.sites, plan.strengths))
    headings = ["setting chosen", *(f"{num_sites} sites, {strength:g}" for num_sites, strength in conditions)]
    lines = ["| " + " | ".join(headings) + " |", "|---" * len(headings) + "|"]
    short = {"learning_rate": "lr", "weight_decay": "decay", "adversary_learning_rate": "adversary's lr"}
    for method in plan.methods:
        cells = []
        for num_sites, strength in conditions:
            settings = next(
                row["settings"]
                for row in chosen
                if (row["num_sites"], row["strength"], row["method"]) == (num_sites, strength, method)
            )
            cells.append(", ".join(f"{short.get(name, name)} {value:g}" for name, value in settings.items()))
        lines.append("| " + " | ".join([method, *cells]) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float], factor: float) -> str:
    return f"{factor * fmean(values):.1f} ± {factor * deviation(values):.1f}"


def _of(condition: Condition, method: str, figure: str) -> str:
    text = _spread(condition.values(method, figure), 100)
    return f"{text} % ({method})" if figure == "error" else text


def _shown(values: Sequence[float]) -> str:
    return f"{100 * fmean(values):+.1f} ± {100 * deviation(values):.1f}" if values else "none"
