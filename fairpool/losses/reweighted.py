"""Baseline of Table 1: re-weighting by (label, group) cell."""

import torch
from torch import Tensor, nn

from fairpool.losses.binding import GroupLoss, Groups, joined_mean
from fairpool.losses.known_counts import cell_weights, check_rows, checked_table, weighted_mean
from fairpool.losses.surrogates import canonical

__all__ = ["ReweightedLoss"]


class ReweightedLoss(GroupLoss):
    """Base loss weighted by ``n_y n_k / (N n_yk)``: as if label and group were independent in the training data.

    Needs no multiplier and one line of arithmetic, and does most of the work where the site is confounded with the
    label. Fails where sites differ in difficulty rather than in prevalence: it knows nothing of the errors it should
    make equal. A cell of few samples gets large weights and is learnt by heart.

    Args:
        base_loss: the loss of the task with ``reduction="none"``.
        num_groups: K, at least 2.
        counts: training samples by label and group, (num_classes, K).
    Raises:
        ValueError: the base loss reduces, or the table does not fit.
    Source: Kamiran and Calders 2012, doi:10.1007/s10115-011-0463-8; "Reweight" in Lokhande et al. 2020, Table 1.

    >>> loss = ReweightedLoss(nn.CrossEntropyLoss(reduction="none"), 2, torch.tensor([[30, 10], [10, 30]]))
    >>> loss(torch.zeros(2, 2), torch.tensor([0, 0]), torch.tensor([0, 1]))  # weights 2/3 and 2 times log 2
    tensor(0.9242)
    """

    _cell_weights: Tensor

    def __init__(self, base_loss: nn.Module, num_groups: int, counts: Tensor) -> None:
        if getattr(base_loss, "reduction", "none") != "none":
            raise ValueError(
                'ReweightedLoss needs a base loss with reduction="none", such as '
                f'torch.nn.CrossEntropyLoss(reduction="none"); got {base_loss}.'
            )
        super().__init__([num_groups], takes_label_sets=False)
        self.base_loss = base_loss
        self.register_buffer("_cell_weights", cell_weights(checked_table(counts, num_groups)), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor, groups: Groups | None = None) -> Tensor:
        """Weighted mean of the base loss, a scalar; a sample of unknown group has weight 1.

        Args:
            logits: (B,), (B, 1) or (B, C).
            labels: (B,) or (B, 1), class indices.
            groups: (B,), integer, -1 for unknown; None takes those that a handler bound.
        Raises:
            RuntimeError: the groups are neither given nor bound.
            TypeError, ValueError: the first batch is refused, see `check_first_batch`.
        """
        logits, labels, (sites,) = self.take(logits, labels, groups)
        base = self.base_loss(logits, labels)
        with torch.autocast(logits.device.type, enabled=False):
            mean = weighted_mean(base.float(), self._cell_weights, canonical(logits, labels)[1], sites)
            return self.record(joined_mean(mean, len(labels)) if self._is_recording() else mean)

    def check_classes(self, num_classes: int) -> None:
        """Refuse outputs with another number of classes than the table has labels.

        Raises:
            ValueError: naming both numbers.
        """
        check_rows(self._cell_weights, num_classes)
