"""From samples to cells and back: the terms ``w * r`` of a sample, and a cell's coefficient on each of its samples."""

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor

__all__ = ["dot", "of_sample", "terms_of", "with_moving_weights"]


def terms_of(weights: Tensor, rates: Tensor, *, is_bounded: bool) -> Tensor:
    """``w * r`` of each sample and event, (B, C).

    Args:
        weights: ``w``, (B, C), floating.
        rates: ``r``, (B, C).
        is_bounded: whether every rate is finite; otherwise an infinite one outside the event is kept from becoming NaN.
    """
    return weights * (rates if is_bounded else torch.where(weights == 0, 0, rates))


def of_sample(cells: Tensor, groups: Tensor) -> Tensor:
    """The value of each sample's cell, (C, K) and (B,) to (B, C); 0 for the unknown group -1.

    >>> of_sample(torch.tensor([[1.0, 2.0]]), torch.tensor([1, -1])).tolist()
    [[2.0], [0.0]]
    """
    return F.pad(cells, (0, 1)).t()[groups]  # -1 takes the last row, the zeros


def dot(coefficients: Tensor, groups: Tensor, terms: Tensor, *, is_bounded: bool) -> Tensor:
    """``sum_i sum_c coefficients[c, s_i] * terms[i, c]``; a sample of unknown group adds nothing.

    Args:
        coefficients: by event and group, (C, K).
        groups: (B,), int64, -1 for unknown.
        terms: (B, C), floating.
        is_bounded: whether every term is finite; otherwise an infinite one of weight 0 is kept from becoming NaN.
    """
    weights = of_sample(coefficients, groups)
    if not is_bounded:
        terms = torch.where(weights == 0, 0, terms)
    return torch.dot(weights.to(terms.dtype).flatten(), terms.flatten())


def with_moving_weights(terms: Tensor, weights: Tensor, means: Tensor, groups: Tensor) -> Tensor:
    """The terms with the gradient of a mean whose denominator moves too; the values stay.

    ``d(mu) = (d(sum w r) - mu d(sum w)) / sum w`` where the event weights follow the predictions.

    Args:
        terms: ``w * r``, (B, C).
        weights: ``w``, (B, C), with a gradient.
        means: ``mu``, (C, K).
        groups: (B,).
    """
    return terms - of_sample(means, groups) * (weights - weights.detach())
