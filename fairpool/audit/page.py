"""An audit as one HTML page that needs nothing else: no request, no script."""

from importlib.resources import files

from fairpool.audit.plots import plot_audit
from fairpool.audit.report import Audit
from fairpool.audit.wording import summary_line, tables_of, verdict_line

__all__ = ["make_page"]


def make_page(audit: Audit) -> str:
    """The page's text: figures as tables, plots as images inside it, every name escaped.

    Args:
        audit: what it shows. The page holds no file name and no patient.
    """
    from jinja2 import Environment, StrictUndefined

    template = files("fairpool.audit").joinpath("template.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        audit=audit,
        summary=summary_line(audit),
        verdict=verdict_line(audit),
        tables=tables_of(audit),
        plots=plot_audit(audit),
        words={"stop": "Stop", "care": "Care", "risk": "Risk", "note": "Note"},
    )
