"""Group ids as the loss needs them, whatever a loader's collation made of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairpool.data.ids import as_integer
from fairpool.losses.first_batch import check_group_type
from fairpool.losses.surrogates import as_plain

__all__ = ["as_group_ids", "attributes_of"]

_WIDEST = {"i": np.int64, "u": np.uint64}
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


def as_group_ids(values: Any, name: str = "groups") -> Tensor:
    """The id of each sample as a plain int64 tensor (B,), on the device where it was; does not wait for a device.

    Args:
        values: a tensor (MetaTensor too) or numpy array of any integer type, (B,) or (B, 1); a list or tuple of
            integers of Python, numpy or torch, each alone in its tensor or array, as decollation makes them; or one
            integer for a batch of one.
        name: what a message calls the values.
    Raises:
        TypeError: the values are text, truth values, fractions or nothing.
        ValueError: a sample has several values, or one that int64 cannot hold, as -1 made unsigned is; a tensor on
            another device than the host is not looked at.

    >>> as_group_ids(torch.tensor([[1], [0]], dtype=torch.uint8)), as_group_ids([torch.tensor(2), torch.tensor([0])])
    (tensor([1, 0]), tensor([2, 0]))
    """
    ids = as_plain(values) if isinstance(values, Tensor) else _from_container(values, name)
    if ids.dtype != torch.int64:
        check_group_type(ids)
        if ids.dtype == torch.uint64 and ids.device.type == "cpu":
            numbers = ids.numpy()
            if (outside := numbers[numbers > _HIGHEST]).size:
                raise _too_large(name, outside.tolist())
        ids = ids.long()
    if ids.ndim == 1:
        return ids
    if ids.ndim and ids.numel() != len(ids):
        raise ValueError(
            f"{name} must hold one id a sample, (B,) or (B, 1), got {tuple(ids.shape)}. One-hot sites become ids with "
            "argmax(1); several protected attributes are a tuple of tensors, in a batch one key each."
        )
    return ids.reshape(-1)


def attributes_of(groups: Any, num_attributes: int) -> tuple[Any, ...]:
    """The groups of each protected attribute: the parts of a tuple or list, unless it holds one sample's id a part."""
    if not isinstance(groups, tuple | list):
        return (groups,)
    is_one_attribute = num_attributes == 1 and len(groups) != 1 and all(_holds_one_value(part) for part in groups)
    return (groups,) if is_one_attribute else tuple(groups)


def _holds_one_value(part: Any) -> bool:
    return len(part) == 1 if isinstance(part, list | tuple) else getattr(part, "shape", ()) in ((), (1,))


def _from_container(values: Any, name: str) -> Tensor:
    if isinstance(values, np.ndarray) and values.dtype.kind in "biufc":
        return torch.from_numpy(values.astype(_WIDEST.get(values.dtype.kind, values.dtype)))
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
        values = [values]
    elif isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    if values and all(isinstance(value, Tensor) and value.numel() == 1 for value in values):
        return torch.stack([as_plain(value).reshape(()) for value in values])
    ids = [as_integer(_alone(value)) for value in values]
    bad = [value for value, number in zip(values, ids, strict=True) if number is None]
    if not bad:
        if outside := [number for number in ids if number is not None and not _LOWEST <= number <= _HIGHEST]:
            raise _too_large(name, outside)
        return torch.tensor(ids, dtype=torch.int64)
    first = _alone(bad[0])
    if isinstance(first, str | bytes):
        raise TypeError(f"{name} holds text such as {first!r}; encode sites as integers 0..K-1 with EncodeGroupsd.")
    if first is None:
        raise TypeError(
            f"{name} is empty for {len(bad)} of {len(values)} samples. Fill it in, or use -1 for an unknown site."
        )
    kind = str(getattr(first, "dtype", type(first).__name__)).removeprefix("torch.")
    raise TypeError(
        f"{name} must be an integer tensor, got {kind} ({len(bad)} of {len(values)} samples). Encode site names as "
        "integers 0..K-1, -1 for unknown."
    )


def _too_large(name: str, values: Sequence[int]) -> ValueError:
    return ValueError(
        f"{name} holds {values[0]} ({len(values)} samples), which no int64 holds. Ids lie in 0..K-1; -1, for unknown, "
        "needs a signed type from the beginning."
    )


def _alone(value: Any) -> Any:
    """What a list, tuple, array or tensor of one element holds; anything else as it is."""
    if isinstance(value, list | tuple):
        return _alone(value[0]) if len(value) == 1 else value
    return value.reshape(()) if isinstance(value, np.ndarray | Tensor) and value.shape == (1,) else value
