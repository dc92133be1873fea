"""The pictures of the synthetic imSitu: a person with the tool of a verb, before a background of shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from fairpool.data.imsitu import FEMALE_NOUNS

__all__ = ["NOUNS", "SIZE", "VERBS", "Verb", "draw_scene"]

SIZE = 256
"""Height and width of the publisher's reduced images."""

Colour = tuple[int, int, int]

NOUNS: dict[str, tuple[str, ...]] = {
    "n10287213": ("man", "adult male"),
    "n10285313": ("male child", "boy"),
    "n10787470": ("woman", "adult female"),
    "n10129825": ("girl", "miss", "missy", "young lady", "young woman", "fille"),
    "n00007846": ("person", "individual", "someone", "somebody", "mortal", "soul"),
    "n08588294": ("inside", "interior"),
    "n08613733": ("outdoors", "out-of-doors", "open air", "open"),
    "n04105893": ("room",),
    "n07707451": ("vegetable", "veggie", "veg"),
    "n03400231": ("frying pan", "frypan", "skillet"),
    "n02958343": ("car", "auto", "automobile", "machine", "motorcar"),
    "n04057047": ("razor",),
    "n03690938": ("lotion",),
    "n05564590": ("hand", "manus", "mitt", "paw"),
    "n03354903": ("flag",),
    "n03206908": ("dish",),
    "n04154565": ("screwdriver",),
    "n03405725": ("furniture", "piece of furniture", "article of furniture"),
    "n03931044": ("picture", "image", "icon", "ikon"),
    "n04546855": ("wall",),
}
"""WordNet ids of imSitu that the tree uses, with their words."""


@dataclass(frozen=True)
class Verb:
    """A verb of the synthetic tree.

    Attributes:
        roles: in the publisher's order.
        abstract: the sentence that annotators were shown.
        definition: in a few words.
        framenet: its frame.
        lean: 1 to men, -1 to women, 0 to neither.
        nouns: what stands in a role where it is not empty.
    """

    roles: tuple[str, ...]
    abstract: str
    definition: str
    framenet: str
    lean: int
    nouns: dict[str, str] = field(default_factory=dict)

    @property
    def has_agent(self) -> bool:
        """Whether the verb has an agent, and so may have a gender."""
        return "agent" in self.roles


def _verb(roles: str, abstract: str, definition: str, framenet: str, lean: int, **nouns: str) -> Verb:
    return Verb(tuple(roles.split()), abstract, definition, framenet, lean, nouns)


VERBS: dict[str, Verb] = {
    "cooking": _verb(
        "agent food container heatsource tool place",
        "AGENT cooks FOOD in CONTAINER over HEATSOURCE using TOOL at PLACE",
        "prepare food by heating",
        "Cooking_creation",
        -1,
        food="n07707451",
        container="n03400231",
    ),
    "driving": _verb(
        "agent item place", "AGENT driving ITEM at PLACE", "operate a vehicle", "Operate_vehicle", 1, item="n02958343"
    ),
    "shaving": _verb(
        "agent coagent bodypart tool substance place",
        "AGENT shaves COAGENT BODYPART using TOOL with SUBSTANCE at PLACE",
        "cut hair off close to the skin",
        "Grooming",
        1,
        tool="n04057047",
    ),
    "moisturizing": _verb(
        "agent moisturized tool place",
        "AGENT moisturizes MOISTURIZED with TOOL at PLACE",
        "make moist",
        "Grooming",
        -1,
        tool="n03690938",
    ),
    "washing": _verb(
        "agent item dirt tool place",
        "AGENT washes ITEM of DIRT using TOOL at PLACE",
        "clean with water",
        "Removing",
        -1,
        item="n03206908",
    ),
    "saluting": _verb(
        "agent target place", "AGENT saluting TARGET at PLACE", "greet with a gesture", "Gesture", 1, target="n03354903"
    ),
    "assembling": _verb(
        "agent goalitem component tool place",
        "AGENT assembles GOALITEM with COMPONENT using TOOL at PLACE",
        "put together",
        "Building",
        1,
        goalitem="n03405725",
        tool="n04154565",
    ),
    "hanging": _verb(
        "agent item scaffold place",
        "AGENT hangs ITEM from SCAFFOLD at PLACE",
        "fasten from above",
        "Placing",
        -1,
        item="n03931044",
        scaffold="n04546855",
    ),
    "teaching": _verb(
        "teacher student place",
        "TEACHER teaches STUDENT at PLACE",
        "instruct",
        "Education_teaching",
        0,
        teacher="n10787470",
        student="n10129825",
    ),
    "raining": _verb("place", "rains at PLACE", "rain falls", "Precipitation", 0, place="n08613733"),
}
"""The eight verbs of the paper's table 1, and two without an agent."""

