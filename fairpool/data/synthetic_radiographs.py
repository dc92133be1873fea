"""Synthetic frontal chest radiographs: anatomy and tuberculosis, from a random generator to arrays.

The picture is made in two steps, and only the first one knows the disease:

    render_scene      what lies between tube and detector, as density: 0 is air, about 0.3 lung, about 1 bone.
                      The label acts here, by lesions inside the lungs.
    expose_scene      what a hospital's scanner makes of that density (`fairpool.data.synthetic_scanners`).
                      The site acts here, and in no other place.

So the anatomy is the same distribution at every site.

The image's left is the patient's right, as a radiograph is hung. Lengths are in units of half the image's shorter side;
the patient's midline is x = 0 and y points down.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter

from fairpool.data.synthetic_scanners import Array, enlarge, expose_scene

__all__ = ["LESION_CONTRAST", "Scene", "expose_scene", "render_scene"]

LESION_CONTRAST = 0.25
"""Density of an average lesion, and in proportion of a scar: the one number that sets how hard the task is.

Measured with a 4-block ResNet at 128 pixels (138 + 662 training images, 20 epochs, 300 balanced test images, 2 seeds):
error 11.7 and 10.7 % without confounding, 26.7 and 24.7 % at 0.8. There Montgomery's FNR is 28 and 24 % against 0 and
0 %, and Shenzhen's FPR 76 and 72 % against 3 and 3 %."""

_SCARRED = 0.55
"""Share of patients, ill or not, with a healed scar. Without look-alikes only a site's normals could be confused with
the ill, never its ill with normals, and the gap in FNR would be small."""

_COARSE = 256
"""Longest side at which smooth structures are drawn before they are enlarged; ribs and hearts need no more."""


@dataclass(frozen=True)
class Scene:
    """What a patient looks like to the rays, before any scanner.

    Attributes:
        density: radiographic density, float32 [H, W]: 0 air, about 0.3 lung, about 1 bone over soft tissue.
        lesions: the part of the density that tuberculosis adds, float32 [H, W]; all zero in a normal patient.
        left_lung: the patient's left lung (right half of the image), bool [H, W].
        right_lung: the patient's right lung (left half of the image), bool [H, W].
        lesion_centres: (row, column) of each lesion, inside one of the lungs.
    """

    density: Array
    lesions: Array
    left_lung: NDArray[np.bool_]
    right_lung: NDArray[np.bool_]
    lesion_centres: tuple[tuple[int, int], ...] = field(default=())


def render_scene(
    rng: Generator, label: int, *, shape: tuple[int, int] = (512, 512), sex: str = "M", findings: str = ""
) -> Scene:
    """One patient's density, with tuberculosis where the label is 1.

    Args:
        rng: decides everything about the patient; its first child decides the anatomy, its second the disease.
        label: 0 normal, 1 tuberculosis.
        shape: rows and columns.
        sex: "F" may show breast shadows; anything else doesn't.
        findings: a reading such as "PTB in the left upper field"; the lesions lie where it says. Without a place in
            it, mostly in the upper fields.
    Returns:
        The scene; the same anatomy for either label.
    Raises:
        ValueError: the label is neither 0 nor 1, or a side of the shape is below 32.

    >>> scene = render_scene(np.random.default_rng(0), 1, shape=(64, 64))
    >>> scene.density.shape, bool(scene.lesions.max() > 0)
    ((64, 64), True)
    """
    if label not in (0, 1):
        raise ValueError(f"The label is {label!r}; expected 0 (normal) or 1 (tuberculosis).")
    if min(shape) < 32:
        raise ValueError(f"The image would have {shape[0]} x {shape[1]} pixels; expected at least 32 on each side.")
    anatomy_rng, disease_rng = rng.spawn(2)
    reduction = min(1.0, _COARSE / max(shape))
    coarse_shape = (max(1, round(shape[0] * reduction)), max(1, round(shape[1] * reduction)))
    patient = _Patient(anatomy_rng, coarse_shape)
    density = patient.soft_tissue()
    density += patient.bones()
    density += patient.distractors(sex)
    if label:
        lesions, centres = _draw_lesions(disease_rng, patient, findings)
    else:
        lesions, centres = np.zeros(coarse_shape, np.float32), ()
    density = enlarge(density + lesions, shape)
    air = np.clip(enlarge(patient.air, shape), 0, 1)
    density += patient.vessels(shape) * air
    density += _tissue_texture(anatomy_rng, shape) * (0.5 + 0.5 * air)
    density *= np.clip(enlarge(patient.body, shape), 0, 1)
    rows, columns = shape[0] / coarse_shape[0], shape[1] / coarse_shape[1]
    right, left = (enlarge(depth, shape) > 0 for depth in patient.lung_depth)
    return Scene(
        density=density,
        lesions=np.maximum(enlarge(lesions, shape), 0) if label else np.zeros(shape, np.float32),
        left_lung=left,
        right_lung=right,
        lesion_centres=tuple((int((r + 0.5) * rows), int((c + 0.5) * columns)) for r, c in centres),
    )


