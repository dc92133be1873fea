"""Writes docs/performance.md from the files in benchmarks/results alone: figures, machine, versions, how to repeat.

    python benchmarks/performance_page.py [--results benchmarks/results] [--page docs/performance.md]

A benchmark whose file is missing, or is older than its present form, is named on the page as not measured.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
KEYS = ("machine", "versions", "command", "conditions", "rows")
NOTHING = "-"

Row = Mapping[str, Any]


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    ruler = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ruler, *body])


def pivot(rows: Sequence[Row], down: str, across: str, cell: Callable[[Row], str], unit: str = "") -> str:
    """A table of one value by two columns of the rows, both in the order in which they appear."""
    names, columns = (list(dict.fromkeys(row[key] for row in rows)) for key in (down, across))
    found = {(row[down], row[across]): cell(row) for row in rows}
    body = [[str(name), *(found.get((name, column), NOTHING) for column in columns)] for name in names]
    return table([down, *(f"{unit}{column}" for column in columns)], body)


def step_tables(rows: Sequence[Row]) -> list[str]:
    """Ratios of whole steps, and what the loss alone adds."""

    def ratio(row: Row) -> str:
        if "ratio" not in row:
            return row["note"]
        return f"{row['ratio']:.2f} ({row['ratio_lower_quartile']:.2f} to {row['ratio_upper_quartile']:.2f})"

    def extra(row: Row) -> str:
        return f"{row['extra_us']:.0f}" if "extra_us" in row else row["note"]

    alone = [row for row in rows if row["workload"].startswith("loss alone")]
    return [
        "Time of a whole step over that of plain cross-entropy, median and quartiles:",
        pivot([row for row in rows if row not in alone], "contender", "workload", ratio),
        "Microseconds that are added where there is no network, median:",
        pivot([row for row in alone if row["contender"] != "cross-entropy"], "contender", "workload", extra),
    ]


def metrics_tables(rows: Sequence[Row]) -> list[str]:
    """Milliseconds and ratios to a bincount, and the memory of a streaming metric."""

    def cell(row: Row) -> str:
        return f"{row['median_ms']:.2f} ms, {row['ratio_to_bincount']:.2f} x" if "median_ms" in row else ""

    timed = [row for row in rows if "predictions" not in row]
    parts = ["Milliseconds, and how many times a bare `bincount`:", pivot(timed, "contender", "groups", cell, "K=")]
    for row in rows:
        if "predictions" in row:
            parts.append(
                f"Resident memory of a streaming metric with {row['groups']} groups: {row['before_mib']:.1f} MiB "
                f"before, {row['after_mib']:.1f} MiB after {row['predictions']:,} predictions."
            )
    return parts


def images_tables(rows: Sequence[Row]) -> list[str]:
    """Reading one image, and the throughput of loaders."""
    reading = [row for row in rows if "reader" in row]
    body = [[row["reader"], str(row["bits"]), f"{row['median_ms']:.2f}", f"{row['peak_mib']:.0f}"] for row in reading]

    def rate(row: Row) -> str:
        waited = row["step_waited_percent"]
        words = "" if waited is None else f", step waited {waited:.0f} %"
        return f"{row['images_per_second']:.0f}{words}"

    loading = [row for row in rows if "loader" in row]
    return [
        table(["reader", "bits", "median ms", "peak MiB"], body),
        "Images a second, by worker processes:",
        pivot(loading, "loader", "workers", rate),
    ]


def manifest_rows_tables(rows: Sequence[Row]) -> list[str]:
    """Seconds and memory by step."""
    body = [
        [row["step"], f"{row['median']:.2f} {row['unit']}", f"{row['smallest']:.2f} to {row['largest']:.2f}"]
        for row in rows
    ]
    return [table(["step", "median", "range"], body)]


def manifest_tables(rows: Sequence[Row]) -> list[str]:
    """Seconds of each way to scan the files."""
    body = [
        [row["contender"], f"{row['median_s']:.2f} s", f"{row['fastest_s']:.2f} to {row['slowest_s']:.2f}"]
        for row in rows
    ]
    return [table(["way", "median", "range"], body)]


def soak_tables(rows: Sequence[Row]) -> list[str]:
    """Memory and descriptors by epoch, and what arrived at the server."""
    epochs = [row for row in rows if "epoch" in row]
    body = [[str(row["epoch"]), f"{row['resident_mib']:.0f}", str(row["descriptors"])] for row in epochs]
    parts = [table(["after epoch", "resident MiB", "descriptors"], body)]
    for row in rows:
        if "restarts" in row:
            parts.append(
                f"From a quarter of the epochs to the last memory grew by {row['growth_percent']:.1f} %; "
                f"{row['fewest_descriptors']} to {row['most_descriptors']} descriptors were open. In "
                f"{row['seconds']:,} s the server was killed {row['restarts']} times. Of the "
                f"{row['metrics_of_each_epoch']} metrics of every epoch {row['metrics_with_a_gap']} lack a point, "
                f"of all {row['metrics']} metrics {row['metrics_with_a_double']} have one twice."
            )
    return parts


@dataclass(frozen=True)
class Section:
    """A benchmark on the page.

    Attributes:
        name: of its script and results, without the ending.
        question: the heading.
        tables: its rows to paragraphs.
    """

    name: str
    question: str
    tables: Callable[[Sequence[Row]], list[str]]


SECTIONS = (
    Section("step", "What does the constraint add to a training step?", step_tables),
    Section("metrics", "What do rates by site of a million predictions cost?", metrics_tables),
    Section("images", "How fast do full-size radiographs reach the training?", images_tables),
    Section("manifest_rows", "How long does a manifest of a million rows take?", manifest_rows_tables),
    Section("manifest", "How long does a manifest of DICOM files take to build?", manifest_tables),
    Section("soak", "Does a long training grow, and does its evidence arrive?", soak_tables),
)


def read_results(file: Path) -> Row | None:
    """The contents of a results file; None where it is missing or has another form.

    Raises:
        ValueError: the file is no JSON.
    """
    if not file.exists():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{file.name} is no JSON; run its benchmark again with --json.") from error
    return content if isinstance(content, dict) and all(key in content for key in KEYS) else None


def section_text(section: Section, results: Row) -> list[str]:
    """Heading, tables, and what is needed to repeat them."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return [
        f"## {section.question}",
        *section.tables(results["rows"]),
        f"Conditions: {results['conditions']}. Machine: {results['machine']}. Versions: {versions}. "
        f"Figures: [`benchmarks/results/{section.name}.json`](../benchmarks/results/{section.name}.json). To repeat:",
        f"    {results['command']} --json benchmarks/results/{section.name}.json",
    ]


def make_page(folder: Path) -> str:
    """The whole page as Markdown."""
    parts = [
        "# Performance",
        "Written by [`benchmarks/performance_page.py`](../benchmarks/performance_page.py) from the files in "
        "`benchmarks/results`; do not edit. `make bench` measures anew and writes the page. Compare figures of one "
        "section only: sections may come from different machines.",
        "The other libraries are optional: `pip install --no-deps -r benchmarks/requirements.txt`. One that was "
        'missing is marked "not installed".',
    ]
    missing = []
    for section in SECTIONS:
        results = read_results(folder / f"{section.name}.json")
        if results is None:
            missing.append(f"`benchmarks/{section.name}.py`")
        else:
            parts += section_text(section, results)
    if missing:
        parts.append(f"Not measured in their present form: {', '.join(missing)}.")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    arguments = parser.parse_args()
    arguments.page.write_text(make_page(arguments.results), encoding="utf-8")


if __name__ == "__main__":
    main()
