"""Errors of single samples from logits: the surrogates that train, the hard error that counts, and the label's shape.

Logits of shape (B,) or (B, 1) are binary with a sigmoid; (B, C) is a softmax over C classes; with labels (B, L) of
L >= 2, logits (B, L) are L sigmoids. So in canonical form, logits as many-dimensional as the labels are sigmoids.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor, nn

__all__ = [
    "SURROGATES",
    "as_plain",
    "canonical",
    "cross_entropy",
    "decisions",
    "full_precision",
    "hard_errors",
    "is_plain_entropy",
    "members_of_classes",
    "probabilities",
    "surrogate_errors",
]

SURROGATES = ("probability", "cross_entropy", "hinge")


def as_plain(tensor: Tensor) -> Tensor:
    """The same data without a subclass: a MetaTensor would turn buffers into MetaTensors and spoil checkpoints."""
    # The type test is needed: torch.compile cannot trace as_subclass.
    return tensor if type(tensor) is Tensor else torch.as_tensor(tensor).as_subclass(Tensor)


def canonical(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Logits as (B,) for binary, (B, C) or (B, L) in at least single precision, labels as int64 (B,) or (B, L).

    Args:
        logits: (B,), (B, 1), (B, C) or, with labels (B, L), (B, L).
        labels: (B,), (B, 1) or multi-label (B, L), class indices of any dtype.
    """
    if logits.ndim == 2 and logits.shape[1] == 1:
        logits = logits.squeeze(1)
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels.squeeze(1)
    return logits, labels.long()


def full_precision(device_type: str) -> AbstractContextManager[object]:
    """A context without autocast: under bfloat16 sums miscount. Where none is on, nothing, which is cheaper.

    >>> with torch.autocast("cpu", torch.bfloat16), full_precision("cpu"):
    ...     (torch.ones(1, 1) @ torch.ones(1, 1)).dtype
    torch.float32
    """
    return torch.autocast(device_type, enabled=False) if torch.is_autocast_enabled(device_type) else nullcontext()


def members_of_classes(classes: Tensor, num_classes: int) -> Tensor:
    """Whether a class is that of the column, (...) to boolean (..., C): one-hot, where torch's own reads the values.

    >>> members_of_classes(torch.tensor([2, 0]), 3).int().tolist()
    [[0, 0, 1], [1, 0, 0]]
    """
    return classes[..., None] == torch.arange(num_classes, device=classes.device)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """``-log p_y`` of each sample, in the shape of the labels, from canonical logits and labels.

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([2])).exp()
    tensor([4.])
    """
    if logits.ndim == labels.ndim:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
    return F.cross_entropy(logits, labels, reduction="none")


def probabilities(logits: Tensor, labels: Tensor) -> Tensor:
    """Probability of each class, (B, C), or (B, L, 2) for multi-label, from canonical logits and labels.

    >>> probabilities(torch.zeros(1), torch.tensor([1]))
    tensor([[0.5000, 0.5000]])
    """
    if logits.ndim == labels.ndim:
        return torch.sigmoid(torch.stack([-logits, logits], dim=-1))
    return logits.softmax(dim=1)


def decisions(logits: Tensor, labels: Tensor) -> Tensor:
    """Decided class of each sample (largest logit; a sigmoid's: logit > 0), int64 in the shape of the labels."""
    return (logits > 0).long() if logits.ndim == labels.ndim else logits.argmax(dim=1)


def surrogate_errors(logits: Tensor, labels: Tensor, surrogate: str, entropies: Tensor | None = None) -> Tensor:
    """Differentiable stand-in for the error of each sample, in the shape of the labels, from canonical tensors.

    ``"probability"`` is ``1 - p_y``, bounded in [0, 1]. ``"cross_entropy"`` is ``-log p_y`` (the authors' released
    code) and ``"hinge"`` is ``max(0, 1 - margin)``, the margin of the true class over the best other one (their
    3-layer network); both are unbounded, and a negative multiplier on an unbounded surrogate has no minimum.

    Where ``entropies``, the result of `cross_entropy`, are at hand, no softmax is computed a second time.

    Source: Lokhande et al. 2020, section 5.2 (smooth surrogate of the indicator).
    """
    if surrogate == "hinge":
        return F.relu(1 - _margins(logits, labels))
    if entropies is None:
        entropies = cross_entropy(logits, labels)
    # expm1 keeps the digits of a small error.
    return entropies if surrogate == "cross_entropy" else -torch.expm1(-entropies)


def hard_errors(logits: Tensor, labels: Tensor) -> Tensor:
    """Whether the decision misses the label, boolean in the shape of the labels."""
    return decisions(logits, labels) != labels


def is_plain_entropy(base_loss: nn.Module, logits: Tensor, labels: Tensor) -> bool:
    """Whether a base loss is just `cross_entropy` of these canonical tensors, so that one softmax serves both.

    `torch.nn.CrossEntropyLoss` over a single logit is taken as the binary one, where torch's own would always be 0.
    """
    if getattr(base_loss, "reduction", None) not in ("mean", "none"):
        return False
    if type(base_loss) is nn.CrossEntropyLoss:
        return base_loss.weight is None and base_loss.label_smoothing == 0 and base_loss.ignore_index < 0
    if type(base_loss) is nn.BCEWithLogitsLoss:
        return logits.ndim == labels.ndim and base_loss.weight is None and base_loss.pos_weight is None
    return False


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    if logits.ndim == labels.ndim:
        return torch.where(labels == 1, logits, -logits)
    is_true = members_of_classes(labels, logits.shape[1])
    best_other = logits.masked_fill(is_true, -torch.inf).amax(dim=1)
    return logits.gather(1, labels[:, None]).squeeze(1) - best_other
