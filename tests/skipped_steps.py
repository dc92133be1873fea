"""Steps that a gradient scaler skips."""

import torch


def overflow_at(network, *calls):
    """Make the gradient infinite at some backward passes."""
    count = iter(range(1, 1000))
    network.weight.register_hook(lambda gradient: gradient * (torch.inf if next(count) in calls else 1))
    return network
