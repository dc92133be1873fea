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
        images: grey, (B, 1, H, W), or red, green and blue, (B, 3, H, W); any range.
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
        picture = images[column].movedim(0, -1).numpy()
        low, high = np.quantile(picture, [0.01, 0.99])
        if picture.shape[-1] == 1:
            picture = picture[..., 0]
        else:  # matplotlib scales grey alone
            picture, low, high = np.clip((picture - low) / max(high - low, 1e-6), 0, 1), 0.0, 1.0
        # Under the maps colours of its own would be taken for evidence.
        grey = picture if picture.ndim == 2 else picture.mean(axis=2)
        for row, name in enumerate(["image", *maps]):
            axis = axes[row][column]
            axis.imshow(grey if row else picture, cmap="gray", vmin=low, vmax=high)
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
