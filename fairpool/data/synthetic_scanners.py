"""Scanners of synthetic hospitals: how the density of a scene becomes a grey image.

A scanner is a grey curve, a sharpness, a noise, a border and a marker; the site acts through these and in no other
place. All grey curves have the same slope at lung density, so a lesion is equally bright at every site: a model that
reads the scanner does so only because the labels invite it to.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter

if TYPE_CHECKING:
    from fairpool.data.synthetic_radiographs import Scene

__all__ = ["SCANNERS", "Scanner", "enlarge", "expose_scene"]

Array = NDArray[np.float32]

_LUNG_DENSITY = 0.30
"""Where the grey curves of the scanners touch (same value, same slope)."""


def expose_scene(
    scene: "Scene", site: str, rng: Generator, *, output_shape: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """The grey image that a site's scanner makes of a scene.

    Args:
        scene: the patient.
        site: one of `SCANNERS`: "montgomery" (softer, dark grey curve, tilted black border, letter L), "shenzhen"
            (sharper, noisier, steeper curve, letter R in a box with initials, no border), "harbour", "valley" or
            "lakeside".
        rng: exposure, border, marker and noise.
        output_shape: rows and columns of the detector; default the scene's. The scene is enlarged, the noise is not.
    Returns:
        8-bit grey values [H, W], bright where dense.
    Raises:
        ValueError: the site has no scanner here.
    """
    if site not in SCANNERS:
        raise ValueError(f'Site "{site}" has no synthetic scanner; expected one of {", ".join(SCANNERS)}.')
    scanner = SCANNERS[site]
    shape = scene.density.shape
    scale = min(shape) / 512
    density = scene.density * rng.normal(1.0, 0.03) + rng.normal(0.0, 0.012)
    if scanner.blur:
        density = gaussian_filter(density, scanner.blur * scale, truncate=2.5)
    # Grain of about two pixels at 512, so that it survives a reduction to 128 a little.
    grain = enlarge(rng.standard_normal((math.ceil(shape[0] / 2), math.ceil(shape[1] / 2)), np.float32), shape)
    density += scanner.noise * grain
    grey = scanner.curve(density)
    grey = scanner.decorate(grey, rng)
    grey *= 255
    if output_shape is not None and output_shape != shape:
        grey = enlarge(grey, output_shape)
    noise = rng.standard_normal(grey.shape, np.float32)
    noise *= 255 * scanner.noise
    noise *= grey > 2  # a collimated border is digitally black
    grey += noise
    np.clip(grey, 0, 255, out=grey)
    return grey.astype(np.uint8)


@dataclass(frozen=True)
class Scanner:
    """One site's way from density to grey.

    Attributes:
        blur: standard deviation in pixels of a 512-pixel image.
        noise: standard deviation of the grain, in density.
        shoulder: how far above lung the grey curve reaches; a small one greys the bones and the heart.
        toe: how far below lung it reaches; a small one keeps air from going black.
        border: whether the collimator's black frame is in the picture.
        marker: text burnt in beside the patient.
        is_boxed: whether the marker stands in a box, over the technician's initials.
        across: range of the marker's left edge, in image widths.
        down: range of the marker's upper edge, in image heights.

    >>> scanner = SCANNERS["harbour"]
    >>> [round(float(grey), 2) for grey in scanner.curve(np.array([0.0, 0.3, 1.0], np.float32))]
    [0.04, 0.25, 0.88]
    """

    blur: float
    noise: float
    shoulder: float
    toe: float
    border: bool
    marker: str
    is_boxed: bool
    across: tuple[float, float]
    down: tuple[float, float]

    def curve(self, density: Array) -> Array:
        """Grey in [0, 1]: lung density becomes 0.25 with slope 1.15 at every site; shoulder and toe differ."""
        contrast = 1.15 * (density - _LUNG_DENSITY)
        reach = np.where(contrast > 0, np.float32(self.shoulder), np.float32(self.toe))
        return np.clip(0.25 + reach * np.tanh(contrast / reach), 0, 1).astype(np.float32)

    def decorate(self, grey: Array, rng: Generator) -> Array:
        """Burn in the marker and cut the border."""
        height, width = grey.shape
        short = min(height, width)
        letters = max(7, round(short * float(rng.uniform(0.045, 0.06))))
        stamp = Image.new("L", (width, height))
        draw = ImageDraw.Draw(stamp)
        x, y = width * rng.uniform(*self.across), height * rng.uniform(*self.down)
        draw.text((x, y), self.marker, fill=255, font=_font(letters))
        if self.is_boxed:
            box = (x - 0.25 * letters, y, x + 0.9 * letters, y + 1.3 * letters)
            draw.rectangle(box, outline=255, width=max(1, round(short / 340)))
            initials = "".join(chr(65 + int(i)) for i in rng.integers(0, 26, 2))
            draw.text((x - 0.2 * letters, y + 1.4 * letters), initials, fill=255, font=_font(max(6, letters // 2)))
        grey = np.maximum(grey, np.asarray(stamp, np.float32) * (0.95 / 255))
        if self.border:
            tilt = math.tan(math.radians(float(rng.normal(0, 0.8))))
            rows = np.arange(height, dtype=np.float32)[:, None] / short
            columns = np.arange(width, dtype=np.float32)[None, :] / short
            top, bottom, left, right = rng.uniform(0.012, 0.06, 4)
            open_field = np.minimum(
                rows - top + tilt * (columns - 0.5), height / short - bottom - rows + tilt * columns
            )
            open_field = np.minimum(open_field, columns - left - tilt * (rows - 0.5))
            open_field = np.minimum(open_field, width / short - right - columns - tilt * rows)
            grey = grey * np.clip(open_field * (short / 2), 0, 1)
        return grey.astype(np.float32)


_MONTGOMERY = Scanner(
    blur=1.1,
    noise=0.006,
    shoulder=1.10,
    toe=0.27,
    border=True,
    marker="L",
    is_boxed=False,
    across=(0.86, 0.90),
    down=(0.08, 0.14),
)
_SHENZHEN = Scanner(
    blur=0.0,
    noise=0.012,
    shoulder=0.62,
    toe=0.19,
    border=False,
    marker="R",
    is_boxed=True,
    across=(0.03, 0.06),
    down=(0.04, 0.16),
)
_HARBOUR = Scanner(
    blur=0.5,
    noise=0.009,
    shoulder=0.85,
    toe=0.23,
    border=True,
    marker="PA",
    is_boxed=False,
    across=(0.06, 0.12),
    down=(0.84, 0.88),
)
_VALLEY = Scanner(
    blur=1.8,
    noise=0.015,
    shoulder=0.75,
    toe=0.25,
    border=False,
    marker="R",
    is_boxed=False,
    across=(0.04, 0.10),
    down=(0.02, 0.06),
)
_LAKESIDE = Scanner(
    blur=0.9,
    noise=0.003,
    shoulder=0.95,
    toe=0.16,
    border=False,
    marker="L",
    is_boxed=True,
    across=(0.84, 0.88),
    down=(0.70, 0.80),
)
SCANNERS = {
    "montgomery": _MONTGOMERY,
    "shenzhen": _SHENZHEN,
    "harbour": _HARBOUR,
    "valley": _VALLEY,
    "lakeside": _LAKESIDE,
}
"""The scanners by site name. The synthetic tuberculosis tree has the first two; the rest are for studies of more."""


@lru_cache(maxsize=32)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def enlarge(field_: Array, shape: tuple[int, int]) -> Array:
    """A field [H, W] at another size, bilinear."""
    if field_.shape == shape:
        return field_
    image = Image.fromarray(np.ascontiguousarray(field_, np.float32))
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32)
