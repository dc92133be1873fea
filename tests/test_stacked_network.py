"""Networks side by side are what they would be alone."""

import pytest
import torch
from torch import nn

from fairpool.stacked_network import StackedNetworks


def alone(stack, number):
    """The same network out of ordinary layers."""
    width = stack.width
    layers = nn.Sequential(
        nn.Linear(stack.first.in_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
    )
    with torch.no_grad():
        rows = slice(number * width, (number + 1) * width)
        layers[0].weight.copy_(stack.first.weight[rows])
        layers[0].bias.copy_(stack.first.bias[rows])
        layers[2].weight.copy_(stack.second[number].t())
        layers[2].bias.copy_(stack.second_bias[number, 0])
        layers[4].weight.copy_(stack.third[number].t())
        layers[4].bias.copy_(stack.third_bias[number, 0])
    return layers


def test_each_logit_is_that_of_its_own_network():
    stack, inputs = StackedNetworks(3, num_inputs=7, width=5), torch.randn(11, 7)
    expected = torch.cat([alone(stack, number)(inputs) for number in range(3)], dim=1)
    torch.testing.assert_close(stack(inputs), expected)


def test_training_the_stack_trains_each_network_as_it_would_alone():
    stack, inputs, labels = StackedNetworks(3, num_inputs=7, width=5), torch.randn(40, 7), torch.randint(0, 2, (40, 3))
    single = [alone(stack, number) for number in range(3)]
    together = torch.optim.SGD(stack.parameters(), lr=0.3, momentum=0.9)
    apart = [torch.optim.SGD(network.parameters(), lr=0.3, momentum=0.9) for network in single]
    entropy = nn.BCEWithLogitsLoss()
    for _ in range(10):
        together.zero_grad()
        logits = stack(inputs)
        sum(entropy(logits[:, i], labels[:, i].float()) for i in range(3)).backward()
        together.step()
        for number, (network, optimizer) in enumerate(zip(single, apart, strict=True)):
            optimizer.zero_grad()
            entropy(network(inputs)[:, 0], labels[:, number].float()).backward()
            optimizer.step()
    expected = torch.cat([network(inputs) for network in single], dim=1)
    torch.testing.assert_close(stack(inputs), expected, rtol=1e-4, atol=1e-5)


def test_a_network_without_inputs_is_refused():
    with pytest.raises(ValueError, match="at least 1; got 3, 0, 64"):
        StackedNetworks(3, num_inputs=0)
