"""Randomised thresholds by site as a plain table that is saved, read back and applied."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

import torch
from torch import Tensor

from fairpool.errors import DataError

__all__ = ["ALWAYS", "NEVER", "POSTPROCESSING_CONSTRAINTS", "SiteThresholds", "Threshold", "check_constraint", "quoted"]

POSTPROCESSING_CONSTRAINTS = {
    "equal_opportunity": "true_positive_rate_parity",
    "predictive_equality": "false_positive_rate_parity",
    "equalized_odds": "equalized_odds",
    "demographic_parity": "demographic_parity",
}
"""The constraints that thresholds by site can meet, and what fairlearn calls them."""

ALWAYS, NEVER = -inf, inf


@dataclass(frozen=True)
class Threshold:
    """Positive where the probability is above ``value``; applied to a share of the cases, drawn at random.

    Args:
        value: in [0, 1], or -inf for "always positive" and inf for "never".
        share: probability that this threshold decides a case, in (0, 1].
    """

    value: float
    share: float


@dataclass(frozen=True)
class SiteThresholds:
    """Randomised thresholds by site: a plain table, which needs neither the network nor fairlearn to be applied.

    Args:
        constraint: a key of `POSTPROCESSING_CONSTRAINTS`.
        thresholds: by site, what its cases are decided by; the shares of a site add up to 1.
    Raises:
        ValueError: no such constraint, a share is not in (0, 1] or a site's shares do not add up to 1, or a value is
            neither in [0, 1] nor infinite.

    >>> rules = SiteThresholds("equal_opportunity", {"bern": (Threshold(0.2, 0.25), Threshold(0.6, 0.75))})
    >>> rules.probability_of_positive(["bern"] * 3, [0.1, 0.5, 0.9]).tolist()
    [0.0, 0.25, 1.0]
    """

    constraint: str
    thresholds: Mapping[str, tuple[Threshold, ...]]

    def __post_init__(self) -> None:
        check_constraint(self.constraint)
        for site, rules in self.thresholds.items():
            for rule in rules:
                if not 0 < rule.share <= 1:
                    raise ValueError(f'site "{site}": the share of a threshold must lie in (0, 1], got {rule.share}.')
                if not (0 <= rule.value <= 1 or rule.value in (ALWAYS, NEVER)):
                    raise ValueError(f'site "{site}": a threshold must be a probability in [0, 1], got {rule.value}.')
            total = sum(rule.share for rule in rules)
            if abs(total - 1) > 1e-6:
                raise ValueError(f'site "{site}": the shares of its thresholds must add up to 1, got {total:g}.')

    def probability_of_positive(self, sites: Sequence[str], probabilities: Sequence[float] | Tensor) -> Tensor:
        """Probability, over the draw, that a case is called positive: exact, nothing is drawn.

        Args:
            sites: site of each case, length B.
            probabilities: of label 1, as the network gave them, length B.
        Returns:
            float64, shape (B,).
        Raises:
            DataError: a site has no thresholds.
            ValueError: the lengths differ, or a probability is NaN or outside [0, 1].
        """
        scores = torch.as_tensor(probabilities, dtype=torch.float64)
        if scores.shape != (len(sites),):
            raise ValueError(f"{len(sites)} sites and probabilities of shape {tuple(scores.shape)} do not match.")
        if not bool(((scores >= 0) & (scores <= 1)).all()):
            raise ValueError("probabilities must lie in 0..1, none NaN: give probabilities of label 1, not logits.")
        unknown = sorted(set(sites) - set(self.thresholds))
        if unknown:
            raise DataError(
                f"there are no thresholds for {quoted(unknown)}; there are for {quoted(self.thresholds)}. "
                "A site needs validation cases of its own: a threshold of another site does not carry over."
            )
        positive = torch.zeros_like(scores)
        of_site: dict[str, list[int]] = {}
        for row, site in enumerate(sites):
            of_site.setdefault(site, []).append(row)
        for site, rows in of_site.items():
            rules = self.thresholds[site]
            is_above = scores[rows, None] > torch.tensor([rule.value for rule in rules], dtype=torch.float64)
            shares = torch.tensor([rule.share for rule in rules], dtype=torch.float64)
            # Exactly 1 above all of them: the shares' sum is 1 only up to rounding.
            positive[rows] = torch.where(is_above.all(dim=1), 1.0, is_above.double() @ shares)
        return positive

    def decide(self, sites: Sequence[str], probabilities: Sequence[float] | Tensor, *, seed: int) -> Tensor:
        """One realised decision for each case, int64 (B,); the same seed and order of cases give the same decisions.

        Args:
            sites: site of each case, length B.
            probabilities: of label 1, length B.
            seed: of the draw, apart from torch's global generator.
        Raises:
            DataError, ValueError: as `probability_of_positive`.
        """
        chance = self.probability_of_positive(sites, probabilities)
        draw = torch.rand(len(chance), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        return (draw < chance).long()

    def to_rows(self) -> list[dict[str, Any]]:
        """The table, a row a threshold.

        Returns:
            ``site``; ``decision``, one of "above", "always", "never"; ``threshold``, None unless "above"; ``share``.
        """
        words = {ALWAYS: "always", NEVER: "never"}
        return [
            {
                "site": site,
                "decision": words.get(rule.value, "above"),
                "threshold": rule.value if isfinite(rule.value) else None,
                "share": rule.share,
            }
            for site, rules in self.thresholds.items()
            for rule in rules
        ]

    def to_json(self) -> str:
        """JSON text of the constraint and the table.

        >>> rules = SiteThresholds("equal_opportunity", {"bern": (Threshold(0.2, 1.0),)})
        >>> SiteThresholds.from_json(rules.to_json()) == rules
        True
        """
        return json.dumps({"constraint": self.constraint, "thresholds": self.to_rows()}, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: str) -> "SiteThresholds":
        """The thresholds that `to_json`, or ``fairpool postprocess --json``, wrote.

        Raises:
            ValueError: the text is something else.
        """
        values = {"always": ALWAYS, "never": NEVER}
        by_site: dict[str, list[Threshold]] = {}
        try:
            content = json.loads(text)
            for row in content["thresholds"]:
                value = float(row["threshold"]) if row["decision"] == "above" else values[row["decision"]]
                by_site.setdefault(str(row["site"]), []).append(Threshold(value, float(row["share"])))
            constraint = content["constraint"]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError("expected the JSON that `fairpool postprocess --json` writes.") from error
        return cls(constraint, {site: tuple(rules) for site, rules in by_site.items()})


def check_constraint(constraint: str) -> None:
    """Refuse a constraint that thresholds by site cannot be fitted to.

    Raises:
        ValueError: naming it and those there are.
    """
    if constraint not in POSTPROCESSING_CONSTRAINTS:
        raise ValueError(
            f'there are no thresholds by site for the constraint "{constraint}"; there are for '
            f"{', '.join(POSTPROCESSING_CONSTRAINTS)}."
        )


def quoted(names: Iterable[str], most: int = 10) -> str:
    """Names for a message, at most ten of them.

    >>> quoted(["basel", "bern"])
    '"basel", "bern"'
    """
    shown = [f'"{name}"' for name in names]
    more = f" and {len(shown) - most} more" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more
