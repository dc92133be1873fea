"""An audit on the terminal: tables, advice, and the verdict as the last line."""

from typing import TYPE_CHECKING

from fairpool.audit.report import Audit
from fairpool.audit.wording import summary_line, tables_of, verdict_line

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["show_audit"]


def show_audit(audit: Audit, console: "Console") -> None:
    """Print an audit."""
    from rich.table import Table
    from rich.text import Text

    def line(text: str) -> None:
        console.print(text, highlight=False, markup=False, soft_wrap=True)

    line(summary_line(audit))
    for note in audit.notes:
        line(f"note: {note}")
    for part in tables_of(audit):
        table = Table(title=Text(part.title), title_justify="left", caption=part.note or None, caption_justify="left")
        for number, name in enumerate(part.header):
            is_figure = all(row[number][:1] in "0123456789-<" for row in part.rows)
            table.add_column(Text(name), justify="right" if number and is_figure else "left")
        for row in part.rows:
            table.add_row(*map(Text, row))
        console.print(table)
    line("Advice")
    for sentence in audit.advice:
        line(f"  {sentence.level}: {sentence.text}.")
    for reason in audit.verdict.reasons:
        line(f"  {audit.constraint}: {reason}.")
    line(verdict_line(audit))