class _Patient:
    """One patient's anatomy on a coarse grid; every array is [H, W] float32 there."""

    def __init__(self, rng: Generator, shape: tuple[int, int]) -> None:
        self.rng, self.shape = rng, shape
        self.angle = math.radians(float(np.clip(rng.normal(0, 1.5), -4, 4)))
        self.zoom = float(rng.uniform(0.94, 1.10))
        self.shift = rng.normal(0, 0.025, 2)
        rows = (np.arange(shape[0], dtype=np.float32) + 0.5 - shape[0] / 2) / (min(shape) / 2)
        columns = (np.arange(shape[1], dtype=np.float32) + 0.5 - shape[1] / 2) / (min(shape) / 2)
        across, down = columns[None, :] - self.shift[0], rows[:, None] - self.shift[1]
        cosine, sine = math.cos(self.angle) / self.zoom, math.sin(self.angle) / self.zoom
        self.x = (cosine * across + sine * down).astype(np.float32)
        self.y = (cosine * down - sine * across).astype(np.float32)
        self.half_width = float(rng.uniform(0.70, 0.82))
        self.apex = float(rng.uniform(-0.80, -0.70))
        self.dome = float(rng.uniform(0.34, 0.54))
        self.heart = float(rng.uniform(0.26, 0.42))
        self.wall = float(rng.uniform(0.09, 0.20))
        self.hilum = float(rng.uniform(-0.10, 0.02))
        self.lung_depth = (self._lung(-1), self._lung(+1))
        self._outline()

    def pixels(self, x: float, y: float, shape: tuple[int, int]) -> tuple[float, float]:
        """Column and row, in an image of the given shape, of a point of the patient."""
        half = min(shape) / 2
        cosine, sine = math.cos(self.angle) * self.zoom, math.sin(self.angle) * self.zoom
        column = (cosine * x - sine * y + self.shift[0]) * half + shape[1] / 2
        row = (sine * x + cosine * y + self.shift[1]) * half + shape[0] / 2
        return column, row

    def _lung(self, side: int) -> Array:
        """How deep a point lies inside a lung; negative outside. side -1 is the image's left, the patient's right."""
        rng = self.rng
        x, y = side * self.x, self.y
        left = side > 0
        dome = self.dome + (0.04 if left else 0.0) + float(rng.normal(0, 0.012))
        t = (y - self.apex) / (dome + 0.22 - self.apex)
        s = np.clip(t, 0, 1)
        width = self.half_width * float(rng.normal(1, 0.015))
        lateral = width * (1 - 0.46 * np.clip(1 - s / 0.82, 0, 1) ** 2.0) - 0.12 * np.clip(s - 0.72, 0, 1)
        if left:
            medial = 0.125 + 0.065 * _bump(t, 0.31, 0.07) + 0.05 * _bump(t, 0.45, 0.08)
            medial += self.heart * _bump(t, 0.86, 0.21)
        else:
            medial = 0.125 + 0.03 * _bump(t, 0.30, 0.14) + 0.38 * self.heart * _bump(t, 0.74, 0.16)
        top = y - self.apex - float(rng.uniform(1.5, 1.9)) * (x - 0.31) ** 2
        steep = float(rng.uniform(1.0, 1.6))
        bottom = dome + steep * np.abs(x - 0.34) ** 2.3 - y
        depth = _smooth_minimum(lateral - x, x - medial, 0.03)
        depth = _smooth_minimum(depth, top * 0.8, 0.08)
        return _as_float32(_smooth_minimum(depth, bottom, 0.03))

    def _outline(self) -> None:
        x, y = np.abs(self.x), self.y
        torso = self.half_width + self.wall
        low = float(self.rng.uniform(0.05, 0.45))
        # The arms leave the picture between shoulder and armpit; below it the flank ends in air.
        flank = torso + 0.6 / (1 + np.exp((y - low) / 0.12))
        neck = 0.30 + float(self.rng.uniform(-0.03, 0.03))
        slope = float(self.rng.uniform(0.22, 0.36))
        shoulder = -1.08 + slope * np.clip(x - neck, 0, None) ** 1.1
        inside = np.minimum(flank - x, np.maximum(y - shoulder, (neck - x)))
        self.edge = inside
        self.body = np.clip(inside / 0.015 + 0.5, 0, 1).astype(np.float32)
        right, left = self.lung_depth
        depth = np.maximum(right, left)
        self.inside = np.clip(depth / 0.022 + 0.4, 0, 1)
        self.inside *= self.inside * (3 - 2 * self.inside)
        self.air = (self.inside * (1 - 0.30 * np.exp(-np.clip(depth, 0, None) / 0.09))).astype(np.float32)

    def soft_tissue(self) -> Array:
        """Chest wall, mediastinum, heart, diaphragm, air in the lungs and the windpipe."""
        rng, x, y = self.rng, self.x, self.y
        density = 0.30 + 0.32 * np.sqrt(np.clip(self.edge / 0.38, 0, 1))
        density += 0.15 * _bump(x, 0.0, 0.17) * np.clip(1.15 + 0.5 * y, 0.5, 1)
        density += 0.19 * _bump(x, 0.13, 0.30) * _bump(y, self.dome - 0.05, 0.36)
        belly = np.clip((y - self.dome - 0.02) / 0.25, 0, 1)
        density += 0.14 * belly * (1 - 0.5 * np.clip((np.abs(x) - 0.5) / 0.4, 0, 1))
        if rng.random() < 0.5:  # the gastric bubble, under the left dome
            across = (x - rng.uniform(0.25, 0.42)) / rng.uniform(0.09, 0.16)
            down = (y - self.dome - rng.uniform(0.15, 0.20)) / rng.uniform(0.05, 0.08)
            density -= rng.uniform(0.08, 0.2) * np.clip(1.5 * (1.1 - across**2 - down**2), 0, 1)
        density -= 0.42 * self.air
        # Lungs are darkest laterally in the upper and middle field; the base lies behind more tissue.
        density += self.inside * (0.07 * np.clip(y - 0.1, 0, 1) + 0.05 * np.clip(-0.45 - y, 0, 1))
        bend = rng.normal(0, 0.012) + 0.01 * np.sin(4 * y)
        windpipe = _bump(x, bend, 0.036)
        density -= rng.uniform(0.08, 0.14) * windpipe * np.clip((self.hilum - 0.10 - y) / 0.1, 0, 1)
        for side in (-1, 1):
            strength = rng.uniform(0.04, 0.10)  # bright hila are a distractor: they occur at either label
            height = self.hilum - (0.03 if side > 0 else 0.0)
            density += strength * _bump(x, side * 0.185, 0.055) * _bump(y, height + 0.05, 0.11)
        return _as_float32(density)

    def bones(self) -> Array:
        """Ribs, collar bones, shoulder blades and spine, added to the density."""
        rng, y = self.rng, self.y
        right, left = self.lung_depth
        cage = np.clip((np.maximum(right, left) + 0.07) / 0.05, 0, 1)
        x = np.abs(self.x)
        spacing = float(rng.uniform(0.155, 0.185))
        phase = float(rng.uniform(0, 1))
        r = x / self.half_width
        visible = 0.55 + 0.45 * self.inside
        # Back parts rise from the spine and fall to the side; front parts fall from the side to the breast bone.
        back = (y - (0.62 * r**2.6 - 0.10 * r - 0.06 * r * y)) / (spacing * (1 + 0.16 * y)) + phase
        front = (y + 0.62 * r - 0.18 * r**3) / (spacing * 1.12) + phase * 1.3 + 0.4
        ribs = float(rng.uniform(0.07, 0.11)) * _rib_profile(back, 0.29) * np.clip((x - 0.06) / 0.06, 0, 1)
        ribs += float(rng.uniform(0.02, 0.045)) * _rib_profile(front, 0.34) * np.clip((r - 0.34) / 0.35, 0, 1)
        ribs *= np.clip((0.75 - y) / 0.3, 0, 1) * np.clip((y - self.apex + 0.12) / 0.1, 0, 1)
        bone = ribs * cage * visible
        for side in (-1, 1):
            u = side * self.x
            tilt, height = rng.uniform(0.16, 0.34), self.apex + rng.uniform(0.20, 0.32)
            course = height - tilt * (u - 0.1) + 0.035 * np.sin((u - 0.1) * 7.0)
            half = 0.034 + 0.016 * np.clip(np.abs(u - 0.4) - 0.1, 0, 1)
            distance = np.abs(y - course) / half
            collar = np.clip((1.1 - distance) / 0.25, 0, 1) * (0.75 + 0.35 * _bump(distance, 0.85, 0.22))
            bone += 0.11 * collar * np.clip((u - 0.05) / 0.04, 0, 1) * np.clip((0.95 - u) / 0.1, 0, 1)
            edge = u - (self.half_width * rng.uniform(0.84, 1.0) + 0.22 * (y + 0.25))
            blade = np.clip(edge / 0.04, 0, 1) * np.clip((y + 0.72) / 0.15, 0, 1) * np.clip((0.12 - y) / 0.25, 0, 1)
            bone += 0.07 * blade * np.clip(1.3 - edge / 0.3, 0, 1)
            head = (u - self.half_width - 0.32) ** 2 + (y + 0.62) ** 2
            bone += 0.08 * np.clip((0.17**2 - head) / 0.012, 0, 1)
        spine = np.clip((0.105 - x) / 0.05, 0, 1)
        level = np.mod(y / 0.125 + phase, 1)
        bone += spine * (0.04 + 0.025 * np.clip(np.abs(level - 0.5) * 8 - 0.8, -0.3, 1))
        bone += 0.03 * _bump(x, 0.055, 0.014) * _bump(level, 0.4, 0.16)
        return _as_float32(bone)

    def distractors(self, sex: str) -> Array:
        """Harmless things that look like something, at either label: breasts, nipples, nodes, thick apices, scars."""
        rng, x, y = self.rng, self.x, self.y
        density: Array = np.zeros(self.shape, np.float32)
        breast, size = rng.uniform(0.03, 0.10), rng.uniform(0.26, 0.36)
        for side in (-1, 1):
            distance = np.hypot(x - side * 0.46, (y - 0.17) * 1.05) / size
            shadow = np.clip((1 - distance) / 0.22, 0, 1) * (0.5 + 0.5 * np.clip(y + 0.4, 0, 1))
            density += (breast if sex == "F" else 0.0) * shadow
        chance = rng.random(5)
        if chance[0] < 0.25:
            for side in (-1, 1):
                density += rng.uniform(0.03, 0.07) * self.spot(side * 0.43, self.dome - rng.uniform(0.1, 0.2), 0.022)
        if chance[1] < 0.35:
            for _ in range(int(rng.integers(1, 4))):
                place = rng.choice([-1, 1]) * rng.uniform(0.2, 0.5), rng.uniform(-0.45, 0.3)
                density += rng.uniform(0.08, 0.2) * self.spot(*place, rng.uniform(0.008, 0.014))
        if chance[2] < 0.15:
            side = int(rng.choice([-1, 1]))
            cap = _bump(self.lung_depth[(side + 1) // 2], 0.0, 0.035) * np.clip((self.apex + 0.16 - y) / 0.1, 0, 1)
            density += rng.uniform(0.05, 0.12) * cap
        if chance[3] < 0.20:  # a patch of crowded vessels at a base: like a lesion, yet in the wrong place
            side = int(rng.choice([-1, 1]))
            density += rng.uniform(0.04, 0.09) * self.spot(side * rng.uniform(0.25, 0.4), self.dome - 0.12, 0.09)
        if chance[4] < _SCARRED:  # a healed scar: a lesion's shape in a lesion's place, mostly fainter
            side = int(rng.choice([-1, 1]))
            row, column = _place(rng, self, self.lung_depth[(side + 1) // 2], _affected_field(rng, ""))
            kind = str(rng.choice(["patch", "nodules", "cavity"], p=[0.6, 0.3, 0.1]))
            scar = _lesion(rng, self, kind, float(self.x[row, column]), float(self.y[row, column]))
            strength = 0.42 * LESION_CONTRAST * float(np.exp(rng.normal(0, 0.45)))
            density += strength * np.clip(scar, 0, None) * self.inside
        return density

    def spot(self, x: float, y: float, radius: float) -> Array:
        """A round soft shadow of height 1."""
        return _as_float32(np.exp(((self.x - x) ** 2 + (self.y - y) ** 2) * (-0.5 / radius**2)))

    def vessels(self, shape: tuple[int, int]) -> Array:
        """Vessels that branch from the hila and thin out, at full resolution."""
        rng = self.rng
        canvas = Image.new("L", (shape[1], shape[0]))
        draw = ImageDraw.Draw(canvas)
        unit = min(shape) / 512 * self.zoom
        pending: list[tuple[float, float, float, float, int]] = []
        for side in (-1, 1):
            for direction in np.linspace(-1.25, 1.35, 10) + rng.normal(0, 0.1, 10):
                angle = direction if side > 0 else math.pi - direction
                height = self.hilum - (0.03 if side > 0 else 0.0) + 0.06 * float(direction)
                pending.append((side * 0.15, height, float(angle), float(rng.uniform(4.0, 6.5)), 0))
        gain = float(rng.uniform(0.8, 1.2))
        while pending:
            x, y, angle, width, order = pending.pop()
            points = [self.pixels(x, y, shape)]
            for turn in rng.normal(0, 0.13, 3).tolist():
                angle += turn
                x += 0.045 * math.cos(angle)
                y += 0.045 * math.sin(angle)
                points.append(self.pixels(x, y, shape))
            grey = int(min(255, gain * (40 + 27 * width)))
            draw.line(points, fill=grey, width=max(1, round(width * unit)))
            if order < 4 and abs(x) < 0.8:
                spread, thinner = float(rng.uniform(0.15, 0.45)), float(rng.uniform(0.60, 0.80))
                pending.append((x, y, angle + spread, width * thinner, order + 1))
                pending.append((x, y, angle - spread, width * (1.4 - thinner), order + 1))
        vessels = np.asarray(canvas, np.float32)
        return _as_float32(gaussian_filter(vessels, 1.3 * unit, truncate=2.5) * (0.13 / 255))


def _draw_lesions(rng: Generator, patient: _Patient, findings: str) -> tuple[Array, tuple[tuple[int, int], ...]]:
    """Tuberculosis on the patient's coarse grid: the added density and the (row, column) of each lesion."""
    density = np.zeros(patient.shape, np.float32)
    severity = float(np.exp(rng.normal(0, 0.45)))
    texture = 1 + 0.45 * _noise(rng, patient.shape, 20) + 0.3 * _noise(rng, patient.shape, 48)
    centres: list[tuple[int, int]] = []
    for side in _affected_sides(rng, findings):
        depth = patient.lung_depth[(side + 1) // 2]
        for _ in range(int(min(3, rng.geometric(0.6)))):
            row, column = _place(rng, patient, depth, _affected_field(rng, findings))
            x, y = float(patient.x[row, column]), float(patient.y[row, column])
            kind = rng.choice(["patch", "nodules", "cavity", "miliary"], p=_kinds(findings))
            strength = LESION_CONTRAST * severity * float(rng.uniform(0.7, 1.3))
            density += strength * _lesion(rng, patient, str(kind), x, y) * texture
            centres.append((row, column))
    # A dense consolidation is as bright as the heart and no brighter.
    capped = 0.36 * np.tanh(np.clip(density * patient.inside, 0, None) / 0.36)
    return _as_float32(capped), tuple(centres)


def _lesion(rng: Generator, patient: _Patient, kind: str, x: float, y: float) -> Array:
    """One lesion's shape, about 1 where it is densest."""
    shape = np.zeros(patient.shape, np.float32)
    if kind == "patch":
        radius = float(rng.uniform(0.06, 0.12))
        for _ in range(int(rng.integers(4, 8))):
            place = x + rng.normal(0, 0.8 * radius), y + rng.normal(0, 0.7 * radius)
            shape += float(rng.uniform(0.4, 0.8)) * patient.spot(*place, radius * rng.uniform(0.5, 1.0))
    elif kind == "nodules":
        for _ in range(int(rng.integers(6, 13))):
            place = x + rng.normal(0, 0.08), y + rng.normal(0, 0.08)
            shape += float(rng.uniform(0.6, 1.3)) * patient.spot(*place, float(rng.uniform(0.014, 0.030)))
    elif kind == "cavity":
        radius, wall = float(rng.uniform(0.045, 0.08)), float(rng.uniform(0.012, 0.02))
        away = np.hypot(patient.x - x, (patient.y - y) * rng.uniform(0.85, 1.2))
        around = np.arctan2(patient.y - y, patient.x - x)
        uneven = 0.75 + 0.35 * np.sin(around + rng.uniform(0, 6.3)) + 0.15 * np.sin(3 * around + rng.uniform(0, 6.3))
        shape += uneven * (0.8 * _bump(away, radius, wall) + 0.5 * _bump(away, radius, 2.6 * wall))
        shape -= 0.25 * np.clip((radius - away) / wall, 0, 1)
    else:
        for _ in range(30):
            place = x + rng.normal(0, 0.15), y + rng.normal(0, 0.22)
            shape += float(rng.uniform(0.5, 1.0)) * patient.spot(*place, float(rng.uniform(0.010, 0.016)))
    return shape


def _kinds(findings: str) -> tuple[float, float, float, float]:
    if "disseminated" in findings:
        return (0.1, 0.2, 0.0, 0.7)
    if "cavit" in findings:
        return (0.25, 0.15, 0.6, 0.0)
    return (0.50, 0.30, 0.17, 0.03)


def _affected_sides(rng: Generator, findings: str) -> tuple[int, ...]:
    """-1 for the image's left (the patient's right), +1 for the other; what the reading says, else by chance."""
    text = findings.lower()
    # "left PTB, right pleural effusion": only the clause that names the tuberculosis counts.
    clause = next((part for part in text.replace(";", ",").replace(" with ", ",").split(",") if "tb" in part), text)
    right, left = "right" in clause, "left" in clause
    if "bilateral" in clause or (right and left):
        return (-1, 1)
    if right or left:
        return (-1,) if right else (1,)
    return ((-1,), (1,), (-1, 1))[int(rng.choice(3, p=[0.42, 0.28, 0.30]))]


def _affected_field(rng: Generator, findings: str) -> str:
    fields = [name for name in ("upper", "middle", "lower") if name in findings.lower()]
    if fields:
        return fields[int(rng.integers(len(fields)))]
    return str(rng.choice(["upper", "middle", "lower"], p=[0.66, 0.22, 0.12]))


def _place(rng: Generator, patient: _Patient, depth: Array, part: str) -> tuple[int, int]:
    """A pixel well inside one lung, in its upper, middle or lower part."""
    height = (patient.y - patient.apex) / (patient.dome - patient.apex)
    low, high = {"upper": (0.0, 0.42), "middle": (0.38, 0.70), "lower": (0.65, 1.1)}[part]
    for margin in (0.06, 0.03, 0.012):
        rows, columns = np.nonzero((depth > margin) & (height > low) & (height < high))
        if rows.size:
            chosen = int(rng.integers(rows.size))
            return int(rows[chosen]), int(columns[chosen])
    deepest = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(deepest[0]), int(deepest[1])


def _as_float32(values: NDArray[Any]) -> Array:
    return np.asarray(values, np.float32)


def _bump(values: Array, centre: float, width: float) -> Array:
    scaled = (values - centre) * (1 / width)
    return np.exp(-0.5 * scaled * scaled).astype(np.float32)


def _rib_profile(position: Array, half: float) -> Array:
    """Bands repeated once a unit, each a little brighter at its margins (the cortex)."""
    distance = np.abs(np.mod(position, 1) - 0.5) / half
    band = np.clip((1 - distance) / 0.22, 0, 1)
    return (band * (0.70 + 0.45 * np.clip(1 - np.abs(distance - 0.78) / 0.2, 0, 1))).astype(np.float32)


def _smooth_minimum(a: Array, b: Array, radius: float) -> Array:
    """The lesser of two fields, rounded where they cross."""
    overlap = np.clip(radius - np.abs(a - b), 0, None)
    return _as_float32(np.minimum(a, b) - overlap * overlap * (0.25 / radius))


def _noise(rng: Generator, shape: tuple[int, int], cells: int) -> Array:
    """Smooth noise with unit variance at its knots, `cells` knots along the shorter side."""
    unit = min(shape) / cells
    knots = rng.standard_normal((math.ceil(shape[0] / unit), math.ceil(shape[1] / unit)), np.float32)
    image = Image.fromarray(knots)
    return np.array(image.resize((shape[1], shape[0]), Image.Resampling.BICUBIC), np.float32)


def _tissue_texture(rng: Generator, shape: tuple[int, int]) -> Array:
    """Mottle at four scales, standard deviation about 0.02."""
    texture = 0.012 * _noise(rng, shape, 5)
    for amplitude, cells in ((0.011, 14), (0.010, 36), (0.008, 90)):
        texture += amplitude * _noise(rng, shape, cells)
    return texture
