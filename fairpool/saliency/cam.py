"""Class activation maps in the units of the logit, comparable between images and between networks."""

import copy
from typing import cast

import torch
from torch import Tensor, nn

from fairpool.losses.surrogates import as_plain

__all__ = ["evidence_maps"]


def evidence_maps(network: nn.Module, images: Tensor, *, target_layer: str = "layer4", fc_layer: str = "fc") -> Tensor:
    """Evidence for class 1 over class 0 at each place of the image: the difference of two class activation maps.

    The mean of a map before enlargement, plus the difference of the classifier's biases, is the difference of the two
    logits; nothing is scaled per image, so weak and strong evidence look different.

    Args:
        network: convolutions, global average pooling and one linear layer over two classes (a ResNet, a DenseNet).
        images: (B, channels, H, W).
        target_layer: name of the last convolutional layer.
        fc_layer: name of the linear layer.
    Returns:
        maps, float32 (B, H, W), on the CPU, in logits; positive speaks for class 1.
    Source: Zhou et al. 2016, Learning Deep Features for Discriminative Localization, CVPR; by way of MONAI's `CAM`.
    """
    from monai.visualize import CAM

    network = copy.deepcopy(network).eval()  # CAM leaves hooks and gradients on what it is given
    bias = network.get_submodule(fc_layer).bias
    if bias is not None:  # MONAI adds it at every place; it is no evidence of any
        nn.init.zeros_(cast(Tensor, bias))
    images = as_plain(images)
    cam = CAM(network, target_layer, fc_layer, postprocessing=lambda maps: maps)
    maps = []
    with torch.no_grad():
        for image in images:
            # MONAI's default would invert each map and stretch it to 0..1: no evidence would look like much.
            one, zero = (cam(image[None], class_idx=torch.tensor([label], device=image.device)) for label in (1, 0))
            maps.append(torch.as_tensor(one - zero)[0, 0].float().cpu())
    return torch.stack(maps)
