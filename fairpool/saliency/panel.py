"""The same images under several methods, side by side, on one colour scale."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["saliency_panel"]


def saliency_panel(images: Tensor, maps: Mapping[str, Tensor], titles: Sequence[str]) -> "Figure":
    """Draw images in the first row and each method's maps over them in the rows below.

    Args:
        images: greyscale, (B, 1, H, W), any range.
        maps: by method, (B, H, W) as `evidence_maps` gives them.
        titles: one an image.
    """
    from matplotlib.figure import Figure

    limit = float(np.quantile(np.abs(np.concatenate([m.numpy().ravel() for m in maps.values()])), 0.99)) or 1.0
    columns, rows = len(images), 1 + len(maps)
    figure = Figure(figsize=(1.7 * columns + 1.2, 1.75 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    heat = None
    for column in range(columns):
        grey = images[column, 0].numpy()
        low, high = np.quantile(grey, [0.01, 0.99])
        for row, name in enumerate(["image", *maps]):
            axis = axes[row][column]
            axis.imshow(grey, cmap="gray", vmin=low, vmax=high)
            if row:
                heat = axis.imshow(maps[name][column].numpy(), cmap="coolwarm", vmin=-limit, vmax=limit, alpha=0.5)
            axis.set_xticks([])
            axis.set_yticks([])
            if column == 0:
                axis.set_ylabel(name, fontsize=9)
            if row == 0:
                axis.set_title(titles[column], fontsize=8)
    if heat is not None:
        figure.colorbar(heat, ax=axes[1:].ravel().tolist(), shrink=0.8, label="evidence (logit difference)")
    figure.suptitle("Where the evidence for the positive label lies: same images, one colour scale", fontsize=10)
    return figure
