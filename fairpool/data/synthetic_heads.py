"""Synthetic T1-weighted heads, and the two scanners that see them.

A head is ellipsoids of scalp, skull, fluid, grey and white matter. Atrophy widens the ventricles and thins the cortex,
the same at both scanners; the site acts through contrast, noise, shading, brightness and orientation alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

__all__ = ["MRI_SCANNERS", "MriScanner", "draw_head", "scan_head"]

Array = NDArray[np.float32]

# Half axes in millimetres (right, front, up) of the outer surfaces; the brain lies in fluid, in bone, in scalp.
_SCALP, _SKULL, _FLUID, _BRAIN = (75.0, 92.0, 80.0), (68.0, 85.0, 73.0), (62.0, 79.0, 67.0), (59.0, 76.0, 64.0)
_CORTEX = 9.0
_VENTRICLE = (9.0, 28.0, 13.0)
_VENTRICLES_APART = 11.0


@dataclass(frozen=True)
class MriScanner:
    """One site's scanner.

    Attributes:
        sidecar: BIDS metadata of its images.
        signals: brightness of each tissue of `draw_head`.
        noise: standard deviation of the receiver's noise, on the scale of the signals.
        shading: logarithm of the coil's sensitivity at the right, front and upper end of the volume.
        gain: stored value of a signal of 1.
        orientation: direction of the stored axes, such as "LAS".
    """

    sidecar: Mapping[str, str | float]
    signals: Mapping[str, float]
    noise: float
    shading: tuple[float, float, float]
    gain: float
    orientation: str


MRI_SCANNERS: Mapping[str, MriScanner] = MappingProxyType(
    {
        "alpine": MriScanner(
            sidecar={
                "InstitutionName": "Alpine Imaging Centre (synthetic)",
                "Manufacturer": "Northlight",
                "ManufacturersModelName": "N15",
                "StationName": "ALPINE1",
                "DeviceSerialNumber": "SYN-1001",
                "MagneticFieldStrength": 1.5,
                "RepetitionTime": 1.9,
                "EchoTime": 0.0037,
                "InversionTime": 1.1,
                "FlipAngle": 15,
            },
            signals={"scalp": 0.95, "bone": 0.10, "fluid": 0.20, "grey": 0.58, "white": 0.80},
            noise=0.055,
            shading=(0.05, -0.10, 0.05),
            gain=700.0,
            orientation="LAS",
        ),
        "bayside": MriScanner(
            sidecar={
                "InstitutionName": "Bayside Hospital (synthetic)",
                "Manufacturer": "Meridian",
                "ManufacturersModelName": "M3",
                "StationName": "BAYSIDE1",
                "DeviceSerialNumber": "SYN-3001",
                "MagneticFieldStrength": 3,
                "RepetitionTime": 2.3,
                "EchoTime": 0.0030,
                "InversionTime": 0.9,
                "FlipAngle": 9,
            },
            signals={"scalp": 0.80, "bone": 0.05, "fluid": 0.12, "grey": 0.54, "white": 0.88},
            noise=0.030,
            shading=(-0.05, 0.25, -0.15),
            gain=1100.0,
            orientation="PSR",
        ),
    }
)
"""The scanners by site name."""


def draw_head(
    label: int,
    age: float,
    generator: Generator,
    *,
    shape: tuple[int, int, int] = (24, 28, 24),
    voxel_size: float = 7.0,
    atrophy: float = 1.0,
) -> dict[str, Array]:
    """The share of each tissue in each voxel, axes to the right, the front and up.

    Args:
        label: 1 for atrophy, 0 for none.
        age: in years; the ventricles grow by 1 % a year.
        generator: size and position of the head and its parts; as many numbers whatever the label and age.
        shape: voxels.
        voxel_size: edge in millimetres.
        atrophy: strength, 0 or more. At 1 the ventricles are 1.35 times as wide (healthy people differ by a standard
            deviation of 18 %) and the cortex is 1.5 mm thinner (they differ by 1.2 mm); at 0 the label shows nowhere.
    Returns:
        "scalp", "bone", "fluid", "grey" and "white", each of that shape, in [0, 1] and at most 1 in sum; the rest is
        air.

    >>> tissues = draw_head(1, 70.0, np.random.default_rng(0))
    >>> tissues["white"].shape, bool(sum(tissues.values()).max() <= 1 + 1e-6)
    ((24, 28, 24), True)
    """
    size, widening, thinning, tilt = generator.normal(1.0, [0.04, 0.18, 1.2, 0.04])
    centre, turn = generator.normal(0.0, 2.5, 3), (tilt - 1.0)
    widening = max(widening, 0.4) * (1 + 0.01 * (age - 70)) * (1 + 0.35 * atrophy * label)
    cortex = max(_CORTEX - (thinning - 1.0) - 1.5 * atrophy * label, 3.0)
    lost = _CORTEX - cortex

    axes = [voxel_size * (np.arange(n, dtype=np.float32) - (n - 1) / 2) for n in shape]
    right, front, up = np.meshgrid(*axes, indexing="ij", sparse=True)
    right, front, up = right - centre[0], front - centre[1], up - centre[2]
    right, front = right * np.cos(turn) - front * np.sin(turn), right * np.sin(turn) + front * np.cos(turn)

    def inside(axes_of: tuple[float, float, float], less: float = 0.0, shift: float = 0.0) -> Array:
        """Share of each voxel inside an ellipsoid, from its distance in millimetres to the surface."""
        half = [size * (length - less) for length in axes_of]
        radius = np.sqrt(((right - shift) / half[0]) ** 2 + (front / half[1]) ** 2 + (up / half[2]) ** 2)
        distance = (1 - radius) * min(half)
        return np.asarray(1 / (1 + np.exp(-distance / (0.3 * voxel_size))), np.float32)

    head, skull, fluid = inside(_SCALP), inside(_SKULL), inside(_FLUID)
    brain, white = inside(_BRAIN, less=lost / 2), inside(_BRAIN, less=lost / 2 + cortex)
    wide = (_VENTRICLE[0] * widening, _VENTRICLE[1] * widening**0.5, _VENTRICLE[2] * widening)
    ventricles = np.maximum(inside(wide, shift=-_VENTRICLES_APART), inside(wide, shift=_VENTRICLES_APART))
    white = white * (1 - ventricles)
    skull, fluid = np.minimum(skull, head), np.minimum(fluid, skull)
    brain = np.minimum(brain, fluid)
    ventricles = ventricles * brain
    white = np.minimum(white, brain - ventricles)
    return {
        "scalp": head - skull,
        "bone": skull - fluid,
        "fluid": fluid - brain + ventricles,
        "grey": brain - ventricles - white,
        "white": white,
    }


def scan_head(tissues: Mapping[str, Array], site: str, generator: Generator) -> NDArray[np.int16]:
    """What a site's scanner stores of a head, axes still to the right, the front and up.

    Args:
        tissues: of `draw_head`.
        site: one of `MRI_SCANNERS`.
        generator: contrast, shading, brightness and noise of this examination.
    Returns:
        magnitudes from 0 on; their noise is Rician: doi:10.1002/mrm.1910340618.
    Raises:
        ValueError: the site has no scanner here.
    """
    if site not in MRI_SCANNERS:
        raise ValueError(f'Site "{site}" has no synthetic scanner; expected one of {", ".join(MRI_SCANNERS)}.')
    scanner = MRI_SCANNERS[site]
    signal = np.zeros(next(iter(tissues.values())).shape, np.float32)
    for tissue, part in tissues.items():
        signal += np.float32(scanner.signals[tissue] * generator.normal(1.0, 0.02)) * part
    signal = gaussian_filter(signal, 0.35)
    ends = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in signal.shape), indexing="ij", sparse=True)
    for end, shading in zip(ends, scanner.shading, strict=True):
        signal = signal * np.exp(np.float32(shading + generator.normal(0.0, 0.05)) * end)
    real, imaginary = generator.normal(0.0, scanner.noise, (2, *signal.shape)).astype(np.float32)
    stored = scanner.gain * float(generator.normal(1.0, 0.05)) * np.hypot(signal + real, imaginary)
    return np.clip(np.rint(stored), 0, np.iinfo(np.int16).max).astype(np.int16)
