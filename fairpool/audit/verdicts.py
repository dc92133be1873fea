"""Whether the data can support a constraint: rules over the cells of its events, each with its reason."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairpool.audit.cells import Cell
from fairpool.constraints import CONSTRAINTS

__all__ = ["EVENT_WORDS", "VERDICTS", "Verdict", "event_labels", "judge", "name_sites"]

VERDICTS = ("cannot support", "support with care", "support")
"""From the worst on."""

EVENT_WORDS = {"y0": "negatives", "y1": "positives", "all": "images", "predicted_positive": "predicted positives"}

_LISTED = 8

_TELLING_GAP = 0.1


@dataclass(frozen=True)
class Verdict:
    """Whether the data can support a constraint.

    Attributes:
        constraint: a key of `CONSTRAINTS`.
        verdict: one of `VERDICTS`.
        reasons: sentences; empty where nothing is to be said against it.
    """

    constraint: str
    verdict: str
    reasons: tuple[str, ...]


def event_labels(constraint: str) -> dict[str, int | None]:
    """The label of each event of a constraint; None where both belong to it.

    Who is predicted positive is known only after training, and about as many as the positives: these stand for them.

    >>> event_labels("equalized_odds"), event_labels("predictive_parity")
    ({'y0': 0, 'y1': 1}, {'predicted_positive': 1})
    """
    import torch

    kind = CONSTRAINTS[constraint]()
    if kind.follows_decisions:
        return dict.fromkeys(kind.events, 1)
    belongs = kind.weights(torch.tensor([0, 1])).T.tolist()
    return {
        event: None if all(labels) else labels.index(True) for event, labels in zip(kind.events, belongs, strict=True)
    }


def judge(
    constraint: str,
    cells: Mapping[int | None, Sequence[Cell]],
    *,
    gaps: Mapping[str, float | None] | None = None,
    stops: Sequence[str] = (),
    cares: Sequence[str] = (),
    prevalence_differs: bool = False,
) -> Verdict:
    """The verdict on one constraint.

    - An event with cases at fewer than two sites cannot be compared: cannot support.
    - An event of which fewer than two sites have a cell of 22 independent images or more cannot be constrained: there
      the 95 % interval of an error rate of 15 % is wider than 15 points on each side. Cannot support.
    - Empty cells, cells below 22 and below 49 (10 points) elsewhere: with care, naming them.
    - Where a model with 15 % errors at every site would show a gap of over 10 points by chance, although all images
      tested: with care, for a gap of that size cannot be told from chance.
    - Where the prevalence differs, equal selection rates force errors, and equal error rates hide that their kinds
      differ: with care for `demographic_parity` and `error_rate_parity`.

    Args:
        constraint: a key of `CONSTRAINTS`.
        cells: by label, a cell a site; under None those of both labels.
        gaps: by event, what a fair model would show by chance on all these images, of `expected_gap_of`.
        stops: faults of the data that no constraint survives.
        cares: doubts about the data, whatever the constraint.
        prevalence_differs: whether the share of positives does between sites.
    """
    worst, doubts = list(stops), list(cares)
    for event, label in event_labels(constraint).items():
        words, found = EVENT_WORDS[event], cells[label]
        proxy = " (taken to be as many as positives)" if event == "predicted_positive" else ""
        present = [cell for cell in found if cell.images]
        usable = [cell for cell in present if cell.size != "few"]
        if len(present) < 2:
            where = f'only site "{present[0].site}" has' if present else "no site has"
            worst.append(f"{where} {words}{proxy}: their errors cannot be compared between sites")
            continue
        if len(usable) < 2:
            where = f'only site "{usable[0].site}" has' if usable else "no site has"
            rest = name_sites([cell for cell in present if cell.size == "few"])
            worst.append(f"{where} 22 independent {words}{proxy} or more; the others are too few to constrain: {rest}")
            continue
        few = [cell for cell in present if cell.size == "few"]
        small = [cell for cell in present if cell.size == "small"]
        empty = [cell.site for cell in found if not cell.images]
        if empty:
            doubts.append(f"no {words}{proxy} at {_listed(empty)}: the constraint does not reach there")
        if few:
            doubts.append(f"too few {words}{proxy} to constrain at {name_sites(few)}")
        if small:
            doubts.append(f"few {words}{proxy} at {name_sites(small)}: the constraint is noisy there")
        by_chance = (gaps or {}).get(event)
        if by_chance is not None and by_chance > _TELLING_GAP:
            doubts.append(
                f"a fair model with 15 % errors would show a gap of {100 * by_chance:.0f} points between sites "
                f"by chance, were all these {words} tested: a gap of that size cannot be told from chance"
            )
    if prevalence_differs and constraint == "demographic_parity":
        doubts.append("the share of positives differs between sites, so equal selection rates force errors")
    if prevalence_differs and constraint == "error_rate_parity":
        doubts.append("the share of positives differs between sites, so equal error rates can hide unlike errors")
    if worst:
        return Verdict(constraint, VERDICTS[0], (*worst, *doubts))
    return Verdict(constraint, VERDICTS[1] if doubts else VERDICTS[2], tuple(doubts))


def name_sites(cells: Sequence[Cell]) -> str:
    """Sites with their images, the smallest first, eight in full."""
    ordered = sorted(cells, key=lambda cell: (cell.effective, cell.site))
    return _listed([f"{cell.site} ({_count(cell)})" for cell in ordered])


def _count(cell: Cell) -> str:
    of = f" images of {cell.patients} patients" if cell.patients != cell.images else ""
    return f"{cell.images}{of}"


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - _LISTED} more" if len(words) > _LISTED else ""
    return ", ".join(words[:_LISTED]) + more