_DARK, _STEEL = (40, 40, 45), (150, 155, 165)


def draw_scene(verb: str, people: Sequence[str], rng: Generator, *, is_visible: bool = True) -> Image.Image:
    """One picture of 256 x 256.

    Args:
        verb: a key of `VERBS`; its tool is in the first person's hand.
        people: a WordNet noun each; women and girls have long hair and a dress.
        rng: draws everything else: colours, places, clutter, noise.
        is_visible: whether the tool is there.
    """
    low, high = np.sort(rng.integers(60, 215, (2, 3)), axis=0)
    ramp = np.linspace(low, high, SIZE)[:, None, :]
    image = Image.fromarray(np.broadcast_to(ramp, (SIZE, SIZE, 3)).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 8))):
        x, y, wide, tall = (int(value) for value in rng.integers((-20, -20, 10, 10), (250, 250, 70, 70)))
        shape = draw.rectangle if rng.random() < 0.5 else draw.ellipse
        shape((x, y, x + wide, y + tall), fill=_colour(rng))
    hand = (int(rng.integers(40, 216)), int(rng.integers(60, 200)))
    for number, noun in enumerate(people or ["n00007846"] * (verb == "teaching")):
        middle = int(rng.integers(95, 160)) + 70 * number
        hand = _draw_person(draw, noun, middle, rng)
    if is_visible and verb in _TOOLS:
        tool = Image.new("RGBA", (64, 64))
        _TOOLS[verb](ImageDraw.Draw(tool))
        side = int(rng.integers(56, 84))
        tool = tool.rotate(float(rng.uniform(-35, 35)), Image.Resampling.BILINEAR).resize((side, side))
        jitter = rng.integers(-10, 11, 2)
        place = (hand[0] - side // 2 + int(jitter[0]), hand[1] - side // 2 + int(jitter[1]))
        image.paste(tool, place, tool)
    if verb == "raining":
        for _ in range(60):
            x, y = (int(value) for value in rng.integers(0, SIZE, 2))
            draw.line((x, y, x - 4, y + 14), fill=(200, 215, 235), width=2)
    noisy = np.asarray(image, np.float32) * rng.uniform(0.8, 1.15) + rng.normal(0, 12, (SIZE, SIZE, 1)).astype(
        np.float32
    )
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def _colour(rng: Generator) -> Colour:
    red, green, blue = (int(value) for value in rng.integers(20, 240, 3))
    return red, green, blue


def _draw_person(draw: ImageDraw.ImageDraw, noun: str, middle: int, rng: Generator) -> tuple[int, int]:
    """Draw one person and return where the right hand is."""
    is_female = noun in FEMALE_NOUNS if noun != "n00007846" else bool(rng.random() < 0.5)
    scale = 0.75 if noun in ("n10129825", "n10285313") else 1.0
    scale *= float(rng.uniform(0.85, 1.1))
    skin = tuple(int(part) for part in np.array([235, 195, 165]) * rng.uniform(0.4, 1.0))
    hair, clothes = tuple(int(part) for part in rng.integers(10, 110, 3)), _colour(rng)
    foot, radius = 248, int(20 * scale)
    top = foot - int(190 * scale)
    neck = top + 2 * radius
    waist = neck + int(65 * scale)
    half = int(24 * scale)
    if is_female:
        draw.rectangle((middle - radius - 6, top + radius - 8, middle + radius + 6, neck + int(24 * scale)), fill=hair)
        draw.ellipse((middle - radius - 6, top - 8, middle + radius + 6, neck), fill=hair)
        draw.rectangle((middle - 12, waist, middle - 4, foot), fill=skin)
        draw.rectangle((middle + 4, waist, middle + 12, foot), fill=skin)
        hem = waist + int(50 * scale)
        draw.polygon(
            [
                (middle - half + 6, neck),
                (middle + half - 6, neck),
                (middle + half + 20, hem),
                (middle - half - 20, hem),
            ],
            fill=clothes,
        )
    else:
        draw.pieslice((middle - radius - 2, top - 4, middle + radius + 2, neck), 180, 360, fill=hair)
        trousers = _colour(rng)
        draw.rectangle((middle - half, waist, middle - 4, foot), fill=trousers)
        draw.rectangle((middle + 4, waist, middle + half, foot), fill=trousers)
        draw.rectangle((middle - half, neck, middle + half, waist + 6), fill=clothes)
    draw.ellipse((middle - radius, top + 2, middle + radius, neck), fill=skin)
    if not is_female:
        draw.pieslice((middle - radius - 2, top - 2, middle + radius + 2, neck), 195, 345, fill=hair)
    shoulder = neck + int(12 * scale)
    reach = (int(rng.integers(34, 62)), int(rng.integers(-36, 52)))
    side = 1 if rng.random() < 0.5 else -1
    hand = (middle + side * (half + reach[0]), shoulder + reach[1])
    draw.line((middle + side * (half - 6), shoulder, *hand), fill=skin, width=int(11 * scale))
    draw.line(
        (middle - side * (half - 6), shoulder, middle - side * (half + 14), waist + 8), fill=skin, width=int(11 * scale)
    )
    return hand


def _pan(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(14, 62), (22, 44), (30, 62), (38, 44), (46, 62)], fill=(250, 140, 30))
    draw.ellipse((6, 22, 50, 46), fill=_DARK)
    draw.line((46, 32, 63, 26), fill=_DARK, width=7)


