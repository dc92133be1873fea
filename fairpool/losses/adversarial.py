"""Baseline of Table 1: an adversary that guesses the group from the network's output."""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor, nn

from fairpool.constraints import Constraint, DemographicParity, EqualizedOdds, EqualOpportunity, PredictiveEquality
from fairpool.losses.binding import GroupLoss, Groups, all_reduced, no_sample_sentence
from fairpool.losses.surrogates import canonical, members_of_classes, probabilities
from fairpool.processes import world_size

__all__ = ["AdversarialLoss", "Adversary"]

_SCALE = 2.0**12


class Adversary(nn.Module):
    """Guesses the group from the sharpened output and, where it may, from the label: logits (B, K).

    ``s = sigmoid((1 + |c|) z)``, then a linear layer on ``s`` times each label (section 4 of the source); with more
    than two classes the sigmoid is a softmax.

    Args:
        num_classes: number of classes.
        num_groups: K.
        sees_label: for equalized odds and equal opportunity.
    """

    def __init__(self, num_classes: int, num_groups: int, *, sees_label: bool) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.sees_label = sees_label
        self.sharpness = nn.Parameter(torch.zeros(()))
        self.guess = nn.Linear(num_classes**2 if sees_label else num_classes, num_groups)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Logits of the groups, (B, K), from canonical logits (B,) or (B, C) and labels (B,)."""
        sharp = probabilities((1 + self.sharpness.abs()) * logits, labels)
        if self.sees_label:
            sharp = (sharp[:, :, None] * members_of_classes(labels, self.num_classes)[:, None, :]).flatten(1)
        guesses: Tensor = self.guess(sharp)
        return guesses


class AdversarialLoss(GroupLoss):
    """Base loss against an adversary that guesses the group from the output, with the projection term.

    The weights follow ``grad L - proj_{grad A} grad L - strength * grad A``: not along anything that helps the
    adversary. Both gradients are taken over the network's parameters in the forward call, so a step costs two more
    backward passes; in the loss's value only their inner product enters. The adversary and its optimizer live here,
    move after the network's step, and are saved in ``state_dict``.

    Fails by being a game: it can circle or collapse, and an adversary that is too weak, or too slow, certifies a model
    that is not fair. What it equalises is the output's distribution, not the error that is reported. In several
    processes the projection is each process's own.

    Args:
        base_loss: the loss of the task, reducing to a scalar mean or to (B,).
        constraint: `DemographicParity` (the adversary sees the output alone), `EqualizedOdds` (the label too), or
            `EqualOpportunity` / `PredictiveEquality` (the samples of that label).
        num_groups: K, at least 2.
        strength: alpha, weight of the adversary's gradient, >= 0.
        learning_rate: of the adversary's Adam, > 0.
        num_classes: C of the network's output; 2 for a sigmoid.
    Raises:
        TypeError: the constraint is another.
        ValueError: an argument is out of its range.
    Source: Zhang, Lemoine, Mitchell 2018, Mitigating unwanted biases with adversarial learning, eq. (1) and section 4,
        doi:10.1145/3278721.3278779.

    >>> loss = AdversarialLoss(nn.CrossEntropyLoss(), EqualOpportunity(), num_groups=2)
    >>> network = nn.Linear(3, 2)
    >>> loss(network(torch.randn(4, 3)), torch.tensor([1, 1, 0, 1]), torch.tensor([0, 1, 0, 1])).backward()
    >>> loss.update_multipliers()
    """

    _epoch_samples: Tensor

    def __init__(
        self,
        base_loss: nn.Module,
        constraint: Constraint,
        num_groups: int,
        strength: float = 1.0,
        learning_rate: float = 0.01,
        num_classes: int = 2,
    ) -> None:
        if not isinstance(constraint, DemographicParity | EqualizedOdds | EqualOpportunity | PredictiveEquality):
            raise TypeError(
                f"an adversary has no form for {getattr(constraint, 'name', constraint)!r}; use demographic_parity, "
                "equalized_odds, equal_opportunity or predictive_equality."
            )
        if not 0 <= strength < float("inf"):
            raise ValueError(f"strength must be 0 or more, got {strength}.")
        if not 0 < learning_rate < float("inf"):
            raise ValueError(f"learning_rate must be positive, got {learning_rate}.")
        super().__init__([num_groups], takes_label_sets=False)
        self.base_loss = base_loss
        self.constraint = constraint
        self.num_classes = num_classes
        self.strength = strength
        self.adversary = Adversary(num_classes, num_groups, sees_label=isinstance(constraint, EqualizedOdds))
        self.register_buffer("_epoch_samples", torch.tensor(0), persistent=False)
        self._is_joined = False
        # Fused, so that a step which the scaler skipped is skipped here by its flag, without a look at it.
        self._optimizer = torch.optim.Adam(self.adversary.parameters(), learning_rate, fused=True)

    def forward(self, logits: Tensor, labels: Tensor, groups: Groups | None = None) -> Tensor:
        """Mean base loss minus the adversary's, weighted so that the gradient is that of eq. (1); a scalar.

        Args:
            logits: (B,), (B, 1) or (B, C), connected to the network's parameters.
            labels: (B,) or (B, 1), class indices.
            groups: (B,), integer, -1 for unknown; None takes those that a handler bound.
        Raises:
            RuntimeError: the groups are neither given nor bound.
            TypeError, ValueError: the first batch is refused, see `check_first_batch`.
        """
        logits, labels, (sites,) = self.take(logits, labels, groups)
        base: Tensor = self.base_loss(logits, labels).mean()
        with torch.autocast(logits.device.type, enabled=False):
            plain_logits, plain_labels = canonical(logits, labels)
            is_member = self.constraint.weights(plain_labels).any(dim=1) & (sites >= 0)

            def guess_loss(adversary: Callable[..., Tensor], seen: Tensor) -> Tensor:
                guesses = adversary(seen, plain_labels)
                entropies = F.cross_entropy(guesses, sites.clamp(min=0), reduction="none")
                mean: Tensor = torch.where(is_member, entropies, 0).sum() / is_member.sum().clamp(min=1)
                return mean

            if not self._is_recording():
                return base - self.strength * guess_loss(self.adversary, plain_logits)
            self._join_processes()
            self._epoch_samples += is_member.sum()
            self._gather(guess_loss(self.adversary, plain_logits.detach()))
            frozen = {name: value.detach() for name, value in self.adversary.named_parameters()}
            against = guess_loss(lambda *seen: torch.func.functional_call(self.adversary, frozen, seen), plain_logits)
            return self.record(base - (_projection(base, against, logits) + self.strength) * against)

    @torch.no_grad()
    def update_multipliers(self, found_inf: Tensor | None = None, iteration: int = 0) -> None:
        """Move the adversary by its own gradient, once after the network's step; without host synchronisation."""
        gradients = [parameter.grad for parameter in self.adversary.parameters() if parameter.grad is not None]
        if world_size() > 1:
            for gradient in gradients:
                gradient.copy_(all_reduced(gradient) / world_size())
        total = all_reduced(self._window_loss) + sum(gradient.sum() for gradient in gradients)
        is_moving = self.end_window(found_inf, iteration, total)
        self._optimizer.found_inf = (~is_moving).float()  # type: ignore[attr-defined]
        self._optimizer.step()
        self.discard_window()

    def discard_window(self) -> None:
        """Forget the gradients gathered since the last update, because the optimizer skipped its step."""
        super().discard_window()
        self._optimizer.zero_grad()

    def end_epoch(self) -> None:
        """Begin to count the constraint's samples anew."""
        self._epoch_samples.zero_()

    def epoch_problem(self) -> str:
        """A sentence if no sample of a known group was in the constraint's events. Waits for the device."""
        return "" if int(all_reduced(self._epoch_samples)) else no_sample_sentence(self.constraint.events)

    def check_classes(self, num_classes: int) -> None:
        """Refuse outputs whose number of classes the adversary was not made for.

        Raises:
            ValueError: naming both numbers.
        """
        if num_classes != self.num_classes:
            raise ValueError(
                f"the adversary was made for {self.num_classes} classes and the network's output has {num_classes}: "
                f"pass num_classes={num_classes}."
            )

    def get_extra_state(self) -> dict[str, Any]:
        """The adversary's optimizer, for ``state_dict``."""
        return self._optimizer.state_dict()

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore the adversary's optimizer."""
        self._optimizer.load_state_dict(state)

    def extra_repr(self) -> str:
        """The settings that differ between runs."""
        return f"{self.constraint}, strength={self.strength}"

    def _gather(self, loss: Tensor) -> None:
        """Add the adversary's own gradient to the window's."""
        parameters = list(self.adversary.parameters())
        for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient

    def _join_processes(self) -> None:
        """Let every process begin with the first one's adversary."""
        if not self._is_joined and world_size() > 1:
            for parameter in self.adversary.parameters():
                torch.distributed.broadcast(parameter.data, 0)
        self._is_joined = True

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "AdversarialLoss":
        super()._apply(fn, recurse)
        for state in self._optimizer.state.values():  # a loss that moves to a GPU takes its optimizer along
            for name, value in state.items():
                state[name] = fn(value) if isinstance(value, Tensor) else value
        return self


