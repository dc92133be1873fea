"""Every source of chance of a training, as plain tensors and numbers: torch, NumPy, Python, loaders, transforms."""

import random
from collections.abc import Iterable, Mapping
from typing import Any, cast

import numpy as np
import torch

__all__ = ["random_state", "restore_order", "restore_random_state"]


def random_state(loader: Any = None) -> dict[str, Any]:
    """What chance will do next in this process.

    Args:
        loader: the training loader, whose generators and random transforms are taken in; None for the global ones.
    Returns:
        tensors, numbers and lists alone, so that ``torch.load(weights_only=True)`` takes them.
    """
    state: dict[str, Any] = {
        "torch": torch.get_rng_state(),
        "numpy": _of_numpy(np.random.mtrand._rand),
        "python": _as_lists(random.getstate()),
        "generators": [generator.get_state() for generator in _generators(loader)],
        "transforms": [_of_numpy(transform.R) for transform in _random_transforms(loader)],
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any], loader: Any = None) -> None:
    """Let chance go on where `random_state` was taken.

    Raises:
        ValueError: the loader has other generators or random transforms than then.
    """
    generators, transforms = list(_generators(loader)), list(_random_transforms(loader))
    for name, found in (("generators", generators), ("transforms", transforms)):
        if len(found) != len(state[name]):
            raise ValueError(
                f"the state has {len(state[name])} random {name} of the loader, which has {len(found)}: it belongs to "
                "another configuration."
            )
    torch.set_rng_state(state["torch"])
    np.random.set_state(_to_numpy(state["numpy"]))
    random.setstate(_as_tuples(state["python"]))
    for generator, saved in zip(generators, state["generators"], strict=True):
        generator.set_state(saved)
    for transform, saved in zip(transforms, state["transforms"], strict=True):
        transform.R.set_state(_to_numpy(saved))
    if "cuda" in state and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])


def restore_order(state: Mapping[str, Any], loader: Any) -> None:
    """Let the loader's order go on where `random_state` was taken in a training of another number of processes.

    The generator that draws the order is the same in all processes, and the last one of each: see `_generators`.
    """
    generators = list(_generators(loader))
    if generators and state["generators"]:
        generators[-1].set_state(state["generators"][-1])


def _generators(loader: Any) -> Iterable[torch.Generator]:
    """The loader's generator and those of its samplers, each once; last the one that draws the order."""
    batch_sampler = getattr(loader, "batch_sampler", None)
    owners = [loader, getattr(loader, "sampler", None), batch_sampler, getattr(batch_sampler, "sampler", None)]
    found = {id(generator): generator for owner in owners if (generator := getattr(owner, "generator", None))}
    return found.values()


def _random_transforms(loader: Any) -> Iterable[Any]:
    """Transforms of MONAI's ``Randomizable`` kind in the loader's dataset, at any depth."""
    found: dict[int, Any] = {}
    waiting = [getattr(loader, "dataset", None)]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in found:
            continue
        if isinstance(getattr(one, "R", None), np.random.RandomState):
            found[id(one)] = one
        waiting += list(getattr(one, "transforms", ()))
        # A dataset's own transform, the datasets of a ConcatDataset or Subset, the array form within a dictionary form.
        waiting += (
            [part for part in vars(one).values() if _may_hold_transforms(part)] if hasattr(one, "__dict__") else []
        )
        waiting += list(getattr(one, "datasets", ()))
    return found.values()


def _may_hold_transforms(part: Any) -> bool:
    from monai.transforms import Transform
    from torch.utils.data import Dataset

    return isinstance(part, Transform | Dataset)


def _of_numpy(generator: np.random.RandomState) -> list[Any]:
    name, keys, *rest = cast(tuple[Any, ...], generator.get_state(legacy=True))
    return [
        name,
        torch.from_numpy(keys.astype(np.int64)),
        *(part if isinstance(part, int) else float(part) for part in rest),
    ]


def _to_numpy(state: list[Any]) -> tuple[Any, ...]:
    name, keys, *rest = state
    return name, keys.numpy().astype(np.uint32), *rest


def _as_lists(value: Any) -> Any:
    return [_as_lists(part) for part in value] if isinstance(value, tuple) else value


def _as_tuples(value: Any) -> Any:
    return tuple(_as_tuples(part) for part in value) if isinstance(value, list) else value
