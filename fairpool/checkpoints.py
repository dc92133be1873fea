"""Models on disk: plain tensors and JSON text, so that loading one can run no code."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fairpool.data.vocabulary import SiteVocabulary
from fairpool.errors import CheckpointError
from fairpool.whole_file import open_whole

__all__ = ["check_vocabulary", "load_model", "save_model"]


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
    with open_whole(Path(path)) as file:
        torch.save(content, file)


def load_model(
    path: str | os.PathLike[str], *, vocabulary: SiteVocabulary | None = None
) -> tuple[dict[str, torch.Tensor], SiteVocabulary, dict[str, Any]]:
    """Weights, vocabulary and settings that `save_model` wrote.

    Args:
        path: the file.
        vocabulary: the sites that it is to be used with, for whoever goes on training or encodes sites by himself; None
            takes those of the file.
    Raises:
        CheckpointError: no such file, not plain tensors and text, not written by fairpool, or of other sites.
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
        stored, settings = SiteVocabulary.from_json(content["vocabulary"]), json.loads(content["settings"])
        if not isinstance(settings, dict) or not all(isinstance(value, torch.Tensor) for value in weights.values()):
            raise TypeError
    except (AttributeError, TypeError, ValueError, RecursionError):
        raise CheckpointError(
            f'"{path.name}" holds no readable weights, vocabulary or settings; it is damaged.'
        ) from None
    if vocabulary is not None:
        check_vocabulary(stored, vocabulary, f'"{path.name}"')
    return weights, stored, settings


def check_vocabulary(stored: SiteVocabulary, wanted: SiteVocabulary, name: str) -> None:
    """Refuse a checkpoint whose site ids mean other sites: multipliers and counts would go to the wrong ones.

    Args:
        stored: the checkpoint's vocabulary.
        wanted: that of the data.
        name: of the checkpoint, for the message.
    Raises:
        CheckpointError: the vocabularies differ, in their names or their order; the difference comes first.

    >>> check_vocabulary(SiteVocabulary(("a", "b")), SiteVocabulary(("b", "a")), '"model.pt"')
    Traceback (most recent call last):
    fairpool.errors.CheckpointError: "model.pt" has the same 2 sites in another order: 0 is "a" there and "b" here...
    """
    if stored == wanted:
        return
    added = [site for site in wanted.names if site not in stored.names]
    gone = [site for site in stored.names if site not in wanted.names]
    if added or gone:
        parts = [f"lacks {_quoted(added)}"] * bool(added) + [f"has {_quoted(gone)} besides"] * bool(gone)
        difference = f"{name} was made with other sites: it {' and '.join(parts)}"
    else:
        number = next(i for i, site in enumerate(stored.names) if site != wanted.names[i])
        difference = (
            f"{name} has the same {len(stored)} sites in another order: {number} is "
            f'"{stored.names[number]}" there and "{wanted.names[number]}" here'
        )
    raise CheckpointError(
        f"{difference}. Its sites are {_quoted(stored.names)}; those of the data are {_quoted(wanted.names)}. Encode "
        "the data with the checkpoint's vocabulary, or train anew."
    )


def _quoted(names: Sequence[str], most: int = 20) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f'"{name}"' for name in names[:most]) + more
