"""The gaps between sites by which a constraint is judged: the rate behind each, and their words."""

from fairpool.constraints import CONSTRAINTS

__all__ = ["GAPS", "GAP_WORDS", "gaps_of"]

GAPS = {"deo": "fnr", "fpr_gap": "fpr", "ddp": "error", "selection_gap": "selection_rate", "fdr_gap": "fdr"}
"""Largest differences between sites, and the rate that each is of."""

GAP_WORDS = {
    "deo": "DEO",
    "fpr_gap": "FPR gap",
    "ddp": "error gap",
    "selection_gap": "selection rate gap",
    "fdr_gap": "false discovery gap",
}
"""What a reader calls them."""


def gaps_of(constraint: str) -> tuple[str, ...]:
    """The keys of `GAPS` that a constraint makes small: one, and two for equalized odds.

    Args:
        constraint: a key of `CONSTRAINTS`.
    Raises:
        KeyError: there is no such constraint.

    >>> gaps_of("equal_opportunity"), gaps_of("equalized_odds")
    (('deo',), ('deo', 'fpr_gap'))
    """
    gap = CONSTRAINTS[constraint].gap
    return ("deo", "fpr_gap") if gap == "eodds_gap" else (gap,)
