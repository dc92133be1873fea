"""Evidence maps are in the units of the logit and leave the network as it was."""

import copy

import pytest
import torch
from torch import nn

from fairpool.saliency import evidence_maps


def small_resnet():
    from monai.networks.nets import ResNet

    network = ResNet("basic", [1, 1, 1, 1], [4, 8, 8, 8], spatial_dims=2, n_input_channels=1, num_classes=2)
    nn.init.normal_(network.fc.bias)
    for module in network.modules():  # else its statistics are those of no image
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
    return network.eval()


class AsLargeAsTheImage(nn.Module):
    """Keeps the image's size up to its pooling, so that nothing is enlarged."""

    def __init__(self):
        super().__init__()
        self.layer4 = nn.Sequential(nn.Conv2d(1, 6, 3, padding=1), nn.ReLU())
        self.fc = nn.Linear(6, 2)

    def forward(self, images):
        return self.fc(self.layer4(images).mean(dim=(2, 3)))


def logit_difference(network, images):
    with torch.no_grad():
        logits = network(images)
    return logits[:, 1] - logits[:, 0]


@pytest.mark.parametrize("side", [32, 64, 96])
def test_mean_of_a_map_and_the_bias_give_the_logit_difference(side):
    """Bilinear enlargement by a whole factor (32 here) keeps the mean of a map."""
    network, images = small_resnet(), torch.rand(3, 1, side, side)
    maps = evidence_maps(network, images)
    assert maps.shape == (3, side, side)
    bias = network.fc.bias.detach()
    torch.testing.assert_close(maps.mean(dim=(1, 2)) + bias[1] - bias[0], logit_difference(network, images))


def test_each_place_has_its_share_of_the_logit_difference():
    network, images = AsLargeAsTheImage(), torch.rand(2, 1, 9, 7)
    with torch.no_grad():
        expected = torch.einsum("c,bchw->bhw", network.fc.weight[1] - network.fc.weight[0], network.layer4(images))
    maps = evidence_maps(network, images)
    torch.testing.assert_close(maps, expected)
    bias = network.fc.bias.detach()
    torch.testing.assert_close(maps.mean(dim=(1, 2)) + bias[1] - bias[0], logit_difference(network, images))


def test_no_evidence_looks_like_none_and_much_like_much():
    network, images = AsLargeAsTheImage(), torch.rand(2, 1, 8, 8)
    weak = evidence_maps(network, images)
    with torch.no_grad():
        network.fc.weight *= 1000
    torch.testing.assert_close(evidence_maps(network, images), 1000 * weak, rtol=1e-4, atol=1e-3)
    with torch.no_grad():
        network.fc.weight[1] = network.fc.weight[0]
    assert torch.equal(evidence_maps(network, images), torch.zeros(2, 8, 8))


def test_swapping_the_classes_turns_the_sign():
    network, images = small_resnet(), torch.rand(2, 1, 64, 64)
    maps = evidence_maps(network, images)
    with torch.no_grad():
        network.fc.weight.copy_(network.fc.weight.flip(0))
    torch.testing.assert_close(evidence_maps(network, images), -maps)


def test_a_map_does_not_depend_on_the_other_images():
    network, images = small_resnet(), torch.rand(3, 1, 64, 64)
    torch.testing.assert_close(evidence_maps(network, images)[1:2], evidence_maps(network, images[1:2]))


@pytest.mark.parametrize("is_training", [True, False])
def test_the_network_is_left_as_it_was(is_training):
    network = small_resnet().train(is_training)
    network.fc.weight.grad = torch.ones_like(network.fc.weight)
    before = copy.deepcopy(network.state_dict())
    hooks = [(len(m._forward_hooks), len(m._backward_hooks), len(m._forward_pre_hooks)) for m in network.modules()]
    evidence_maps(network, torch.rand(2, 1, 32, 32))
    assert network.training is is_training
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    assert hooks == [
        (len(m._forward_hooks), len(m._backward_hooks), len(m._forward_pre_hooks)) for m in network.modules()
    ]
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert torch.equal(network.fc.weight.grad, torch.ones_like(network.fc.weight))
    assert network.conv1.weight.grad is None


def test_maps_are_plain_float32_whatever_the_images_are():
    from monai.data import MetaTensor

    maps = evidence_maps(AsLargeAsTheImage(), MetaTensor(torch.rand(1, 1, 8, 8)))
    assert type(maps) is torch.Tensor
    assert maps.dtype == torch.float32
    assert not maps.requires_grad
