"""FairALM, algorithm 2: an augmented Lagrangian over the groups' conditional errors.

Lokhande, Akash, Ravi, Singh: FairALM: Augmented Lagrangian Method for Training Fair Models with Little Regret,
ECCV 2020, doi:10.1007/978-3-030-58610-2_22. Steps and equations in the comments are the paper's.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor, nn

from fairpool.constraints import Constraint
from fairpool.losses.binding import (
    GroupLoss,
    Groups,
    all_reduced,
    all_reduced_at_once,
    joined_mean,
    no_sample_sentence,
)
from fairpool.losses.known_counts import cell_weights, check_rows, checked_table, event_scale, weighted_mean
from fairpool.losses.samples import dot, terms_of, with_moving_weights
from fairpool.losses.surrogates import (
    SURROGATES,
    canonical,
    cross_entropy,
    decisions,
    full_precision,
    hard_errors,
    is_plain_entropy,
    members_of_classes,
    probabilities,
    surrogate_errors,
)
from fairpool.processes import world_size
from fairpool.rates import cell_sums, event_mean_weights, gaps_among, is_comparable, presence

__all__ = ["FairALMLoss"]


class FairALMLoss(GroupLoss):
    """Base loss plus the augmented Lagrangian of a fairness constraint between groups; at its defaults, the paper's.

    Call ``loss(logits, labels, groups)`` and, after ``optimizer.step()``, ``loss.update_multipliers()``; in a MONAI
    engine `FairALMHandler` does both, and the engine calls ``loss(pred, label)``.

    Fails where a cell of event and group is rare: its rate is then noise, which the multipliers follow, or is learnt by
    heart, after which the training shows no gap that the test still has. It says nothing of the labels that the
    constraint leaves out: under equal opportunity a confounded site keeps its false alarms.

    Args:
        base_loss: the loss of the task, reducing to a scalar mean or to (B,).
        constraint: the events whose rates must agree between groups; for several protected attributes a list.
        num_groups: K, at least 2; for several attributes a list, and ``groups`` is then a tuple.
        eta: penalty, > 0.
        dual_step: step of the multipliers, >= 0; None means ``eta``, as in the paper.
        dual_rates: ``"soft"``: the surrogate's rates move the multipliers; ``"hard"``: the decisions' rates do.
        penalty: ``"linear"``, the paper's step 6, or ``"quadratic"``, eq. (4) with the multiplier maximised out.
        surrogate: ``"probability"``, ``"cross_entropy"`` or ``"hinge"``, see `surrogate_errors`.
        growth: factor on ``eta`` at each epoch's end (the authors use 1.01).
        max_multiplier: bound B on every multiplier's size (theorem 3), or None.
        counts: training samples by label and group, (num_classes, K). Given these, cell means are taken over the
            expected counts instead of the batch's own, which makes the loss a per-sample weight. `PredictiveParity`,
            whose cells follow the decisions, keeps the batch's own. One attribute, one label a sample.
        reweight: weight the base loss by ``n_y n_k / (N n_yk)``, which takes the association of label and group out
            of it; needs ``counts`` and ``base_loss`` with ``reduction="none"``.
    Raises:
        TypeError: ``constraint`` is not a `Constraint`.
        ValueError: an argument is out of its range, or the combination has no meaning.

    Buffers (saved in ``state_dict``): ``multipliers`` (C, K) and ``eta``. Several attributes lie below each other, K
    being the largest; with multi-label targets C grows at the first batch, see ``events``. ``idle_updates`` counts the
    updates whose samples compared no two groups, such as a batch of one site.

    >>> from fairpool import EqualOpportunity
    >>> loss = FairALMLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2)
    >>> logits, labels = torch.tensor([[0.0, 1.0], [2.0, 1.0]]), torch.tensor([1, 1])
    >>> value = loss(logits, labels, groups=torch.tensor([0, 1]))
    >>> loss.update_multipliers(); loss.multipliers
    tensor([[-0.0462,  0.0462]])
    """

    multipliers: Tensor
    eta: Tensor
    _window: Tensor
    idle_updates: Tensor
    _epoch_samples: Tensor
    _event_scale: Tensor | None
    _cell_weights: Tensor | None

    def __init__(
        self,
        base_loss: nn.Module,
        constraint: Constraint | Sequence[Constraint],
        num_groups: int | Sequence[int],
        eta: float = 0.1,
        dual_step: float | None = None,
        dual_rates: str = "soft",
        penalty: str = "linear",
        surrogate: str = "probability",
        growth: float = 1.0,
        max_multiplier: float | None = None,
        counts: Tensor | None = None,
        reweight: bool = False,
    ) -> None:
        constraints = _as_tuple(constraint)
        numbers = _as_tuple(num_groups)
        for part in constraints:
            if not isinstance(part, Constraint):
                raise TypeError(f"constraint must be a fairpool constraint such as EqualOpportunity(), got {part!r}.")
        if len(constraints) != len(numbers) or not constraints:
            raise ValueError(
                f"each protected attribute needs its constraint and its num_groups; got {len(constraints)} constraints "
                f"and {len(numbers)} numbers."
            )
        super().__init__(numbers, takes_label_sets=not isinstance(base_loss, nn.CrossEntropyLoss))
        _check_choice("dual_rates", dual_rates, ("soft", "hard"))
        _check_choice("penalty", penalty, ("linear", "quadratic"))
        _check_choice("surrogate", surrogate, SURROGATES)
        _check_positive("eta", eta)
        _check_positive("growth", growth)
        if dual_step is not None and not 0 <= dual_step < float("inf"):
            raise ValueError(f"dual_step must be 0 or more, or None for eta; got {dual_step}.")
        if max_multiplier is not None:
            _check_positive("max_multiplier", max_multiplier)
        rates_only = [part.name for part in constraints if not part.is_error_rate and not part.follows_decisions]
        if rates_only and penalty == "linear":
            raise ValueError(
                f'{rates_only[0]} needs penalty="quadratic" (method fairalm_quadratic): the linear penalty lowers the '
                "rate itself, which would make the network predict no positives."
            )
        if surrogate != "probability" and not all(part.is_error_rate for part in constraints):
            raise ValueError(f'only error rates have the surrogate "{surrogate}"; leave it at "probability".')
        if counts is not None and penalty == "quadratic":
            raise ValueError('counts needs penalty="linear": the quadratic penalty is no per-sample weight.')
        if counts is not None and len(constraints) > 1:
            raise ValueError("counts serves one protected attribute; leave it out, or constrain their intersections.")
        if reweight and (counts is None or getattr(base_loss, "reduction", "none") != "none"):
            raise ValueError('reweight=True needs counts and a base loss with reduction="none".')

        self.base_loss = base_loss
        self.constraint = constraint
        self.constraints = constraints
        self.num_groups = num_groups
        self.dual_step = dual_step
        self.dual_rates = dual_rates
        self.penalty = penalty
        self.surrogate = surrogate
        self.growth = growth
        self.max_multiplier = max_multiplier
        self.reweight = reweight
        self._most_groups = max(numbers)
        self._needs_predictions = not all(part.is_error_rate for part in constraints)
        self._is_bounded = surrogate == "probability"

        shape = (sum(len(part.events) for part in constraints), self._most_groups)
        self._events_per_label = shape[0]
        self.register_buffer("multipliers", torch.zeros(shape))
        self.register_buffer("eta", torch.tensor(float(eta)))
        # Counts and sums of rates since the last update.
        self.register_buffer("_window", torch.zeros(2, *shape), persistent=False)
        self.register_buffer("idle_updates", torch.tensor(0), persistent=False)
        self.register_buffer("_epoch_samples", torch.zeros(shape), persistent=False)
        # Fixed by the training table; None without one.
        table = None if counts is None else checked_table(counts, numbers[0])
        follows = constraints[0].follows_decisions
        scale = None if table is None or follows else event_scale(constraints[0], table)
        self.register_buffer("_event_scale", scale, persistent=False)
        weights = cell_weights(table) if table is not None and reweight else None
        self.register_buffer("_cell_weights", weights, persistent=False)

    @property
    def _num_labels(self) -> int:
        """Labels a sample: 1 until multi-label targets made room for more."""
        return len(self.multipliers) // self._events_per_label

    @property
    def events(self) -> tuple[str, ...]:
        """Names of the rows of ``multipliers``: the constraint's events, by attribute and by label where several."""
        names: list[str] = []
        num_labels = self._num_labels
        for number, part in enumerate(self.constraints):
            attribute = f"attribute{number}/" if len(self.constraints) > 1 else ""
            for label in range(num_labels):
                prefix = attribute + (f"label{label}/" if num_labels > 1 else "")
                names += [prefix + event for event in part.events]
        return tuple(names)

    def forward(self, logits: Tensor, labels: Tensor, groups: Groups | None = None) -> Tensor:
        """Value of step 6: mean base loss plus the constraint's terms, a scalar.

        Args:
            logits: (B,) or (B, 1) for a sigmoid, (B, C) for a softmax, (B, L) for L sigmoids.
            labels: class indices, (B,) or (B, 1); multi-label: (B, L), 0 or 1.
            groups: integer (B,), -1 for unknown, a tuple of them for several attributes; None takes those that a
                handler bound.
        Raises:
            RuntimeError: the groups are neither given nor bound.
            TypeError, ValueError: the first batch is refused, see `check_first_batch`.
        """
        logits, labels, attributes = self.take(logits, labels, groups)
        plain_logits, plain_labels = canonical(logits, labels)
        if plain_labels.ndim == 2:
            self._expect_labels(plain_labels.shape[1])
        is_plain = is_plain_entropy(self.base_loss, plain_logits, plain_labels)
        base = None if is_plain else self.base_loss(logits, labels)
        with full_precision(logits.device.type):
            return self.record(self._forward(base, plain_logits, plain_labels, attributes))

    def _forward(self, base: Tensor | None, logits: Tensor, labels: Tensor, attributes: tuple[Tensor, ...]) -> Tensor:
        entropies = None
        if base is None:
            base = entropies = cross_entropy(logits, labels)
        if self._cell_weights is not None:
            base = weighted_mean(base, self._cell_weights, labels, attributes[0])
        base = base.mean()
        errors = surrogate_errors(logits, labels, self.surrogate, entropies)
        predictions = probabilities(logits, labels) if self._needs_predictions else None
        events = [part(labels, predictions, errors) for part in self.constraints]
        weights = [weights.to(rates.dtype) for weights, rates in events]
        terms = [terms_of(w, rates, is_bounded=self._is_bounded) for w, (_, rates) in zip(weights, events, strict=True)]
        sums = self._cell_sums(logits, labels, weights, terms, attributes)
        if self._is_recording():
            self._window.add_(sums if len(sums) == 2 else sums[::2])
        if self._event_scale is not None:
            coefficients = (self.multipliers + self.eta) * self._event_scale / len(labels)
            local = base + dot(coefficients, attributes[0], terms[0], is_bounded=self._is_bounded)
            return joined_mean(local, len(labels)) if self._is_recording() else local
        return self._with_batch_means(base, sums[:2], weights, terms, attributes)

    def _cell_sums(
        self,
        logits: Tensor,
        labels: Tensor,
        event_weights: list[Tensor],
        terms: list[Tensor],
        attributes: tuple[Tensor, ...],
    ) -> Tensor:
        """Counts and sums of rates by (event, group), and hard sums if these move the multipliers: (2 or 3, C, K)."""
        is_hard = self.dual_rates == "hard"
        if is_hard:
            errors = hard_errors(logits, labels).to(logits.dtype)
            predictions = None
            if self._needs_predictions:
                num_classes = 2 if logits.ndim == labels.ndim else logits.shape[1]
                predictions = members_of_classes(decisions(logits, labels), num_classes).to(logits.dtype)
        parts = []
        found = zip(self.constraints, event_weights, terms, attributes, self._group_numbers, strict=True)
        for part, weights, rates, groups, number in found:
            columns = [weights.detach(), rates.detach()]
            if is_hard:
                columns.append(columns[0] * part(labels, predictions, errors)[1])
            summed = cell_sums(torch.cat(columns, dim=1), groups, number).view(len(columns), -1, number)
            parts.append(F.pad(summed, (0, self._most_groups - number)) if number < self._most_groups else summed)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def _with_batch_means(
        self,
        base: Tensor,
        counts_and_sums: Tensor,
        event_weights: list[Tensor],
        terms: list[Tensor],
        attributes: tuple[Tensor, ...],
    ) -> Tensor:
        """Base loss plus ``2 / P_c * sum_k (...) mu[c, k]``; over all processes where there are several.

        The gradient with respect to a cell's mean is one number, so each sample carries it as a weight: constant for
        the linear penalty, ``lam + eta * gap`` for the quadratic one, because the gap is linear in the means.
        """
        # An evaluation, which one process may do alone, must not wait for the others.
        number, local_base = world_size() if self._is_recording() else 1, base
        if number > 1:
            size = base.new_full((), float(len(attributes[0])))
            counts_and_sums, total, joined_size = all_reduced_at_once(counts_and_sums, base.detach() * size, size)
            base, local_base = total / joined_size, base * size / joined_size

        counts, sums = counts_and_sums.unbind()
        per_sample = event_mean_weights(counts)  # 2 / (P_c n[c, k])
        if self.penalty == "linear":
            force = average_force = self.multipliers + self.eta
        else:
            gaps = gaps_among(self._rates(counts, sums), *presence(counts))
            force, average_force = self.multipliers + self.eta * gaps, self.multipliers + self.eta / 2 * gaps
        local = local_base
        coefficients, row = force * per_sample, 0
        for weights, rates, groups in zip(event_weights, terms, attributes, strict=True):
            rows = slice(row, row + rates.shape[1])
            row = rows.stop
            if weights.requires_grad:
                rates = with_moving_weights(rates, weights, (sums / counts.clamp(min=1))[rows], groups)
            local = local + dot(coefficients[rows], groups, rates, is_bounded=self._is_bounded)
        if number == 1 and self.penalty == "linear":
            return local
        # The gradient is that of the force; the value is that of the joined batch. Gradients are averaged over the
        # processes, so each is scaled up.
        local = number * local
        value = base + torch.where(per_sample > 0, average_force * per_sample * sums, 0).sum()
        return local + (value - local).detach()

    def _rates(self, counts: Tensor, sums: Tensor) -> Tensor:
        """Means over the cells, (C, K), 0 in an empty one; an infinite one without another to compare with, 0 too."""
        if not self._is_bounded:
            sums = torch.where(is_comparable(counts), sums, 0)
        return sums / counts.clamp(min=1)

    def check_classes(self, num_classes: int) -> None:
        """Refuse outputs whose number of classes the constraint or the known counts were not made for.

        Raises:
            ValueError: naming both numbers.
        """
        for part in self.constraints:
            if part.num_classes not in (None, num_classes):
                raise ValueError(
                    f"{type(part).__name__}(num_classes={part.num_classes}) constrains {part.num_classes} classes and "
                    f"the network's output has {num_classes}: pass num_classes={num_classes}."
                )
        if self._cell_weights is not None:
            check_rows(self._cell_weights, num_classes)

    def _expect_labels(self, num_labels: int) -> None:
        """Make room for L labels' events, at the first batch or before a checkpoint's multipliers are loaded."""
        if self._num_labels == num_labels:
            return
        if self._cell_weights is not None or self._event_scale is not None:
            raise ValueError("counts serves one label a sample; leave it out for multi-label targets.")
        if self._num_labels > 1 or torch.compiler.is_compiling():
            raise ValueError(
                f"the loss was made for {self._num_labels} labels a sample and got {num_labels}; call it once on a "
                "batch before compiling it."
            )
        size = num_labels * self._events_per_label
        self.multipliers = self.multipliers.new_zeros(size, self._most_groups)
        self._window = self._window.new_zeros(2, size, self._most_groups)
        self._epoch_samples = self._epoch_samples.new_zeros(size, self._most_groups)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        saved = state_dict.get(f"{prefix}multipliers")
        if saved is not None and saved.ndim == 2 and saved.shape[1] == self._most_groups:
            num_labels, rest = divmod(len(saved), self._events_per_label)
            if rest == 0 and num_labels > 1:
                self._expect_labels(num_labels)
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    @torch.no_grad()
    def update_multipliers(self, found_inf: Tensor | None = None, iteration: int = 0) -> None:
        """Step 8: ``lam[c, k] += dual_step * gap[c, k]`` on the rates gathered since the last call.

        Call it once after each optimizer step; without host synchronisation. Gradient accumulation needs nothing more:
        the gaps are those of the sums over all micro-batches. A non-finite loss freezes the multipliers for good and
        is remembered in ``nonfinite_iteration``.

        Args:
            found_inf: a fused optimizer's flag that its step moved nothing (scalar, non-zero: skipped).
            iteration: what to remember as the place of a first non-finite loss.
        """
        counts, sums = all_reduced(self._window).unbind()
        present, num_present = presence(counts)
        gaps = gaps_among(self._rates(counts, sums), present, num_present)
        is_moving = self.end_window(found_inf, iteration, self._window_loss + gaps.sum())
        gaps = torch.where(is_moving, gaps, 0)
        if self.dual_step is None:
            self.multipliers.addcmul_(self.eta, gaps)
        else:
            self.multipliers.add_(gaps, alpha=self.dual_step)
        self._epoch_samples.add_(counts)
        self.idle_updates.add_(num_present.amax() < 2)
        if self.max_multiplier is not None:
            self.multipliers.clamp_(-self.max_multiplier, self.max_multiplier)
        self.discard_window()

    def discard_window(self) -> None:
        """Forget the rates gathered since the last update, because the optimizer skipped its step."""
        super().discard_window()
        self._window.zero_()

    def end_epoch(self) -> None:
        """Grow the penalty: ``eta *= growth``."""
        self.eta *= self.growth
        self._epoch_samples.zero_()

    def epoch_problem(self) -> str:
        """What of this epoch's labels and groups left the constraint without effect. Waits for the device.

        Decisions may leave an event empty for a while; labels that do have nothing to constrain.
        """
        by_label = [not part.follows_decisions for part in self.constraints for _ in part.events * self._num_labels]
        rows = self._epoch_samples.sum(dim=1).tolist()
        unseen = [
            name
            for name, is_by_label, samples in zip(self.events, by_label, rows, strict=True)
            if is_by_label and not samples
        ]
        if unseen:
            return no_sample_sentence(unseen)
        if all(by_label) and not bool(is_comparable(self._epoch_samples).any()):
            return (
                "no event of the constraint has training samples of two groups, so there is nothing to compare. Look "
                "at the group ids, or choose another constraint."
            )
        return ""

    def extra_repr(self) -> str:
        """The settings that differ between runs."""
        return (
            f"{list(self.constraints)}, num_groups={self.num_groups}, dual_step={self.dual_step}, "
            f"dual_rates={self.dual_rates}, penalty={self.penalty}, surrogate={self.surrogate}, "
            f"reweight={self.reweight}"
        )


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}.")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {value}.")
