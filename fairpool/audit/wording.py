"""The figures of an audit as tables of words: what the terminal and the page both show."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from fairpool.audit.cells import Cell
from fairpool.audit.report import Audit
from fairpool.audit.verdicts import EVENT_WORDS

__all__ = ["TextTable", "summary_line", "tables_of", "verdict_line"]

MOST_ROWS = 40
_SIZES = {"empty": "none", "few": "too few", "small": "small", "enough": ""}
_NAMES = {
    "cannot support": "cannot support",
    "support with care": "support, with care,",
    "support": "support",
}


@dataclass(frozen=True)
class TextTable:
    """A table of words.

    Attributes:
        title: what it shows.
        header: of the columns; the first column is of text, the others of figures.
        rows: cells, as many as the header.
        note: how to read it; and how many rows are not shown.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def summary_line(audit: Audit) -> str:
    """What was audited, in one line."""
    patients = f"{audit.num_patients} patients" if audit.patients_named else "patients not named"
    read = f"; {audit.num_read} images read" if audit.num_read else "; no image read"
    return f"{audit.num_images} images, {patients}, {len(audit.sites)} sites; positive: {audit.positive}{read}"


def verdict_line(audit: Audit) -> str:
    """The last line: whether the data can support the constraint that was asked for."""
    return f"Verdict: these data {_NAMES[audit.verdict.verdict]} the constraint {audit.constraint}."


def tables_of(audit: Audit) -> list[TextTable]:
    """All tables, in the order of reading."""
    tables = [_cells(audit), _associations(audit), _gaps(audit), _separability(audit)]
    if audit.metadata_auc:
        tables.append(_metadata(audit))
    if audit.scanners:
        tables.insert(1, _scanners(audit))
    if audit.duplicates is not None:
        tables.append(_duplicates(audit))
    if audit.unreadable:
        tables.append(_unreadable(audit))
    tables.append(_verdicts(audit))
    return tables


def _cells(audit: Audit) -> TextTable:
    rows = []
    for negatives, positives in zip(audit.cells[::2], audit.cells[1::2], strict=True):
        rate, low, high = audit.prevalence[negatives.site]
        share = f"{100 * rate:.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        rows.append((negatives.site, *_cell(negatives), *_cell(positives), share))
    header = ("site", "negatives", "± at 15 %", "positives", "± at 15 %", "share of positives (95 %)")
    note = (
        "Images (patients, where fewer). ±: half the 95 % interval of an error rate of 15 % there, in points, if all "
        "images of a patient are right or wrong together; over 15 is too few to constrain, over 10 is small."
    )
    return _table("Sites and labels", header, rows, note)


def _cell(cell: Cell) -> tuple[str, str]:
    patients = f" ({cell.patients})" if cell.patients != cell.images else ""
    # Rounded up, so that 15.04, which is over 15, does not stand there as 15.0.
    half = "-" if cell.half_width is None else f"{math.ceil(1000 * cell.half_width) / 10:.1f}"
    return f"{cell.images}{patients}", f"{half} {_SIZES[cell.size]}".strip()


def _scanners(audit: Audit) -> TextTable:
    rows = [
        (
            cell.site,
            cell.scanner or "not named",
            *map(str, cell.images),
            str(cell.patients),
            f"{100 * cell.images[1] / sum(cell.images):.0f} %",
        )
        for cell in sorted(audit.scanners, key=lambda cell: (cell.site, -sum(cell.images), cell.scanner))
    ]
    header = ("site", "scanner", "negatives", "positives", "patients", "positive")
    return _table("Sites, scanners and labels", header, rows)


def _associations(audit: Audit) -> TextTable:
    rows: list[tuple[str, ...]] = []
    for name, found in audit.associations.items():
        if found.cramers_v is None:
            rows.append((name, *["one value only"], *["-"] * 4))
            continue
        limits = "too few patients" if found.low is None else f"{found.low:.2f} to {found.high:.2f}"
        corrected = "-" if found.corrected_v is None else f"{found.corrected_v:.2f}"
        bits = f"{found.bits:.3f} ({found.chance_bits:.3f})"
        rows.append(
            (name, f"{found.cramers_v:.2f}", corrected, limits, bits, f"{100 * (found.entropy_share or 0):.0f} %")
        )
    header = ("", "Cramér's V", "corrected", "95 % interval", "bits in common (by chance)", "of the second's entropy")
    note = "0: independent. 1: each tells the other for certain. Corrected: Bergsma 2013; interval over patients."
    return _table("What goes with what", header, rows, note)


def _gaps(audit: Audit) -> TextTable:
    rows = [
        (EVENT_WORDS[event], *("-" if value is None else f"{100 * value:.1f}" for value in values))
        for event, values in audit.expected_gaps.items()
        if event != "predicted_positive"
    ]
    note = "Largest difference between sites, in points, that a model with 15 % errors at every site shows by chance."
    return _table("Gap of a perfectly fair model", ("errors among", "all images test", "a quarter tests"), rows, note)


def _separability(audit: Audit) -> TextTable:
    rows = []
    for found in audit.separability:
        name = f"{found.target} from {'the site' if found.features == 'site' else found.features}"
        if found.auc is None:
            rows.append((name, "-", "-", found.note))
            continue
        spread = "" if found.auc_std is None else f" ± {found.auc_std:.2f}"
        # The site alone is the same for all images of a site.
        is_told = found.auc_within is not None and found.features != "site"
        within = f"{found.auc_within:.2f}" if is_told else "-"
        left_out = f"without {', '.join(found.left_out)}" if found.left_out else ""
        if len(left_out) > 60:
            left_out = f"without {len(found.left_out)} sites"
        rows.append((name, f"{found.auc:.2f}{spread}", within, left_out))
    header = ("told", "AUC", "AUC among equals", "remark")
    note = (
        "Five folds by patient, mean ± standard deviation over the folds; several sites: each against the rest. 0.5 is "
        "chance. Among equals: only images of one label (for the site) or of one site (for the label) are compared."
    )
    return _table("How well site and label are told", header, rows, note)


def _metadata(audit: Audit) -> TextTable:
    ordered = sorted(audit.metadata_auc.items(), key=lambda item: -(item[1] or 0))
    rows = [(name, "all the same" if auc is None else f"{auc:.2f}") for name, auc in ordered]
    return _table("Site from one metadata column", ("column", "AUC"), rows)


def _duplicates(audit: Audit) -> TextTable:
    words = {"same_pixels": "images that occur several times", "near": "pairs that look nearly the same"}
    keys = ("all", "across_sites", "across_splits", "across_labels")
    counts = audit.duplicates or {}
    rows = [(text, *(str(counts[name][key]) for key in keys)) for name, text in words.items()]
    return _table("Copies", ("", "in all", "at two sites", "in two splits", "with two labels"), rows)


def _unreadable(audit: Audit) -> TextTable:
    rows = [(f"row {image.row}", image.site, image.reason) for image in audit.unreadable]
    return _table("Images that cannot be read", ("row", "site", "why"), rows)


def _verdicts(audit: Audit) -> TextTable:
    rows = [(name, found.verdict, "; ".join(found.reasons) or "-") for name, found in audit.verdicts.items()]
    return _table("Can the data support the constraint?", ("constraint", "verdict", "because"), rows)


def _table(title: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], note: str = "") -> TextTable:
    if len(rows) > MOST_ROWS:
        note = f"{len(rows) - MOST_ROWS} more rows are in the JSON file. {note}".strip()
    return TextTable(title, header, tuple(rows[:MOST_ROWS]), note)
