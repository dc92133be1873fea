"""Start MONAI's 2D ResNet from weights of torchvision's, read as plain tensors."""

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fairpool.errors import CheckpointError

if TYPE_CHECKING:
    import torch

__all__ = ["load_backbone"]

_SHORTEST_DIGEST = 8  # what torchvision puts into its file names


def load_backbone(
    network: "torch.nn.Module", weights: str | os.PathLike[str] | None, *, sha256: str | None = None
) -> "torch.nn.Module":
    """Load every layer but the last from a state dict in torchvision's naming; the last stays as it was drawn.

    The networks are the same where MONAI's ResNet has two spatial dimensions, three input channels,
    ``conv1_t_stride=2`` and ``bias_downsample=False``. The digest tells runs with weights from runs without; it is kept
    in MLflow where the place of the file is not.

    Args:
        network: a `monai.networks.nets.ResNet`; changed in place.
        weights: the file, such as ``resnet18-f37072fd.pth`` of torchvision; None loads nothing.
        sha256: hexadecimal digest of the file, or at least its first 8 digits.
    Returns:
        the network.
    Raises:
        CheckpointError: the file is not plain tensors, its digest is another, or its layers do not fit.
        ValueError: a file without a digest, or a digest without a file.
    """
    if weights is None:
        if sha256 is not None:
            raise ValueError("weights_sha256 is given without weights: name the file, or leave out both.")
        return network
    file = Path(weights)
    if not file.is_file():
        raise CheckpointError("the file of weights does not exist. Give the place of a downloaded state dict.")
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if sha256 is None:
        raise ValueError(
            f"weights needs weights_sha256, which tells these runs from others; the file's is {found}: if that is what "
            "its source states, give it."
        )
    asked = sha256.lower()
    if len(asked) < _SHORTEST_DIGEST or not found.startswith(asked):
        raise CheckpointError(f'the weights have the SHA-256 {found}, not "{sha256}". Fetch the file again.')
    state = _read(file)
    own = network.state_dict()
    last = {name for name in own if name.startswith("fc.")}
    missing = sorted(set(own) - last - set(state))
    unused = sorted(set(state) - set(own))
    apart = [name for name in sorted(set(own) & set(state) - last) if own[name].shape != state[name].shape]
    if missing or unused or apart:
        first = (missing or unused or apart)[0]
        raise CheckpointError(
            f"the weights do not fit the network ({len(missing)} layers missing, {len(unused)} of no use, {len(apart)} "
            f'of another shape, such as "{first}"): expected those of ResNet18 with three input channels.'
        )
    network.load_state_dict({name: value for name, value in state.items() if name not in last}, strict=False)
    return network


def _read(file: Path) -> "dict[str, torch.Tensor]":
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  torch raises many kinds; all say that the file is no plain tensors
        state = None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(
            "the weights are not plain tensors by name. Load only a state dict, from a source you trust."
        )
    return {str(name): value for name, value in state.items()}
