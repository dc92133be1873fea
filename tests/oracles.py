"""FairALM in plain Python, slow and in double precision, from the paper and the design page, not from fairpool.

A sample's group is 0..K-1, or -1 for unknown; its logits are a list, one number for a sigmoid, C for a softmax.
Events go by their names: ``y0``, ``y1``, ... hold the samples of a label, ``all`` holds every one.
"""

import math
from dataclasses import dataclass, field


def probability_of(logits: list[float], label: int) -> float:
    """p_y, the predicted probability of the label."""
    if len(logits) == 1:
        return 1 / (1 + math.exp(-logits[0] if label == 1 else logits[0]))
    top = max(logits)
    return math.exp(logits[label] - top) / sum(math.exp(logit - top) for logit in logits)


def cross_entropy_of(logits: list[float], label: int) -> float:
    return -math.log(probability_of(logits, label))


def cross_entropy_slope(logits: list[float], label: int) -> list[float]:
    """d(-log p_y)/dz: p - 1 at the label and p elsewhere; the sigmoid's is p_1 - y."""
    if len(logits) == 1:
        return [probability_of(logits, 1) - label]
    return [probability_of(logits, j) - (j == label) for j in range(len(logits))]


def margin_of(logits: list[float], label: int) -> float:
    """How far the true class leads the best other one."""
    if len(logits) == 1:
        return logits[0] if label == 1 else -logits[0]
    return logits[label] - max(logit for j, logit in enumerate(logits) if j != label)


def error_of(logits: list[float], label: int, surrogate: str) -> float:
    if surrogate == "probability":
        return 1 - probability_of(logits, label)
    if surrogate == "cross_entropy":
        return cross_entropy_of(logits, label)
    return max(0.0, 1 - margin_of(logits, label))


def error_slope(logits: list[float], label: int, surrogate: str) -> list[float]:
    """d(error)/dz by the chain rule."""
    if surrogate == "probability":  # d(1 - p_y) = p_y d(-log p_y)
        return [probability_of(logits, label) * slope for slope in cross_entropy_slope(logits, label)]
    if surrogate == "cross_entropy":
        return cross_entropy_slope(logits, label)
    if margin_of(logits, label) >= 1:
        return [0.0] * len(logits)
    if len(logits) == 1:
        return [-1.0 if label == 1 else 1.0]
    rival = max((j for j in range(len(logits)) if j != label), key=lambda j: logits[j])
    return [-1.0 if j == label else 1.0 if j == rival else 0.0 for j in range(len(logits))]


def decision_of(logits: list[float]) -> int:
    if len(logits) == 1:
        return 1 if logits[0] > 0 else 0
    return logits.index(max(logits))


def is_in_event(event: str, label: int) -> bool:
    return event == "all" or event == f"y{label}"


def gaps_of(means: list[float | None]) -> list[float]:
    """Each group's mean minus the mean of the other present groups' means; 0 where there is nothing to compare."""
    gaps = []
    for k, mean in enumerate(means):
        others = [other for j, other in enumerate(means) if j != k and other is not None]
        gaps.append(mean - sum(others) / len(others) if mean is not None and others else 0.0)
    return gaps


@dataclass
class Sample:
    logits: list[float]
    label: int
    group: int


def samples_of(logits, labels, groups) -> list[Sample]:
    """Tensors of any layout as a list of samples."""
    rows = logits.detach().double().reshape(len(logits), -1).tolist()
    return [
        Sample(*row) for row in zip(rows, labels.reshape(-1).long().tolist(), groups.reshape(-1).tolist(), strict=True)
    ]


