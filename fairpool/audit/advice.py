"""What the figures of an audit mean for a training: sentences with their reasons, the gravest first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from fairpool.audit.association import Association
from fairpool.audit.cells import Cell
from fairpool.audit.separability import Separability
from fairpool.audit.verdicts import Verdict
from fairpool.data.checks import describe_cells

__all__ = ["LEVELS", "Advice", "Verdict", "advise", "advise_on_images", "prevalence_differs"]

LEVELS = ("stop", "care", "risk", "note")
"""stop: no constraint helps. care: the result would be doubtful. risk: what the constraint is for. note: to know."""

ALIKE_V = 0.1
"""Cramér's V below which the prevalence counts as alike; Cohen's "small" effect."""

TOLD_AUC = 0.9
"""AUC from which the site counts as told."""

HARDLY_AUC = 0.65

_DROP_AUC = 0.1
_LOST_SHARE = 0.05
_LISTED = 6


@dataclass(frozen=True)
class Advice:
    """One sentence.

    Attributes:
        code: a stable word for programs.
        level: one of `LEVELS`.
        text: for people.
    """

    code: str
    level: str
    text: str


def prevalence_differs(association: Association) -> bool:
    """Whether the sites differ in their share of positives by more than chance and by enough to matter."""
    value, low = association.corrected_v, association.low
    return value is not None and value >= ALIKE_V and (low is None or low > 0)


def advise(
    records: pd.DataFrame,
    cells: Sequence[Cell],
    associations: Mapping[str, Association],
    separability: Sequence[Separability],
    metadata_auc: Mapping[str, float | None],
    *,
    patients_named: bool,
) -> list[Advice]:
    """Sentences on sites, labels, scanners and how well the site is told.

    Args:
        records: columns ``site``, ``label``, ``patient`` and, where scanners are known, ``scanner``.
        cells: of `count_cells`.
        associations: as in `Audit`, like the rest.
        separability: see ``associations``.
        metadata_auc: see ``associations``.
        patients_named: see ``associations``.
    """
    found: list[Advice] = []
    sites, labels = records["site"].unique(), records["label"].unique()
    both = associations["site x label"]
    if len(sites) < 2:
        found.append(Advice("one_site", "stop", f'there is one site only, "{sites[0]}": nothing to compare'))
    if len(labels) < 2:
        found.append(Advice("one_label", "stop", f"every image has label {labels[0]}: nothing to tell apart"))
    present = [sum(cell.images > 0 for cell in cells if cell.label == label) for label in (0, 1)]
    if len(sites) > 1 and len(labels) > 1 and max(present) < 2:
        text = "no label occurs at two sites: no method can tell the site from the disease (perfect confounding)"
        found.append(Advice("perfect_confounding", "stop", text))
    elif len(labels) > 1 and (one_label := describe_cells(records)):
        more = f"; and {len(one_label) - _LISTED} more sites" if len(one_label) > _LISTED else ""
        found.append(Advice("site_without_label", "note", "; ".join(one_label[:_LISTED]) + more))
    if both.cramers_v is not None and len(sites) > 1:
        found.append(_on_prevalence(both, separability))
        found += _on_shortcut(both, separability)
    found += _on_metadata(metadata_auc)
    found += _on_scanners(records, associations)
    if not patients_named:
        text = "no column of patients: images of one patient may be on both sides of a split (--patient-column)"
        found.append(Advice("patients_not_named", "care", text))
    else:
        counts = records.groupby("patient")[["site", "label"]].nunique()
        if several := int((counts["site"] > 1).sum()):
            text = f"{several} patients have images at several sites: a split by patient ties these sites together"
            found.append(Advice("patients_at_several_sites", "note", text))
        if several := int((counts["label"] > 1).sum()):
            found.append(Advice("patients_with_both_labels", "note", f"{several} patients have images of both labels"))
    return sorted(found, key=lambda sentence: LEVELS.index(sentence.level))


def advise_on_images(
    sites: Sequence[str], faults: Mapping[int, str], duplicates: Mapping[str, Mapping[str, int]] | None
) -> list[Advice]:
    """Sentences on images that cannot be read and on copies.

    Args:
        sites: of every image that was looked at.
        faults: by index among them.
        duplicates: counts of `fairpool.data.duplicates.Duplicates.counts`; None where none were sought.
    """
    found = []
    if faults:
        lost = pd.Series([sites[index] for index in faults]).value_counts()
        shares = (lost / pd.Series(list(sites)).value_counts().reindex(lost.index)).sort_values(ascending=False)
        named = ", ".join(f"{site} {lost[site]} ({100 * shares[site]:.0f} %)" for site in shares.index[:_LISTED])
        level = "care" if shares.iloc[0] > _LOST_SHARE else "note"
        text = f"{len(faults)} images cannot be read: {named}; a site that loses more than others changes its rates"
        if gone := sorted(shares.index[shares == 1]):
            more = f" and {len(gone) - _LISTED} more" if len(gone) > _LISTED else ""
            text += f"; without an image, {', '.join(gone[:_LISTED])}{more} takes no part"
        found.append(Advice("unreadable_images", level, text))
    if duplicates is not None:
        same, near = duplicates["same_pixels"], duplicates["near"]
        if same["across_labels"]:
            text = f"{same['across_labels']} images occur with two labels and the same pixels: drop or correct them"
            found.append(Advice("duplicates_across_labels", "care", text))
        if same["across_sites"]:
            text = f"{same['across_sites']} images occur at two sites with the same pixels: drop the copies"
            found.append(Advice("duplicates_across_sites", "care", text))
        if same["across_splits"]:
            text = f"{same['across_splits']} images occur in two splits with the same pixels: drop the copies"
            found.append(Advice("duplicates_across_splits", "care", text))
        if other := same["all"] - max(same["across_labels"], same["across_sites"], same["across_splits"]):
            text = f"{other} images occur several times within a site: keep the copies in one split"
            found.append(Advice("duplicates", "note", text))
        if near["all"]:
            verb = "pair of images looks" if near["all"] == 1 else "pairs of images look"
            text = f"{near['all']} {verb} nearly the same (fairpool duplicates names them)"
            found.append(Advice("near_duplicates", "note", text))
    return found


def _on_prevalence(both: Association, separability: Sequence[Separability]) -> Advice:
    limits = "" if both.low is None else f", 95 % interval {both.low:.2f} to {both.high:.2f}"
    figure = f"Cramér's V of site and label {both.corrected_v or 0:.2f}{limits}"
    alone = _find(separability, "label", "site")
    auc = f"; the site alone predicts the label with AUC {alone.auc:.2f}" if alone and alone.auc is not None else ""
    if prevalence_differs(both):
        return Advice("prevalence_differs", "risk", f"the share of positives differs between sites ({figure}{auc})")
    uncertain = both.high is not None and both.high >= 2 * ALIKE_V
    hedge = ", though so few images do not exclude a difference" if uncertain else ""
    text = (
        f"the share of positives is alike at the sites ({figure}{auc}){hedge}: the site is no shortcut to the label, "
        "and a constraint could only even out what differs in difficulty"
    )
    return Advice("prevalence_alike", "note", text)


def _on_shortcut(both: Association, separability: Sequence[Separability]) -> list[Advice]:
    found = []
    images = [
        (part.auc_within if part.auc_within is not None else part.auc, part.features)
        for kind in ("image statistics", "thumbnails")
        if (part := _find(separability, "site", kind)) and part.auc is not None
    ]
    if images:
        value, kind = max((auc or 0.0, kind) for auc, kind in images)
        if value >= TOLD_AUC and prevalence_differs(both):
            text = (
                f"{kind} tell the site (AUC {value:.2f} among images of one label) and the site tells the label: a "
                "network can take this shortcut. It is what a constraint is for; compare with re-weighting, and read "
                "errors by site"
            )
            found.append(Advice("shortcut_risk", "risk", text))
        elif value >= TOLD_AUC:
            text = (
                f"{kind} tell the site (AUC {value:.2f} among images of one label), which helps little with the label"
            )
            found.append(Advice("site_told_from_images", "note", text))
        elif value < HARDLY_AUC:
            text = (
                f"small classifiers hardly tell the site from the images (best AUC {value:.2f} among images of one "
                "label); a network may find more"
            )
            found.append(Advice("site_hardly_told", "note", text))
        else:
            text = f"{kind} tell the site in part (AUC {value:.2f} among images of one label)"
            found.append(Advice("site_told_in_part", "risk" if prevalence_differs(both) else "note", text))
    for kind in ("thumbnails", "image statistics", "metadata"):
        part = _find(separability, "label", kind)
        if part and prevalence_differs(both) and _falls_within(part):
            text = (
                f"{kind} predict the label with AUC {part.auc:.2f}, but only {part.auc_within:.2f} among images of one "
                "site: the difference is the site"
            )
            found.append(Advice("label_told_by_site", "risk", text))
            break
    return found


def _falls_within(part: Separability) -> bool:
    """Whether among equals less is told than among all, by enough to matter and by more than the folds vary."""
    if part.auc is None or part.auc_within is None or part.auc_std is None or part.auc < HARDLY_AUC:
        return False
    return part.auc - part.auc_within >= max(_DROP_AUC, 2 * part.auc_std / len(part.auc_folds) ** 0.5)


def _on_metadata(metadata_auc: Mapping[str, float | None]) -> list[Advice]:
    told = sorted(((auc, name) for name, auc in metadata_auc.items() if auc is not None and auc >= 0.8), reverse=True)
    if not told:
        return []
    named = ", ".join(f'"{name}" {auc:.2f}' for auc, name in told[:_LISTED])
    text = (
        f"metadata tell the site (AUC of one column alone: {named}); where such a column is about the patient, as age, "
        "sites differ in their patients, and equal errors may cost one of them"
    )
    return [Advice("metadata_tell_site", "note", text)]


def _on_scanners(records: pd.DataFrame, associations: Mapping[str, Association]) -> list[Advice]:
    if "site x scanner" not in associations:
        return []
    found = []
    known = records[records["scanner"] != ""]
    if len(known) < len(records):
        text = f"{len(records) - len(known)} of {len(records)} images name no scanner"
        found.append(Advice("scanner_missing", "note", text))
    if known["scanner"].nunique() > 1 and (known.groupby("scanner")["site"].nunique() == 1).all():
        text = "every scanner stands at one site only: differences between scanners and between sites are the same here"
        found.append(Advice("scanner_within_site", "note", text))
    return found


def _find(separability: Sequence[Separability], target: str, features: str) -> Separability | None:
    return next((part for part in separability if (part.target, part.features) == (target, features)), None)
