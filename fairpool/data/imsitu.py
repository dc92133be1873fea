"""The annotations of imSitu as its publisher ships them: who does what in 126,102 photographs, and their gender.

    ROOT/train.json, dev.json, test.json    {"cooking_12.jpg": {"verb": "cooking", "frames": [{"agent": "n10787470",
                                            "food": "n07707451", "place": ""}, ...two more]}, ...}
    ROOT/imsitu_space.json                  {"nouns": {id: {"gloss": [...], "def"}}, "verbs": {verb: {"roles"...}}}
    ROOT/of500_images_resized/cooking_12.jpg

Yatskar et al. 2016, CVPR, doi:10.1109/CVPR.2016.597; the gender of an image follows Zhao et al. 2017, EMNLP,
arXiv:1707.09457.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from fairpool.data.excluded_rows import as_setting
from fairpool.data.image_folder import is_inside, list_folder, name_faults
from fairpool.errors import DataError

__all__ = ["FEMALE_NOUNS", "GENDERS", "GENDER_RULES", "MALE_NOUNS", "SECTION_FILES", "locate_images", "read_imsitu"]

SECTION_FILES = {"training": "train.json", "validation": "dev.json", "test": "test.json"}
"""The published split."""

MALE_NOUNS = {"n10287213": "man", "n10285313": "boy"}
FEMALE_NOUNS = {"n10787470": "woman", "n10129825": "girl"}
"""WordNet nouns of an agent that tell a gender, and what they mean."""

GENDERS = ("female", "male")
GENDER_RULES = ("nouns", "gloss_words")

_IMAGE_FOLDERS = ("of500_images_resized", "resized_256", "of500_images", "")
_SPACE = "imsitu_space.json"
_AGENT = "agent"


def read_imsitu(root_dir: str | os.PathLike[str], *, gender_rule: str = "nouns") -> pd.DataFrame:
    """Every annotated image of the three sections, with its gender.

    An image is "male" if the agent of any of its frames is male and that of none is female, "female" the other way
    round, "mixed" if frames name both, else "none": no agent, an agent of neither, or a verb without that role.

    Args:
        root_dir: folder of the three annotation files; ``imsitu_space.json`` is read if the rule needs it.
        gender_rule: "nouns" takes `MALE_NOUNS` and `FEMALE_NOUNS`. "gloss_words" is the published code of Zhao
            et al.: a noun is male if the word "man" stands in its gloss, female if "woman" does. So girl ("young
            woman") is female, but boy ("male child") is neither.
    Returns:
        columns ``name`` (file name), ``verb``, ``gender`` ("female", "male", "mixed", "none"), ``section``, ``row``; it
        counts the entries of train.json, then dev.json, then test.json, from 1.
    Raises:
        DataError: a file is missing, is no JSON, or has an entry of another form, named by file and entry; or an image
            occurs twice.
        ValueError: the rule is another word.
    """
    if gender_rule not in GENDER_RULES:
        raise ValueError(f"gender_rule must be one of {', '.join(GENDER_RULES)}; got {gender_rule!r}.")
    root = Path(root_dir)
    absent = [file for file in SECTION_FILES.values() if not (root / file).is_file()]
    if absent:
        raise DataError(
            f'"{root.name}" has no {", ".join(absent)}: expected train.json, dev.json and test.json of imSitu. '
            "Give another folder, or run `fairpool synthesize imsitu`."
        )
    male, female = set(MALE_NOUNS), set(FEMALE_NOUNS)
    if gender_rule == "gloss_words":
        male, female = _gendered_glosses(root)
    rows: list[tuple[str, str, str, str]] = []
    for section, file in SECTION_FILES.items():
        for number, (name, entry) in enumerate(_read_json(root / file).items(), start=1):
            verb, agents = _check_entry(name, entry, f"{file}, entry {number}")
            rows.append((name, verb, _gender(agents, male, female), section))
    records = pd.DataFrame(rows, columns=["name", "verb", "gender", "section"])
    records.index = pd.RangeIndex(1, len(records) + 1)
    twice = records[records["name"].duplicated(keep=False)]
    if len(twice):
        places = ", ".join(f"{number}" for number in twice.index[:10])
        raise DataError(
            f"{twice['name'].nunique()} images are in two of {', '.join(SECTION_FILES.values())} (entries {places}, "
            "counted through the three): drop them from one."
        )
    return records.assign(row=records.index)


def locate_images(root_dir: str | os.PathLike[str], records: pd.DataFrame) -> pd.Series:
    """The path of each image, found by listing folders, not by opening files.

    The images lie in ``of500_images_resized`` (the publisher's archive), ``resized_256`` (its install script),
    ``of500_images`` (the full sizes) or beside the annotations, all in that folder or in one folder a verb.

    Args:
        root_dir: folder of the annotation files.
        records: columns ``name``, ``verb``, ``row``, ``section``.
    Returns:
        paths as text, by the index of ``records``.
    Raises:
        DataError: images are missing, or leave ``root_dir`` through a link; they are named by section and row.
    """
    root, top = Path(root_dir), os.path.realpath(root_dir)
    best, most = None, -1
    for folder in (root / name for name in _IMAGE_FOLDERS):
        if not folder.is_dir():
            continue
        flat = list_folder(folder)
        by_verb = {verb: list_folder(folder / verb) for verb in records["verb"].unique() if verb in flat}
        found = [
            str(folder / name) if name in flat else str(folder / verb / name) if name in by_verb.get(verb, ()) else None
            for name, verb in zip(records["name"], records["verb"], strict=True)
        ]
        number = len(found) - found.count(None)
        if number > most:
            best, most = pd.Series(found, index=records.index, dtype=object), number
    assert best is not None  # the last candidate is the root itself
    missing = records[best.isna()]
    if len(missing):
        named = [f"{row} ({section})" for row, section in zip(missing["row"], missing["section"], strict=True)]
        rows = ", ".join(named[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise DataError(
            f"{len(missing)} of {len(records)} images are not in {' or '.join(_IMAGE_FOLDERS[:3])}, nor beside the "
            f"annotations: rows {rows}{more}. Unpack the publisher's archive of images there, or leave them out: "
            f"{as_setting(missing['row'].tolist())}."
        )
    # Of a folder that is no link only the files that are links have to be resolved.
    inside = {folder: is_inside(folder, top) for folder in set(map(os.path.dirname, best))}
    outside = [
        row
        for row, path in zip(records["row"], best, strict=True)
        if not inside[os.path.dirname(path)] or (os.path.islink(path) and not is_inside(path, top))
    ]
    if outside:
        faults = dict.fromkeys(outside, "path leaves the data folder through a link")
        remedy = f"Put the images themselves there, or leave them out: {as_setting(outside)}."
        raise DataError(name_faults(faults, len(records), remedy))
    return best


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=_once)
    except DataError as error:
        raise DataError(f"{file.name}: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{file.name} is no JSON (line {error.lineno}: {error.msg}). Fetch it again.") from None
    except (UnicodeDecodeError, RecursionError):
        raise DataError(f"{file.name} is no JSON of plain entries in UTF-8. Fetch it again.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        if not isinstance(content, dict) or not content:
            raise DataError(
                f"{file.name} must hold one object of entries by image name; it holds another thing, or none."
            )
        return content
    raise DataError(f"{file.name} cannot be read ({reason}).")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DataError(f"{len(pairs) - len(found)} keys occur twice in one object; keep one of each.")
    return found


def _check_entry(name: str, entry: Any, place: str) -> tuple[str, list[str]]:
    """The verb and the agents of its frames."""
    if not name or name in (".", "..") or any(sign in name for sign in "/\\\0"):
        raise DataError(f"{place}: the image's name must be a plain file name without folders.")
    verb = entry.get("verb") if isinstance(entry, dict) else None
    if not isinstance(verb, str) or not verb or any(sign in verb for sign in "/\\\0.$@%"):
        raise DataError(f'{place}: "verb" must be a word, such as "cooking".')
    frames = entry.get("frames")
    if not isinstance(frames, list) or not frames:
        raise DataError(f'{place} has no frames: "frames" must be a list of annotations (imSitu has three an image).')
    for number, frame in enumerate(frames, start=1):
        if not isinstance(frame, dict) or not all(isinstance(noun, str) for noun in frame.values()):
            raise DataError(f"{place}, frame {number}: a frame gives a noun id, or empty text, for each role.")
    return verb, [frame[_AGENT] for frame in frames if frame.get(_AGENT)]


def _gender(agents: list[str], male: set[str], female: set[str]) -> str:
    is_male, is_female = not male.isdisjoint(agents), not female.isdisjoint(agents)
    return "mixed" if is_male and is_female else "male" if is_male else "female" if is_female else "none"


def _gendered_glosses(root: Path) -> tuple[set[str], set[str]]:
    """Noun ids whose gloss has the word man, and woman."""
    file = root / _SPACE
    if not file.is_file():
        raise DataError(
            f'"{root.name}" has no {_SPACE}, whose glosses the rule "gloss_words" needs. Fetch it, or use "nouns".'
        )
    nouns = _read_json(file).get("nouns")
    if not isinstance(nouns, Mapping):
        raise DataError(f'{_SPACE} has no "nouns" by id. Fetch it again.')
    words: dict[str, set[str]] = {}
    for number, (noun, about) in enumerate(nouns.items(), start=1):
        gloss = about.get("gloss") if isinstance(about, Mapping) else None
        if not isinstance(gloss, list) or not all(isinstance(part, str) for part in gloss):
            raise DataError(f'{_SPACE}, noun {number}: "gloss" must be a list of words.')
        words[noun] = {word for part in gloss for word in part.replace(",", " ").split()}
    male, female = ({noun for noun, own in words.items() if word in own} for word in ("man", "woman"))
    return male, female