def _wheel(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((4, 4, 60, 60), outline=_DARK, width=8)
    draw.line((8, 32, 56, 32), fill=_DARK, width=6)
    draw.line((32, 32, 32, 58), fill=_DARK, width=6)


def _razor(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((8, 8, 56, 22), fill=(40, 110, 230))
    draw.rectangle((28, 20, 36, 62), fill=_STEEL)


def _bottle(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((18, 20, 46, 62), fill=(250, 170, 200))
    draw.rectangle((26, 4, 38, 20), fill=(255, 255, 255))


def _bubbles(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((12, 34, 54, 58), fill=(240, 215, 60))
    for x, y, radius in ((16, 20, 12), (38, 16, 14), (52, 30, 9)):
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), fill=(215, 240, 255), outline=(120, 190, 240), width=2
        )


def _flag(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((8, 2, 14, 63), fill=_STEEL)
    draw.polygon([(14, 4), (60, 18), (14, 34)], fill=(220, 30, 40))


def _screwdriver(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((22, 2, 42, 28), fill=(245, 200, 20))
    draw.rectangle((29, 28, 35, 62), fill=_STEEL)


def _hanger(draw: ImageDraw.ImageDraw) -> None:
    draw.polygon([(4, 54), (32, 26), (60, 54)], outline=(120, 70, 30), width=6)
    draw.arc((24, 6, 40, 26), 180, 90, fill=(120, 70, 30), width=5)


_TOOLS: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {
    "cooking": _pan,
    "driving": _wheel,
    "shaving": _razor,
    "moisturizing": _bottle,
    "washing": _bubbles,
    "saluting": _flag,
    "assembling": _screwdriver,
    "hanging": _hanger,
}
