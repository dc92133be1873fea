"""Which method trains the fairest model at no more error? The paper's methods and others, on synthetic hospitals.

    python benchmarks/methods.py [--work DIR] [--workers 2]

Draws the hospitals, tunes every method alike, trains 5 seeds of each at every number of sites and confounding strength,
and writes docs/results.md, its plots and benchmarks/results/methods.json. About two hours of processor time; the same
command again goes on where it was interrupted. With a part of the study (--methods, --sites, --strengths, --seeds) the
tables are printed and nothing is written but --json. `--rounds N` is a rehearsal of N seeds that takes seconds.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import monai
import torch
from methods_study.conditions import condition_of
from methods_study.plots import write_plots
from methods_study.protocol import REHEARSAL, STUDY, Plan, carry_out
from methods_study.registry import METHODS
from methods_study.report import markdown, table

ROOT = Path(__file__).resolve().parent.parent


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "output" / "methods", help="images and finished runs")
    parser.add_argument("--workers", type=int, default=min(2, os.cpu_count() or 1), help="processes of one thread each")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--rounds", type=int, help="only rehearse: this many seeds, everything else tiny")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), metavar="METHOD", default=list(STUDY.methods))
    parser.add_argument("--sites", nargs="+", type=int, choices=range(2, 6), default=list(STUDY.sites))
    parser.add_argument("--strengths", nargs="+", type=float, default=list(STUDY.strengths))
    parser.add_argument("--seeds", type=int, default=len(STUDY.seeds), help="number of reported seeds")
    arguments = parser.parse_args()
    if arguments.workers < 1 or arguments.seeds < 1 or (arguments.rounds is not None and arguments.rounds < 1):
        parser.error("--workers, --seeds and --rounds must be at least 1")
    if not all(0 <= strength < 1 for strength in arguments.strengths):
        parser.error("--strengths must lie in [0, 1): at 1 some sites have no ill patient and others no healthy one")
    return arguments


def about() -> dict[str, str]:
    return {
        "machine": f"{platform.machine()} with {os.cpu_count()} cores",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "monai": monai.__version__,
    }


def main() -> None:
    arguments = parse()
    if arguments.rounds is None:
        plan = dataclasses.replace(
            STUDY,
            methods=tuple(arguments.methods),
            sites=tuple(arguments.sites),
            strengths=tuple(arguments.strengths),
            seeds=tuple(range(arguments.seeds)),
        )
        report(plan, arguments.work, arguments, is_whole=plan == STUDY)
        return
    plan = dataclasses.replace(REHEARSAL, methods=tuple(arguments.methods), seeds=tuple(range(arguments.rounds)))
    with tempfile.TemporaryDirectory() as folder:
        report(plan, Path(folder), arguments, is_whole=False)


def report(plan: Plan, work: Path, arguments: argparse.Namespace, *, is_whole: bool) -> None:
    """Carry the plan out, print its tables, and write what belongs to it: for the whole study the page as well."""
    start = time.monotonic()
    outcome = carry_out(plan, work, arguments.workers, lambda line: print(line, file=sys.stderr, flush=True))
    for condition in condition_of(plan, outcome["runs"]):
        print(condition.title, *table(condition), "", sep="\n")
    print(f"done after {time.monotonic() - start:.0f} s", file=sys.stderr)
    docs = ROOT / "docs" if is_whole else work / "docs"
    plots = write_plots(plan, outcome["runs"], docs / "images")
    page = markdown(plan, outcome, about(), {caption: f"images/{name}" for caption, name in plots.items()})
    (docs / "results.md").write_text(page, encoding="utf-8")
    if not is_whole and arguments.rounds is None:
        print(f"the page of this part of the study is {docs / 'results.md'}", file=sys.stderr)
    path = arguments.json or (ROOT / "benchmarks" / "results" / "methods.json" if is_whole else None)
    if path is not None:
        path.write_text(json.dumps(contents(plan, outcome), indent=1) + "\n", encoding="utf-8")


def contents(plan: Plan, outcome: dict[str, Any]) -> dict[str, Any]:
    """The JSON file: machine, plan, and every run."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False, cwd=ROOT)
    return {
        "about": {**about(), "commit": commit.stdout.strip()},
        "plan": dataclasses.asdict(plan),
        "results": outcome["runs"],
        "chosen": outcome["chosen"],
        "tuning": outcome["tuning"],
    }


if __name__ == "__main__":
    main()
