"""A synthetic stand-in for imSitu in its publisher's formats: drawn people at work, with their annotations.

    ROOT/synthetic.json                          what made the tree
    ROOT/{train,dev,test}.json, imsitu_space.json
    ROOT/of500_images_resized/cooking_12.jpg     256 x 256 JPEG

What a person does can be told in two ways: by a small tool, now and then hidden, and by the person's gender, with which
the verb is confounded as stated. So gender is a shortcut: in the pictures it is long hair and a dress against
short hair and trousers, large and never hidden. None of it is about real people.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairpool.data.imsitu import GENDERS, SECTION_FILES
from fairpool.data.synthetic_imsitu_scenes import NOUNS, VERBS, draw_scene
from fairpool.data.synthetic_tree import claim_tree, finish_tree, save_image
from fairpool.whole_file import write_json

__all__ = ["IMAGES_PER_VERB", "synthesize_imsitu"]

IMAGES_PER_VERB = {"training": 480, "validation": 120, "test": 240}

_FORMAT = 1  # raise it when the same settings begin to make other bytes
_FOLDER = "of500_images_resized"
_MIXED, _NEITHER = 0.04, 0.06  # shares of images with agents of both genders, and of neither
_ADULT = 0.8
_PERSON = "n00007846"
_PLACES = ("n08588294", "n04105893", "n08613733", "")


def synthesize_imsitu(
    root: Path,
    *,
    images_per_verb: Mapping[str, int] | int | None = None,
    confounding: float = 0.8,
    test_confounding: float = 0.0,
    visible: float = 0.85,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a synthetic tree; a tree of the same settings is left as it is, one that was interrupted is finished.

    Args:
        root: folder of the tree; new, empty, or of an earlier call with the same settings.
        images_per_verb: images of each verb by section; one number is for training, a quarter of it validates and a
            third tests; default `IMAGES_PER_VERB`.
        confounding: c in [-1, 1]: of a verb that leans to men, (1 + c) / 2 of the images with one gender show a man, of
            one that leans to women (1 - c) / 2; in training and validation.
        test_confounding: the same of the test section; 0 is half of each.
        visible: share of images in which the tool can be seen; in the others only the gender is left to guess from.
        seed: of everything drawn.
        progress: called with (images drawn, images in all).
    Returns:
        the folder.
    Raises:
        ValueError: a number makes no sense.
        DataError: the folder holds something else.
    """
    counts = _counts(images_per_verb)
    for name, value in (("confounding", confounding), ("test_confounding", test_confounding)):
        if not -1 <= value <= 1:
            raise ValueError(f"{name} must lie in [-1, 1], got {value}.")
    if not 0 <= visible <= 1:
        raise ValueError(f"visible is a share of the images, in [0, 1]; got {visible}.")
    settings = {
        "images_per_verb": counts,
        "confounding": float(confounding),
        "test_confounding": float(test_confounding),
        "visible": float(visible),
        "seed": int(seed),
    }
    root = Path(root)
    if claim_tree(root, "fairpool.data.synthesize_imsitu", settings, version=_FORMAT):
        return root
    images = root / _FOLDER
    images.mkdir(exist_ok=True)
    total, done = len(VERBS) * sum(counts.values()), 0
    for part, section in enumerate(SECTION_FILES):
        strength = test_confounding if section == "test" else confounding
        entries: dict[str, Any] = {}
        first = 1 + sum(list(counts.values())[:part])
        for place, verb in enumerate(VERBS):
            genders = _genders(verb, counts[section], strength, np.random.default_rng([seed, part, place]))
            for number, gender in enumerate(genders, start=first):
                rng = np.random.default_rng([seed, part, place, number])
                name = f"{verb}_{number}.jpg"
                people, entries[name] = _annotate(verb, gender, rng)
                is_visible = bool(rng.random() < visible)
                if not (images / name).is_file():  # of an interrupted call
                    picture = draw_scene(verb, people, rng, is_visible=is_visible)
                    save_image(picture, images / name, format="JPEG", quality=88)
                done += 1
                if progress is not None:
                    progress(done, total)
        # The publisher's files are in no order of verbs.
        order = np.random.default_rng([seed, part]).permutation(len(entries))
        names = list(entries)
        write_json(root / SECTION_FILES[section], {names[index]: entries[names[index]] for index in order})
    write_json(root / "imsitu_space.json", _space())
    finish_tree(root)
    return root


def _counts(images_per_verb: Mapping[str, int] | int | None) -> dict[str, int]:
    if isinstance(images_per_verb, int) and not isinstance(images_per_verb, bool):
        third = max(1, images_per_verb // 3)
        images_per_verb = {"training": images_per_verb, "validation": max(1, images_per_verb // 4), "test": third}
    found: dict[str, Any] = {}
    if images_per_verb is None or isinstance(images_per_verb, Mapping):
        found = dict(IMAGES_PER_VERB if images_per_verb is None else images_per_verb)
    if set(found) != set(SECTION_FILES) or any(
        isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in found.values()
    ):
        raise ValueError(
            f"images_per_verb must be a whole number of at least 1, one in all or one for each of "
            f"{', '.join(SECTION_FILES)}; got {images_per_verb!r}."
        )
    return {section: int(found[section]) for section in SECTION_FILES}


def _genders(verb: str, count: int, strength: float, rng: np.random.Generator) -> list[str]:
    """Genders of a verb's images: the confounding is met to within one image, not only in the mean."""
    if not VERBS[verb].has_agent:
        return ["none"] * count
    mixed, neither = round(_MIXED * count), round(_NEITHER * count)
    single = count - mixed - neither
    male = round(single * (1 + VERBS[verb].lean * strength) / 2)
    genders = ["male"] * male + ["female"] * (single - male) + ["mixed"] * mixed + ["none"] * neither
    return [genders[index] for index in rng.permutation(count)]


def _annotate(verb: str, gender: str, rng: np.random.Generator) -> tuple[list[str], dict[str, Any]]:
    """Who is drawn, and the image's entry: three annotators, who do not always agree."""
    male = "n10287213" if rng.random() < _ADULT else "n10285313"
    female = "n10787470" if rng.random() < _ADULT else "n10129825"
    about = VERBS[verb]
    people = {"male": [male], "female": [female], "mixed": [male, female], "none": [_PERSON]}[gender]
    agents = [people[0], people[-1], people[0]] if gender != "none" else [_PERSON, "", ""]
    if gender in GENDERS and rng.random() < 0.15:
        agents[int(rng.integers(3))] = _PERSON  # one annotator did not say
    frames = []
    for agent in agents:
        frame = {}
        for role in about.roles:
            if role == "agent":
                frame[role] = agent
            elif role == "place":
                frame[role] = str(rng.choice(_PLACES))
            else:
                frame[role] = about.nouns.get(role, "") if rng.random() < 0.9 else ""
        frames.append(frame)
    return people if about.has_agent else [], {"frames": frames, "verb": verb}


def _space() -> dict[str, Any]:
    nouns = {noun: {"def": gloss[0], "gloss": list(gloss)} for noun, gloss in NOUNS.items()}
    verbs = {
        verb: {
            "framenet": about.framenet,
            "abstract": about.abstract,
            "def": about.definition,
            "order": list(about.roles),
            "roles": {role: {"def": f"The {role} of {verb}", "framenet": role} for role in about.roles},
        }
        for verb, about in VERBS.items()
    }
    return {"nouns": nouns, "verbs": verbs}
