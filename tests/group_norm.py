"""A residual network whose every sample is its own, as batch norm's are not."""

from torch import nn


def resnet_by_group(**options):
    """MONAI's ResNet with group norms throughout: its blocks keep batch norms whatever ``norm`` says."""
    from monai.networks.nets import ResNet

    network = ResNet(**options)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.GroupNorm(2, child.num_features))
    return network
