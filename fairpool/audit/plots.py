"""The plots of an audit's page, as SVG; colours of Okabe and Ito, which the colour-blind tell apart."""

import base64
import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpool.audit.report import Audit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Plot", "plot_audit"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#999999"
_MOST_SITES = 50
_NAME_LENGTH = 28


class Plot:
    """A plot for the page.

    Attributes:
        title: its caption.
        alt: what it shows, for who cannot see it.
        source: a data URI: an image cannot run a script, and needs no request.
    """

    def __init__(self, title: str, alt: str, figure: "Figure") -> None:
        self.title, self.alt = title, alt
        content = io.BytesIO()
        figure.savefig(content, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        self.source = f"data:image/svg+xml;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def plot_audit(audit: Audit) -> list[Plot]:
    """Prevalence with intervals, counts, AUC, and mean images where there are some."""
    import matplotlib

    # A site's name is text, whatever signs are in it; the salt makes the same audit the same file.
    settings: Any = {"text.parse_math": False, "svg.hashsalt": "fairpool", "font.family": "DejaVu Sans", "font.size": 9}
    plots: list[Callable[[Audit], Plot | None]] = [_prevalence, _counts, _auc, _means]
    with matplotlib.rc_context(settings):
        return [plot for make in plots if (plot := make(audit)) is not None]


def _prevalence(audit: Audit) -> Plot:
    from matplotlib.figure import Figure

    sites = _shown(audit)
    figure = Figure(figsize=(6.5, 1.2 + 0.27 * len(sites)))
    axes = figure.subplots()
    rates = np.array([audit.prevalence[site] for site in sites])
    places = np.arange(len(sites))
    axes.hlines(places, 100 * rates[:, 1], 100 * rates[:, 2], color=_BLUE, lw=2)
    axes.plot(100 * rates[:, 0], places, "o", color=_BLUE)
    _name_sites(axes, sites)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("share of positives, % (with 95 % interval)")
    axes.grid(axis="x", color="#dddddd")
    lowest, highest = int(rates[:, 0].argmin()), int(rates[:, 0].argmax())
    alt = (
        f"Share of positives by site with intervals: from {100 * rates[lowest, 0]:.0f} % at {sites[lowest]} to "
        f"{100 * rates[highest, 0]:.0f} % at {sites[highest]}. The table has all figures."
    )
    return Plot(f"Share of positives by site{_of(audit, sites)}", alt, figure)


def _counts(audit: Audit) -> Plot:
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    sites = _shown(audit)
    images = {(cell.site, cell.label): cell.images for cell in audit.cells}
    counts = np.array([[images[site, label] for label in (0, 1)] for site in sites])
    figure = Figure(figsize=(4.5, 1.2 + 0.27 * len(sites)))
    axes = figure.subplots()
    shown = np.ma.masked_equal(counts, 0)
    scale = LogNorm(1, max(int(counts.max()), 2))
    axes.imshow(shown, cmap="cividis", aspect="auto", norm=scale)
    for row, column in np.ndindex(counts.shape):
        is_dark = counts[row, column] > 0 and float(scale(counts[row, column])) < 0.5
        colour = "white" if is_dark else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    _name_sites(axes, sites, inverted=False)
    axes.set_xticks([0, 1], ["negatives", "positives"])
    smallest = min(audit.cells, key=lambda cell: cell.images)
    kind = "positives" if smallest.label else "negatives"
    alt = f"Images by site and label; the smallest cell is {smallest.images} {kind} at {smallest.site}."
    return Plot(f"Images by site and label{_of(audit, sites)}", alt, figure)


def _auc(audit: Audit) -> Plot | None:
    from matplotlib.figure import Figure

    parts = [part for part in audit.separability if part.auc is not None]
    if not parts:
        return None
    figure = Figure(figsize=(6.5, 1.3 + 0.35 * len(parts)))
    axes = figure.subplots()
    names = [f"{part.target} from {'the site' if part.features == 'site' else part.features}" for part in parts]
    for place, part in enumerate(parts):
        colour = _BLUE if part.target == "site" else _ORANGE
        axes.barh(place, (part.auc or 0) - 0.5, left=0.5, color=colour, xerr=part.auc_std, ecolor="black", height=0.6)
        if part.auc_within is not None and part.features != "site":
            axes.plot(part.auc_within, place, "D", color="white", markeredgecolor="black", zorder=3)
    axes.axvline(0.5, color=_GREY, ls="--")
    _name_sites(axes, names)
    axes.set_xlim(min(0.45, *(part.auc or 0.5 for part in parts)) - 0.02, 1.02)
    axes.set_xlabel("AUC; bar: all images (± standard deviation over folds), diamond: among equals; 0.5 is chance")
    alt = "; ".join(f"{name}: AUC {part.auc:.2f}" for name, part in zip(names, parts, strict=True))
    return Plot("How well site and label are told", f"{alt}. Chance is 0.5.", figure)


def _means(audit: Audit) -> Plot | None:
    from matplotlib.figure import Figure

    sites = [site for site in _shown(audit) if site in audit.mean_images]
    if not sites:
        return None
    columns = min(6, len(sites))
    rows = -(-len(sites) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.75 * rows))
    for place, site in enumerate(sites):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(audit.mean_images[site], cmap="gray", vmin=0, vmax=1)
        axes.set_title(_short(site), fontsize=8)
        axes.set_axis_off()
    figure.tight_layout()
    names = ", ".join(sites)
    alt = f"Mean images of {names}: what differs between them by eye, such as brightness, borders or markers."
    return Plot("Mean image of each site with at least 10 patients, on one grey scale", alt, figure)


def _shown(audit: Audit) -> list[str]:
    """The sites with the most images, in the alphabet's order."""
    sizes = dict.fromkeys(audit.sites, 0)
    for cell in audit.cells:
        sizes[cell.site] += cell.images
    return sorted(sorted(sizes, key=lambda site: (-sizes[site], site))[:_MOST_SITES])


def _of(audit: Audit, sites: list[str]) -> str:
    return "" if len(sites) == len(audit.sites) else f" (the {len(sites)} largest of {len(audit.sites)})"


def _name_sites(axes, names: list[str], *, inverted: bool = True) -> None:  # type: ignore[no-untyped-def]
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    if inverted:
        axes.set_ylim(len(names) - 0.5, -0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= _NAME_LENGTH else f"{name[: _NAME_LENGTH - 1]}…"
