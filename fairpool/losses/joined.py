"""A mean loss over the batches of all processes, where these may be of different sizes."""

import torch
from torch import Tensor, nn

from fairpool.losses.binding import GroupLoss, joined_mean

__all__ = ["JoinedLoss", "joined_loss"]


class JoinedLoss(nn.Module):
    """A loss that is a mean over its samples, as the mean over the samples of all processes.

    Args:
        loss: of (predictions, labels), reducing to a mean over the samples. One that divides by something else, such as
            the weights of classes, is then another in several processes.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """The loss of the joined batch; in evaluation that of this process's."""
        value: Tensor = self.loss(predictions, labels)
        return joined_mean(value, len(predictions)) if self.training and torch.is_grad_enabled() else value


def joined_loss(loss: nn.Module) -> nn.Module:
    """`JoinedLoss`, but for a loss of `fairpool.losses`, which is over the joined batch by itself."""
    return loss if isinstance(loss, GroupLoss) else JoinedLoss(loss)
