"""Many small networks of one shape over the same input, trained as one."""

import torch
from torch import Tensor, nn

__all__ = ["StackedNetworks"]


class StackedNetworks(nn.Module):
    """L independent networks of three linear layers with ReLU between them; network l gives logit l.

    They share no weight: the first layers lie side by side in one matrix, for the input is the same, the others in
    batched ones. So the sum of L losses, one a logit, gives each network the gradient that it would have alone, and an
    optimizer that treats each weight by itself, such as SGD, trains it as it would alone.

    Args:
        num_networks: L.
        num_inputs: input features.
        width: units of each of the two hidden layers.

    >>> StackedNetworks(3, num_inputs=8, width=4)(torch.zeros(5, 8)).shape
    torch.Size([5, 3])
    """

    def __init__(self, num_networks: int, *, num_inputs: int, width: int = 64) -> None:
        super().__init__()
        if min(num_networks, num_inputs, width) < 1:
            raise ValueError(
                f"networks, inputs and width must be at least 1; got {num_networks}, {num_inputs}, {width}."
            )
        self.num_networks, self.width = num_networks, width
        self.first = nn.Linear(num_inputs, num_networks * width)
        bound = width**-0.5  # as of nn.Linear
        self.second = nn.Parameter(torch.empty(num_networks, width, width).uniform_(-bound, bound))
        self.second_bias = nn.Parameter(torch.empty(num_networks, 1, width).uniform_(-bound, bound))
        self.third = nn.Parameter(torch.empty(num_networks, width, 1).uniform_(-bound, bound))
        self.third_bias = nn.Parameter(torch.empty(num_networks, 1, 1).uniform_(-bound, bound))

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits (B, L) of inputs (B, num_inputs)."""
        hidden = self.first(inputs).relu().view(len(inputs), self.num_networks, self.width).transpose(0, 1)
        hidden = torch.baddbmm(self.second_bias, hidden, self.second).relu()
        return torch.baddbmm(self.third_bias, hidden, self.third).squeeze(2).t()