def _projection(base: Tensor, against: Tensor, logits: Tensor) -> Tensor:
    """``<grad base, grad against> / |grad against|^2`` over all parameters that the logits were computed from.

    Under half precision a backward pass loses small gradients unless the loss is scaled up, as the AMP scaler does; a
    power of two leaves the quotient as it is.
    """
    base, against = _SCALE * base, _SCALE * against
    parameters = _leaves(logits)
    if not parameters:
        return torch.zeros_like(base)
    first = torch.autograd.grad(base, parameters, retain_graph=True, allow_unused=True)
    second = torch.autograd.grad(against, parameters, retain_graph=True, allow_unused=True)
    pairs = [(_wide(a), _wide(b)) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    inner = torch.stack([(a * b).sum() for a, b in pairs]).sum()
    square = torch.stack([(b * b).sum() for _, b in pairs]).sum()
    quotient = inner / square
    return torch.where(quotient.isfinite(), quotient, 0)  # 0 as well where a scaled gradient overflowed


def _wide(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _leaves(tensor: Tensor) -> list[Tensor]:
    """The leaves of a tensor's graph that ask for a gradient: a network's parameters, as seen from its output."""
    if tensor.grad_fn is None:
        return [tensor] if tensor.requires_grad else []
    leaves, seen, pending = [], {tensor.grad_fn}, [tensor.grad_fn]
    while pending:
        node = pending.pop()
        if hasattr(node, "variable"):
            leaves.append(node.variable)
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                pending.append(following)
    return leaves
