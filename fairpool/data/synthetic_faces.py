"""Draw faces whose attributes can be seen: hair, beard, glasses, hat, mouth, skin."""

from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

__all__ = ["FACE_SIZE", "draw_face"]

FACE_SIZE = (178, 218)
"""Width and height in pixels, as published."""

_HAIR = {
    "Black_Hair": (38, 32, 32),
    "Blond_Hair": (214, 180, 106),
    "Brown_Hair": (104, 68, 44),
    "Gray_Hair": (156, 154, 152),
}
_OTHER_HAIR = (140, 74, 44)
_LEVELS = 255

Colour = tuple[int, int, int]


def draw_face(traits: Mapping[str, int], *, blemishes: int, seed: int) -> Image.Image:
    """A face with these traits, its eyes and mouth where the aligned images of CelebA have them.

    Args:
        traits: 0 or 1 by CelebA's attribute names; one that is missing is absent.
        blemishes: number of spots on the skin, the visible mark that the label "Attractive" is drawn with.
        seed: of what the traits leave open: places, sizes and colours.
    Returns:
        RGB, 178 x 218.
    """
    rng = np.random.default_rng(seed)
    has = {name: bool(value) for name, value in traits.items()}
    is_male, is_young = has.get("Male", False), has.get("Young", False)
    background = tuple(int(level) for level in rng.integers(60, 220, 3))
    image = Image.new("RGB", FACE_SIZE, background)
    draw = ImageDraw.Draw(image)
    dx, dy = rng.normal(0, 2, 2)
    cx, cy = 89 + dx, 122 + dy
    skin = _skin(has, rng)
    hair = _shade(next((_HAIR[name] for name in _HAIR if has.get(name)), _OTHER_HAIR), rng.normal(0, 6))
    width = 42 + 4 * is_male + 5 * has.get("Chubby", False) - 3 * has.get("Oval_Face", False) + rng.normal(0, 1.5)
    height = 57 + 3 * has.get("Oval_Face", False) + rng.normal(0, 1.5)

    is_long = rng.random() < (0.08 if is_male else 0.88)
    if is_long and not has.get("Bald"):
        _ellipse(draw, cx, cy + 22, width + 17, height + 34, hair)
        if has.get("Wavy_Hair"):
            for side in (-1, 1):
                for place in range(5):
                    _ellipse(draw, cx + side * (width + 15), cy - 20 + 22 * place, 11, 12, hair)
    draw.rectangle((cx - 17, cy + height - 14, cx + 17, 218), fill=_shade(skin, -18))
    clothes = tuple(int(level) for level in rng.integers(20, 200, 3))
    draw.polygon([(cx - 80, 218), (cx - 22, 196), (cx + 22, 196), (cx + 80, 218)], fill=clothes)
    if has.get("Wearing_Necktie"):
        draw.polygon([(cx - 5, 194), (cx + 5, 194), (cx + 9, 218), (cx - 9, 218)], fill=(120, 20, 30))
    if has.get("Wearing_Necklace"):
        draw.arc((cx - 22, 172, cx + 22, 206), 10, 170, fill=(240, 215, 90), width=4)
    if not has.get("Bald"):
        top = 8 if has.get("Receding_Hairline") else 0
        _ellipse(draw, cx, cy - 16, width + 7, height + 2 - top, hair)
    for side in (-1, 1):
        _ellipse(draw, cx + side * width, cy, 6, 11, _shade(skin, -10))
        if has.get("Wearing_Earrings"):
            _ellipse(draw, cx + side * (width + 2), cy + 17, 4, 6, (245, 220, 110))
    _ellipse(draw, cx, cy, width, height, skin)
    if is_male:  # a broad jaw
        draw.rounded_rectangle((cx - width + 8, cy + 8, cx + width - 8, cy + height - 3), 18, fill=skin)
    if has.get("Double_Chin"):
        draw.arc((cx - 24, cy + height - 16, cx + 24, cy + height + 8), 20, 160, fill=_shade(skin, -55), width=3)
    if has.get("Bangs") and not has.get("Bald"):
        draw.pieslice((cx - width + 3, cy - height - 4, cx + width - 3, cy - 4), 180, 360, fill=hair)
    _draw_skin(draw, has, cx, cy, width, height, skin, hair, is_young=is_young, blemishes=blemishes, rng=rng)
    _draw_eyes(draw, has, cx, cy, skin, hair)
    _draw_mouth(draw, has, cx, cy, skin, hair)
    if has.get("Wearing_Hat"):
        band = tuple(int(level) for level in rng.integers(20, 230, 3))
        draw.pieslice((cx - width - 6, cy - height - 30, cx + width + 6, cy - 4), 180, 360, fill=band)
        draw.rectangle((cx - width - 14, cy - 38, cx + width + 14, cy - 29), fill=_shade(band, -25))
    if has.get("Blurry"):
        image = image.filter(ImageFilter.GaussianBlur(2.5))
    grain = rng.integers(-9, 10, (FACE_SIZE[1] // 2, FACE_SIZE[0] // 2, 3), dtype=np.int16)
    levels = np.asarray(image, dtype=np.int16) + grain.repeat(2, axis=0).repeat(2, axis=1)
    return Image.fromarray(np.clip(levels, 0, _LEVELS).astype(np.uint8))


def _skin(has: Mapping[str, bool], rng: np.random.Generator) -> Colour:
    base = np.array((236, 206, 184) if has.get("Pale_Skin") else (206, 160, 128), dtype=float)
    base += rng.normal(0, 10) * np.ones(3)
    return tuple(int(level) for level in np.clip(base, 30, 250))  # type: ignore[return-value]


def _draw_skin(
    draw: ImageDraw.ImageDraw,
    has: Mapping[str, bool],
    cx: float,
    cy: float,
    width: float,
    height: float,
    skin: Colour,
    hair: Colour,
    *,
    is_young: bool,
    blemishes: int,
    rng: np.random.Generator,
) -> None:
    """Beard, cheeks, wrinkles and spots."""
    if has.get("Rosy_Cheeks") or has.get("Heavy_Makeup"):
        for side in (-1, 1):
            _ellipse(draw, cx + side * 25, cy + 16, 10, 7, (skin[0], max(skin[1] - 45, 0), max(skin[2] - 30, 0)))
    if has.get("High_Cheekbones"):
        for side in (-1, 1):
            draw.line((cx + side * 34, cy + 6, cx + side * 17, cy + 14), fill=_shade(skin, 28), width=4)
    if has.get("5_o_Clock_Shadow"):
        draw.chord((cx - 33, cy + 2, cx + 33, cy + height - 2), 10, 170, fill=_shade(skin, -48))
    if has.get("Sideburns"):
        for side in (-1, 1):
            draw.rectangle((cx + side * (width - 5) - 4, cy - 18, cx + side * (width - 5) + 4, cy + 22), fill=hair)
    if has.get("Goatee"):
        _ellipse(draw, cx, cy + 45, 13, 11, _shade(hair, -15))
    if not is_young:
        for place in (-34, -29, -24):
            draw.line((cx - 24, cy + place, cx + 24, cy + place), fill=_shade(skin, -38), width=2)
        for side in (-1, 1):
            draw.line((cx + side * 12, cy + 14, cx + side * 20, cy + 30), fill=_shade(skin, -42), width=2)
    angles, radii = rng.uniform(0, 2 * np.pi, blemishes), np.sqrt(rng.uniform(0.15, 1, blemishes))
    for angle, radius in zip(angles, radii, strict=True):
        x, y = cx + 0.72 * width * radius * np.cos(angle), cy + 6 + 0.6 * height * radius * np.sin(angle)
        size = rng.uniform(4, 6.5)
        _ellipse(draw, x, y, size, size, (max(skin[0] - 40, 0), max(skin[1] - 80, 0), max(skin[2] - 75, 0)))


def _draw_eyes(
    draw: ImageDraw.ImageDraw, has: Mapping[str, bool], cx: float, cy: float, skin: Colour, hair: Colour
) -> None:
    """Eyes, brows, glasses and nose."""
    eye = cy - 12
    for side in (-1, 1):
        x = cx + side * 19
        if has.get("Heavy_Makeup"):
            _ellipse(draw, x, eye - 3, 11, 7, (110, 70, 120))
        if has.get("Bags_Under_Eyes"):
            draw.arc((x - 10, eye - 2, x + 10, eye + 11), 20, 160, fill=_shade(skin, -60), width=3)
        _ellipse(draw, x, eye, 9, 2.5 if has.get("Narrow_Eyes") else 5, (245, 245, 245))
        _ellipse(draw, x, eye, 3, 2.5 if has.get("Narrow_Eyes") else 4, (50, 40, 35))
        brow = 6 if has.get("Bushy_Eyebrows") else 3
        if has.get("Arched_Eyebrows"):
            draw.arc((x - 13, eye - 18, x + 13, eye + 2), 200, 340, fill=_shade(hair, -30), width=brow)
        else:
            draw.line((x - 12, eye - 12, x + 12, eye - 12), fill=_shade(hair, -30), width=brow)
        if has.get("Eyeglasses"):
            draw.ellipse((x - 15, eye - 11, x + 15, eye + 12), outline=(25, 25, 30), width=3)
    if has.get("Eyeglasses"):
        draw.line((cx - 5, eye, cx + 5, eye), fill=(25, 25, 30), width=3)
    nose = 9 if has.get("Big_Nose") else 4 if has.get("Pointy_Nose") else 6
    draw.polygon([(cx, cy - 6), (cx - nose, cy + 16), (cx + nose, cy + 16)], fill=_shade(skin, -28))


def _draw_mouth(
    draw: ImageDraw.ImageDraw, has: Mapping[str, bool], cx: float, cy: float, skin: Colour, hair: Colour
) -> None:
    lips = (
        (190, 25, 50)
        if has.get("Wearing_Lipstick")
        else (max(skin[0] - 30, 0), max(skin[1] - 70, 0), max(skin[2] - 55, 0))
    )
    thick, mouth = (7 if has.get("Big_Lips") else 4), cy + 30
    if has.get("Mustache"):
        draw.rectangle((cx - 17, mouth - 11, cx + 17, mouth - 5), fill=_shade(hair, -15))
    if has.get("Smiling"):
        draw.arc((cx - 19, mouth - 16, cx + 19, mouth + 9), 15, 165, fill=lips, width=thick)
    else:
        draw.line((cx - 15, mouth, cx + 15, mouth), fill=lips, width=thick)
    if has.get("Mouth_Slightly_Open"):
        _ellipse(draw, cx, mouth + (4 if has.get("Smiling") else 1), 9, 4, (250, 250, 245))


def _ellipse(
    draw: ImageDraw.ImageDraw, x: float, y: float, half_width: float, half_height: float, fill: object
) -> None:
    draw.ellipse((x - half_width, y - half_height, x + half_width, y + half_height), fill=fill)  # type: ignore[arg-type]


def _shade(colour: tuple[int, ...], by: float) -> Colour:
    return tuple(int(min(max(level + by, 0), _LEVELS)) for level in colour)  # type: ignore[return-value]
