"""A `PaperTable` as text: Markdown, LaTeX, CSV."""

import csv
import io

from fairpool.csv_cells import text_cell
from fairpool.gaps import GAP_WORDS
from fairpool.paper_table import METHOD_NAMES, PaperTable

__all__ = ["gap_title", "method_title", "to_csv", "to_latex", "to_markdown"]

_LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
}


def method_title(method: str) -> str:
    """The paper's name of a method, or its own."""
    return METHOD_NAMES.get(method, method)


def gap_title(table: PaperTable) -> str:
    """Heading of the gap's columns, such as DEO."""
    return GAP_WORDS.get(table.gap, table.gap)


def to_markdown(table: PaperTable) -> str:
    """A Markdown table, the best of each column in bold.

    >>> from fairpool.paper_table import Figure, Task
    >>> task = Task("A(+) B(-)", {"fairalm": (Figure(12.34, None, 1), Figure(0.0, None, 1))}, {"fairalm": ["x"]})
    >>> print(to_markdown(PaperTable(["fairalm"], [task], "deo", [])).splitlines()[2])
    | FairALM | **12.3** | **0.0** |
    """
    heads = [f"{task.title} {word}" for task in table.tasks for word in ("ERR", gap_title(table))]
    lines = [_markdown_row(["", *heads]), "|---|" + "---:|" * len(heads)]
    for method in table.methods:
        cells = [f"**{text}**" if is_best else text for text, is_best in table.cells(method)]
        lines.append(_markdown_row([method_title(method), *cells]))
    return "\n".join([*lines, "", f"{table.spread}; the smallest of each column in bold.", ""])


def to_latex(table: PaperTable) -> str:
    """A LaTeX tabular in the paper's form; it needs no package."""
    count = len(table.tasks)
    tasks = " & ".join(f"\\multicolumn{{2}}{{c}}{{{_escaped(task.title)}}}" for task in table.tasks)
    heads = " & ".join(f"ERR & {_escaped(gap_title(table))}" for _ in table.tasks)
    lines = [f"% {table.spread}", f"\\begin{{tabular}}{{l{'rr' * count}}}", "\\hline"]
    lines += [f" & {tasks} \\\\", f" & {heads} \\\\", "\\hline"]
    for method in table.methods:
        cells = [f"\\textbf{{{_escaped(text)}}}" if best else _escaped(text) for text, best in table.cells(method)]
        lines.append(" & ".join([_escaped(method_title(method)), *cells]) + " \\\\")
    return "\n".join([*lines, "\\hline", "\\end{tabular}", ""])


def to_csv(table: PaperTable) -> str:
    """A row for each task and method, numbers in percent; empty where there is no estimate."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["task", "method", "error", "error_sd", table.gap, f"{table.gap}_sd", "runs"])
    for task in table.tasks:
        for method in table.methods:
            if method not in task.figures:
                continue
            figures = task.figures[method]
            numbers = [value for f in figures for value in ((f.mean, f.sd) if f is not None else (None, None))]
            runs = len(task.run_ids[method])
            shown = ["" if value is None else f"{value:.4f}" for value in numbers]
            writer.writerow([text_cell(task.title), text_cell(method), *shown, runs])
    return text.getvalue()


def _markdown_row(cells: list[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
    return f"| {' | '.join(escaped)} |".replace("|  |", "| |", 1)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text.replace("\n", " "))
