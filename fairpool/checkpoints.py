"""Models on disk: plain tensors and JSON text, so that loading one can run no code."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fairpool.data.vocabulary import SiteVocabulary
from fairpool.errors import CheckpointError

__all__ = ["load_model", "save_model"]


def save_model(
    path: str | os.PathLike[str], network: torch.nn.Module, *, vocabulary: SiteVocabulary, settings: Mapping[str, Any]
) -> None:
    """Write a network's weights, the site vocabulary and the settings that rebuild it, at once or not at all.

    Args:
        path: the file.
        network: its ``state_dict`` is kept.
        vocabulary: the sites of the training.
        settings: JSON values: pipeline, method, configuration keys.
    """
    content = {
        "network": {key: value.detach().cpu() for key, value in network.state_dict().items()},
        "vocabulary": vocabulary.to_json(),
        "settings": json.dumps(dict(settings)),
    }
    part = Path(f"{path}.part")
    torch.save(content, part)
    os.replace(part, path)


def load_model(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], SiteVocabulary, dict[str, Any]]:
    """Weights, vocabulary and settings that `save_model` wrote.

    Raises:
        CheckpointError: no such file, not plain tensors and text, or not written by fairpool.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f'there is no checkpoint "{path.name}" at the place given.')
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001  (torch raises a dozen types, some with advice to load unsafely)
        raise CheckpointError(
            f'"{path.name}" is damaged or not plain tensors; load it only from a source you trust, with your own code.'
        ) from None
    if not isinstance(content, dict) or not {"network", "vocabulary", "settings"} <= content.keys():
        raise CheckpointError(f'"{path.name}" holds no site vocabulary and settings: give the model.pt of a run.')
    weights = content["network"]
    try:
        vocabulary, settings = SiteVocabulary.from_json(content["vocabulary"]), json.loads(content["settings"])
        if not isinstance(settings, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
            raise TypeError
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise CheckpointError(
            f'"{path.name}" holds no readable weights, vocabulary or settings; it is damaged.'
        ) from None
    return weights, vocabulary, settings
