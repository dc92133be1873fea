"""What an image looks like from afar: brightness, contrast, borders, sharpness, as numbers."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATISTICS", "image_statistics", "reduce_blocks"]

_QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
_BLACK = 2 / 255
_BORDER = 0.06  # share of each side
_CORNER = 0.15

STATISTICS = (
    "mean",
    "standard deviation",
    *(f"quantile {share:.0%}" for share in _QUANTILES),
    "black share",
    "white share",
    "black border share",
    "border mean",
    "centre mean",
    "top left mean",
    "top right mean",
    "bottom left mean",
    "bottom right mean",
    "sharpness",
    "edges",
    "grey levels",
    "asymmetry",
)
"""Names of the figures, in the order of `image_statistics`."""


def image_statistics(pixels: NDArray[np.float32]) -> NDArray[np.float64]:
    """The figures of `STATISTICS` of one image.

    Args:
        pixels: in [0, 1], shape (H, W), at least 16 pixels a side.
    Returns:
        float64, shape (S,): means, quantiles and shares in [0, 1]; the black border share is that of the rows and
        columns of the outer frame that are black as a whole; sharpness is the logarithm of the variance of the
        Laplacian, edges the mean gradient, grey levels the entropy of 64 of them in bits, asymmetry the mean difference
        between the left half and the mirrored right.
    Source: the variance of the Laplacian as a measure of focus: Pech-Pacheco et al. 2000 (ICPR).

    >>> found = dict(zip(STATISTICS, image_statistics(np.zeros((32, 32), np.float32)), strict=True))
    >>> [float(found[name]) for name in ("mean", "black share", "black border share")]
    [0.0, 1.0, 1.0]
    """
    from scipy.ndimage import laplace

    image = pixels.astype(np.float64)
    height, width = image.shape
    rows, columns = max(1, round(_BORDER * height)), max(1, round(_BORDER * width))
    is_frame = np.ones(image.shape, bool)
    is_frame[rows : height - rows, columns : width - columns] = False
    lines = [image[:rows], image[-rows:], image[:, :columns].T, image[:, -columns:].T]
    is_black_line = np.concatenate([(part <= _BLACK).mean(axis=1) > 0.98 for part in lines])
    tall, wide = max(1, round(_CORNER * height)), max(1, round(_CORNER * width))
    quarter = image[height // 4 : height - height // 4, width // 4 : width - width // 4]
    shares = np.bincount(np.minimum(image * 64, 63).astype(np.int64).ravel(), minlength=64) / image.size
    present = shares[shares > 0]
    half = width // 2
    return np.array(
        [
            image.mean(),
            image.std(),
            *np.quantile(image, _QUANTILES),
            (image <= _BLACK).mean(),
            (image >= 1 - _BLACK).mean(),
            is_black_line.mean(),
            image[is_frame].mean(),
            quarter.mean(),
            image[:tall, :wide].mean(),
            image[:tall, -wide:].mean(),
            image[-tall:, :wide].mean(),
            image[-tall:, -wide:].mean(),
            np.log(laplace(image).var() + 1e-8),
            np.abs(np.diff(image, axis=0)).mean() + np.abs(np.diff(image, axis=1)).mean(),
            -(present * np.log2(present)).sum() + 0.0,
            np.abs(image[:, :half] - image[:, ::-1][:, :half]).mean(),
        ]
    )


def reduce_blocks(pixels: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Means of equal blocks.

    Args:
        pixels: shape (H, H), H a multiple of ``size``.
        size: height and width of the result.

    >>> reduce_blocks(np.arange(16, dtype=np.float32).reshape(4, 4), 2).tolist()
    [[2.5, 4.5], [10.5, 12.5]]
    """
    block = len(pixels) // size
    found: NDArray[np.float32] = pixels.reshape(size, block, size, block).mean(axis=(1, 3))
    return found