@dataclass
class FairALMOracle:
    """Algorithm 2. ``value`` and ``slopes`` are step 6 on a batch, ``record`` and ``dual`` step 8 on a window."""

    events: tuple[str, ...]
    num_groups: int
    eta: float
    dual_step: float | None = None
    dual_rates: str = "soft"
    penalty: str = "linear"
    surrogate: str = "probability"
    growth: float = 1.0
    max_multiplier: float | None = None
    counts: list[list[float]] | None = None  # [label][group]
    reweight: bool = False
    lam: list[list[float]] = field(init=False)
    window: list[Sample] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lam = [[0.0] * self.num_groups for _ in self.events]

    def cell(self, batch: list[Sample], event: str, group: int) -> list[Sample]:
        return [sample for sample in batch if sample.group == group and is_in_event(event, sample.label)]

    def means(self, batch: list[Sample], event: str, rate) -> list[float | None]:
        """mu[c, k] for all k, None for an absent group."""
        means: list[float | None] = []
        for group in range(self.num_groups):
            cell = self.cell(batch, event, group)
            means.append(sum(rate(sample) for sample in cell) / len(cell) if cell else None)
        return means

    def soft_error(self, sample: Sample) -> float:
        return error_of(sample.logits, sample.label, self.surrogate)

    # Known counts

    def total_count(self) -> float:
        return sum(sum(row) for row in self.counts)

    def share(self, event: str, group: int) -> float:
        """pi[c, k]: the share of the training samples that are in the event and the group."""
        return sum(row[group] for y, row in enumerate(self.counts) if is_in_event(event, y)) / self.total_count()

    def base_weight(self, sample: Sample) -> float:
        """b[y, k] = n_y n_k / (N n_yk); a sample of unknown group is in no cell and keeps weight 1."""
        if not self.reweight or sample.group < 0:
            return 1.0
        n_cell = self.counts[sample.label][sample.group]
        n_label, n_group = sum(self.counts[sample.label]), sum(row[sample.group] for row in self.counts)
        return n_label * n_group / (self.total_count() * n_cell) if n_cell else 0.0

    def known_weight(self, c: int, sample: Sample) -> float:
        """2 (lam + eta) / (P_c pi[c, s]) where the sample is in the event and its group known, else 0."""
        event, group = self.events[c], sample.group
        present = [k for k in range(self.num_groups) if self.share(event, k) > 0]
        if group not in present or len(present) < 2 or not is_in_event(event, sample.label):
            return 0.0
        return 2 * (self.lam[c][group] + self.eta) / (len(present) * self.share(event, group))

    # Step 6

    def value(self, batch: list[Sample]) -> float:
        base = sum(self.base_weight(s) * cross_entropy_of(s.logits, s.label) for s in batch) / len(batch)
        if self.counts is not None:
            terms = [self.known_weight(c, s) * self.soft_error(s) for c in range(len(self.events)) for s in batch]
            return base + sum(terms) / len(batch)
        fairness = 0.0
        for event, lam in zip(self.events, self.lam, strict=True):
            means = self.means(batch, event, self.soft_error)
            present = [k for k, mean in enumerate(means) if mean is not None]
            if len(present) < 2:
                continue
            if self.penalty == "linear":
                inner = sum((lam[k] + self.eta) * means[k] for k in present)
            else:
                gaps = gaps_of(means)
                inner = sum(lam[k] * means[k] + self.eta / 2 * gaps[k] * means[k] for k in present)
            fairness += 2 / len(present) * inner
        return base + fairness

    def slopes(self, batch: list[Sample]) -> list[list[float]]:
        """d(value)/d(logits), sample by sample."""
        rows = []
        for sample in batch:
            base = [self.base_weight(sample) / len(batch) * d for d in cross_entropy_slope(sample.logits, sample.label)]
            force = sum(self._force(batch, c, sample) for c in range(len(self.events)))
            error = error_slope(sample.logits, sample.label, self.surrogate)
            rows.append([b + force * e for b, e in zip(base, error, strict=True)])
        return rows

    def _force(self, batch: list[Sample], c: int, sample: Sample) -> float:
        """d(fairness of event c)/d(error of the sample)."""
        if self.counts is not None:
            return self.known_weight(c, sample) / len(batch)
        event, k = self.events[c], sample.group
        if k < 0 or not is_in_event(event, sample.label):
            return 0.0
        means = self.means(batch, event, self.soft_error)
        present = [j for j, mean in enumerate(means) if mean is not None]
        if len(present) < 2:
            return 0.0
        if self.penalty == "linear":
            by_mean = self.lam[c][k] + self.eta
        else:  # d/dmu_k of sum_j gap_j mu_j by the product rule, with dgap_j/dmu_k = 1 or -1/(P-1)
            gaps = gaps_of(means)
            through_gaps = sum(means[j] * (1 if j == k else -1 / (len(present) - 1)) for j in present)
            by_mean = self.lam[c][k] + self.eta / 2 * (gaps[k] + through_gaps)
        return 2 / len(present) * by_mean / len(self.cell(batch, event, k))

    # Step 8

    def record(self, batch: list[Sample]) -> None:
        self.window.extend(batch)

    def dual(self) -> None:
        """lam += dual_step * gap over the whole window, clipped to the bound."""

        def rate(sample: Sample) -> float:
            if self.dual_rates == "hard":
                return float(decision_of(sample.logits) != sample.label)
            return self.soft_error(sample)

        step = self.eta if self.dual_step is None else self.dual_step
        for event, lam in zip(self.events, self.lam, strict=True):
            for k, gap in enumerate(gaps_of(self.means(self.window, event, rate))):
                lam[k] += step * gap
                if self.max_multiplier is not None:
                    lam[k] = min(max(lam[k], -self.max_multiplier), self.max_multiplier)
        self.window = []

    def end_epoch(self) -> None:
        self.eta *= self.growth
