"""FairALM, algorithm 2: an augmented Lagrangian over the groups' conditional errors.

Lokhande, Akash, Ravi, Singh: FairALM: Augmented Lagrangian Method for Training Fair Models with Little Regret,
ECCV 2020, doi:10.1007/978-3-030-58610-2_22. Steps and equations in the comments are the paper's.
"""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor, nn

from fairpool.constraints import Constraint
from fairpool.losses.binding import GroupLoss, all_reduced, num_processes
from fairpool.losses.first_batch import check_first_batch
from fairpool.losses.known_counts import KnownCounts
from fairpool.losses.surrogates import SURROGATES, as_plain, canonical, cross_entropy, hard_errors, surrogate_errors
from fairpool.rates import cell_sums, group_gaps, is_comparable

__all__ = ["FairALMLoss"]


class FairALMLoss(GroupLoss):
    """Base loss plus the augmented Lagrangian of a fairness constraint between groups; at its defaults, the paper's.

    Call ``loss(logits, labels, groups)`` and, after ``optimizer.step()``, ``loss.update_multipliers()``; in a MONAI
    engine `FairALMHandler` does both, and the engine calls ``loss(pred, label)``.

    Args:
        base_loss: the loss of the task, reducing to a scalar mean or to (B,).
        constraint: the events whose rates must agree between groups.
        num_groups: K, at least 2.
        eta: penalty, > 0.
        dual_step: step of the multipliers, >= 0; None means ``eta``, as in the paper.
        dual_rates: ``"soft"``: the surrogate's rates move the multipliers; ``"hard"``: the decisions' rates do.
        penalty: ``"linear"``, the paper's step 6, or ``"quadratic"``, eq. (4) with the multiplier maximised out.
        surrogate: ``"probability"``, ``"cross_entropy"`` or ``"hinge"``, see `surrogate_errors`.
        growth: factor on ``eta`` at each epoch's end (the authors use 1.01).
        max_multiplier: bound B on every multiplier's size (theorem 3), or None.
        counts: training samples by label and group, (num_classes, K). Given these, cell means are taken over the
            expected counts instead of the batch's own, which makes the loss a per-sample weight.
        reweight: weight the base loss by ``n_y n_k / (N n_yk)``, which takes the association of label and group out
            of it; needs ``counts`` and ``base_loss`` with ``reduction="none"``.
    Raises:
        TypeError: ``constraint`` is not a `Constraint`.
        ValueError: an argument is out of its range, or the combination has no meaning.

    Buffers (saved in ``state_dict``): ``multipliers`` (C, K) and ``eta``. ``idle_updates`` counts the updates whose
    samples compared no two groups, such as a batch of one site.

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
    _window_loss: Tensor
    idle_updates: Tensor

    def __init__(
        self,
        base_loss: nn.Module,
        constraint: Constraint,
        num_groups: int,
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
        super().__init__()
        if not isinstance(constraint, Constraint):
            raise TypeError(f"constraint must be a fairpool constraint such as EqualOpportunity(), got {constraint!r}.")
        if isinstance(num_groups, bool) or not isinstance(num_groups, int) or num_groups < 2:
            raise ValueError(f"num_groups must be at least 2: fairness needs two sites to compare; got {num_groups!r}.")
        _check_choice("dual_rates", dual_rates, ("soft", "hard"))
        _check_choice("penalty", penalty, ("linear", "quadratic"))
        _check_choice("surrogate", surrogate, SURROGATES)
        _check_positive("eta", eta)
        _check_positive("growth", growth)
        if dual_step is not None and not 0 <= dual_step < float("inf"):
            raise ValueError(f"dual_step must be 0 or more, or None for eta; got {dual_step}.")
        if max_multiplier is not None:
            _check_positive("max_multiplier", max_multiplier)
        if counts is not None and penalty == "quadratic":
            raise ValueError('counts needs penalty="linear": the quadratic penalty is no per-sample weight.')
        if reweight and (counts is None or getattr(base_loss, "reduction", "none") != "none"):
            raise ValueError('reweight=True needs counts and a base loss with reduction="none".')

        self.base_loss = base_loss
        self.constraint = constraint
        self.num_groups = num_groups
        self.dual_step = dual_step
        self.dual_rates = dual_rates
        self.penalty = penalty
        self.surrogate = surrogate
        self.growth = growth
        self.max_multiplier = max_multiplier
        self.reweight = reweight
        self._entropy_ndims = _plain_entropy_ndims(base_loss)
        self._is_bounded = surrogate == "probability"
        self._is_checked = False

        shape = (len(constraint.events), num_groups)
        self.register_buffer("multipliers", torch.zeros(shape))
        self.register_buffer("eta", torch.tensor(float(eta)))
        # Counts and sums of rates since the last update; the first iteration whose rates or loss were not finite.
        self.register_buffer("_window", torch.zeros(2, *shape), persistent=False)
        self.register_buffer("_window_loss", torch.zeros(()), persistent=False)
        self.register_buffer("nonfinite_iteration", torch.tensor(-1), persistent=False)
        self.register_buffer("idle_updates", torch.tensor(0), persistent=False)
        known = None if counts is None else KnownCounts(constraint, torch.as_tensor(counts), num_groups)
        self._known_counts = known

    def forward(self, logits: Tensor, labels: Tensor, groups: Tensor | None = None) -> Tensor:
        """Value of step 6: mean base loss plus the constraint's terms, a scalar.

        Args:
            logits: (B,) or (B, 1) for a sigmoid, (B, C) for a softmax.
            labels: class indices, (B,) or (B, 1).
            groups: integer (B,), -1 for unknown; None takes those that a handler bound.
        Raises:
            RuntimeError: the groups are neither given nor bound.
            TypeError, ValueError: the first batch is refused, see `check_first_batch`.
        """
        logits, labels, groups = as_plain(logits), as_plain(labels), as_plain(self.take_groups(groups))
        if not self._is_checked and not torch.compiler.is_compiling():
            check_first_batch(logits, labels, groups, self.num_groups)
            self._is_checked = True
        plain_logits, plain_labels = canonical(logits, labels)
        base = None if plain_logits.ndim in self._entropy_ndims else self.base_loss(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            return self._forward(base, plain_logits, plain_labels, groups.long())

    def _forward(self, base: Tensor | None, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        entropies = None
        if base is None:
            base = entropies = cross_entropy(logits, labels)
        errors = surrogate_errors(logits, labels, self.surrogate, entropies)
        if self.reweight and self._known_counts is not None:
            if base.numel() != len(labels):
                raise ValueError(
                    f'reweight=True needs a base loss with reduction="none"; got {tuple(base.shape)} values for '
                    f"{len(labels)} samples."
                )
            base = base.view(-1) * self._known_counts.sample_weights(labels, groups)
        base = base.mean()

        is_recording = self.training and torch.is_grad_enabled()
        weights, rates = self.constraint(labels, None, errors)
        rates = torch.where(weights, rates, 0)  # an infinite error outside the event must not become 0 * inf
        with torch.no_grad():
            counted = weights.to(rates.dtype)
            columns = [counted, rates]
            if self.dual_rates == "hard":
                columns.append(counted * hard_errors(logits, labels)[:, None])
            counts, sums, *hard_sums = cell_sums(torch.cat(columns, dim=1), groups, self.num_groups).chunk(len(columns))
            if is_recording:
                self._window += torch.stack([counts, hard_sums[0] if hard_sums else sums])
        if self._known_counts is not None:
            coefficients = (self.multipliers + self.eta) * self._known_counts.scale / len(labels)
            loss = base + _dot(coefficients, groups, rates, self._is_bounded)
        else:
            loss = self._with_batch_means(base, counts, sums, groups, rates)
        if is_recording:
            self._window_loss += loss.detach()
        return loss

    def _with_batch_means(self, base: Tensor, counts: Tensor, sums: Tensor, groups: Tensor, rates: Tensor) -> Tensor:
        """Base loss plus ``2 / P_c * sum_k (...) mu[c, k]``; over all processes where there are several.

        The gradient with respect to a cell's mean is one number, so each sample carries it as a weight: constant for
        the linear penalty, ``lam + eta * gap`` for the quadratic one, because the gap is linear in the means.
        """
        world_size, local_base = num_processes(), base
        if world_size > 1:
            size = base.new_tensor(float(len(groups)))
            joined = all_reduced(
                torch.cat([counts.flatten(), sums.flatten(), torch.stack([base.detach() * size, size])])
            )
            counts, sums = joined[:-2].view(2, *counts.shape)
            base, local_base = joined[-2] / joined[-1], base * size / joined[-1]

        comparable = is_comparable(counts)
        num_present = comparable.sum(dim=1, keepdim=True).to(counts.dtype)  # else the quotient is single precision
        per_sample = torch.where(comparable, 2 / (num_present * counts), 0)  # 2 / (P_c n[c, k])
        if self.penalty == "linear":
            force = average_force = self.multipliers + self.eta
        else:
            gaps = group_gaps(sums / counts.clamp(min=1), counts)
            force, average_force = self.multipliers + self.eta * gaps, self.multipliers + self.eta / 2 * gaps
        fairness = _dot(force * per_sample, groups, rates, self._is_bounded)
        if world_size == 1 and self.penalty == "linear":
            return base + fairness
        # The gradient is that of the force; the value is that of the joined batch. Gradients are averaged over the
        # processes, so each is scaled up.
        local = world_size * (local_base + fairness)
        value = base + torch.where(comparable, average_force * per_sample * sums, 0).sum()
        return local + (value - local).detach()

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
        window, window_loss = all_reduced(self._window), all_reduced(self._window_loss)
        counts, sums = window[0], window[1]
        gaps = group_gaps(sums / counts.clamp(min=1), counts)
        is_bad = ~torch.isfinite(gaps.sum() + window_loss)
        if found_inf is not None:
            is_skipped = found_inf.to(is_bad.device) != 0
            is_bad &= ~is_skipped
        is_first = is_bad & (self.nonfinite_iteration < 0)
        self.nonfinite_iteration.copy_(torch.where(is_first, iteration, self.nonfinite_iteration))
        is_moving = self.nonfinite_iteration < 0
        if found_inf is not None:
            is_moving &= ~is_skipped
        step = self.eta if self.dual_step is None else self.dual_step
        self.multipliers += torch.where(is_moving, step * gaps, 0)
        self.idle_updates += (counts > 0).sum(dim=1).amax() < 2
        if self.max_multiplier is not None:
            self.multipliers.clamp_(-self.max_multiplier, self.max_multiplier)
        self.discard_window()

    def discard_window(self) -> None:
        """Forget the rates gathered since the last update, because the optimizer skipped its step."""
        self._window.zero_()
        self._window_loss.zero_()

    def end_epoch(self) -> None:
        """Grow the penalty: ``eta *= growth``."""
        self.eta *= self.growth

    def extra_repr(self) -> str:
        """The settings that differ between runs."""
        return (
            f"{self.constraint}, num_groups={self.num_groups}, dual_step={self.dual_step}, "
            f"dual_rates={self.dual_rates}, penalty={self.penalty}, surrogate={self.surrogate}, "
            f"reweight={self.reweight}"
        )


def _dot(coefficients: Tensor, groups: Tensor, rates: Tensor, is_bounded: bool) -> Tensor:
    """``sum_i sum_c coefficients[c, s_i] * rates[i, c]``; a sample of unknown group adds nothing."""
    weights = F.pad(coefficients, (1, 0))[:, groups + 1].t()
    if not is_bounded:
        rates = torch.where(weights == 0, 0, rates)  # an infinite rate of weight 0 must not become NaN
    return (weights * rates).sum()


def _plain_entropy_ndims(base_loss: nn.Module) -> tuple[int, ...]:
    """Dimensions of the canonical logits of which the base loss is just ``-log p_y``, so that one softmax serves both.

    Both for a plain cross-entropy, which takes (B,) as binary; one for a plain binary one; none for any other loss.
    """
    if getattr(base_loss, "reduction", None) not in ("mean", "none"):
        return ()
    if type(base_loss) is nn.CrossEntropyLoss:
        is_plain = base_loss.weight is None and base_loss.label_smoothing == 0 and base_loss.ignore_index < 0
        return (1, 2) if is_plain else ()
    if type(base_loss) is nn.BCEWithLogitsLoss:
        return (1,) if base_loss.weight is None and base_loss.pos_weight is None else ()
    return ()


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}; got {value!r}.")


def _check_positive(name: str, value: float) -> None:
    if not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {value}.")
