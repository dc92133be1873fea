"""A synthetic CelebA: drawn faces in exactly the published files, with a stated link of label and gender."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from fairpool.data.celeba import CELEBA_ATTRIBUTES
from fairpool.data.synthetic_tree import claim_tree, finish_tree, save_image
from fairpool.whole_file import write_whole

__all__ = ["plan_celeba", "synthesize_celeba"]

PUBLISHED_FRACTIONS = (0.8034, 0.0981, 0.0985)
_IMAGES_PER_PERSON = 3
_MALE, _YOUNG = 0.42, 0.75
_BLEMISHES = {True: 1.0, False: 8.0}
_CLEAR = {1: 0.85, 0: 0.15}

# Probability of each attribute in women and in men, and how much more often (log odds) in the young. Chosen to resemble
# photographs of actors, not taken from the published table; hair colours, beards and "Attractive" are drawn apart.
_FREQUENCIES = {
    "Arched_Eyebrows": (0.42, 0.06, 0.4),
    "Bags_Under_Eyes": (0.12, 0.32, -0.9),
    "Bald": (0.0, 0.05, -1.5),
    "Bangs": (0.2, 0.08, 0.4),
    "Big_Lips": (0.3, 0.15, 0.3),
    "Big_Nose": (0.12, 0.42, -0.8),
    "Blurry": (0.05, 0.05, 0.0),
    "Bushy_Eyebrows": (0.07, 0.25, 0.3),
    "Chubby": (0.02, 0.11, -1.5),
    "Double_Chin": (0.02, 0.09, -1.7),
    "Eyeglasses": (0.03, 0.12, -1.0),
    "Heavy_Makeup": (0.62, 0.01, 0.6),
    "High_Cheekbones": (0.55, 0.32, -0.1),
    "Mouth_Slightly_Open": (0.53, 0.42, 0.1),
    "Narrow_Eyes": (0.11, 0.12, 0.0),
    "Oval_Face": (0.32, 0.22, 0.4),
    "Pale_Skin": (0.06, 0.02, 0.3),
    "Pointy_Nose": (0.35, 0.18, 0.3),
    "Receding_Hairline": (0.05, 0.12, -1.4),
    "Rosy_Cheeks": (0.11, 0.01, 0.2),
    "Smiling": (0.54, 0.4, -0.1),
    "Straight_Hair": (0.2, 0.22, 0.1),
    "Wavy_Hair": (0.44, 0.14, 0.4),
    "Wearing_Earrings": (0.31, 0.02, 0.0),
    "Wearing_Hat": (0.03, 0.08, 0.3),
    "Wearing_Lipstick": (0.78, 0.02, 0.4),
    "Wearing_Necklace": (0.19, 0.02, 0.0),
    "Wearing_Necktie": (0.0, 0.17, -1.1),
}
_BEARDS = {"5_o_Clock_Shadow": 0.26, "Goatee": 0.15, "Mustache": 0.1, "Sideburns": 0.13}
_HAIR = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")


def plan_celeba(
    num_images: int,
    *,
    seed: int = 0,
    confounding: float = 0.4,
    fractions: Sequence[float] = PUBLISHED_FRACTIONS,
) -> pd.DataFrame:
    """What is in the tree: one row an image, index 1 for the first.

    Args:
        num_images: number of images, at least 30; three of each person.
        seed: a whole number from 0 on.
        confounding: c in [-1, 1]: a share 0.5 + c/2 of the women and 0.5 - c/2 of the men is "Attractive", in every
            section. 0.4 makes it 0.7 and 0.3.
        fractions: shares of persons in training, validation and test.
    Returns:
        ``name``, ``section`` (0, 1, 2), ``identity``, ``blemishes`` (spots on the skin: 1 in the mean of those with
        clear skin, 8 of the others; 85 % of the attractive and 15 % of the others have clear skin, of either gender)
        and the 40 attributes, 0 or 1.
    Raises:
        ValueError: an argument is out of its range.
    """
    if isinstance(num_images, bool) or not isinstance(num_images, int) or num_images < 30:
        raise ValueError(f"num_images must be a whole number of at least 30, got {num_images!r}.")
    if not -1 <= confounding <= 1:
        raise ValueError(f"confounding must lie in [-1, 1] (0 is balanced), got {confounding!r}.")
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
        raise ValueError(f"fractions must be three positive shares that add up to 1, got {list(fractions)}.")
    rng = np.random.default_rng(seed)
    persons = -(-num_images // _IMAGES_PER_PERSON)
    identity = np.arange(num_images) // _IMAGES_PER_PERSON
    male = (rng.random(persons) < _MALE).astype(int)[identity]
    young = (rng.random(persons) < _YOUNG).astype(int)[identity]
    plan = {"Male": male, "Young": young}
    for name, (women, men, effect) in _FREQUENCIES.items():
        share = np.where(male == 1, men, women)
        odds = np.divide(share, 1 - share) * np.exp(effect * (young - _YOUNG))
        plan[name] = (rng.random(num_images) < odds / (1 + odds)).astype(int)
    for name, frequency in _BEARDS.items():
        plan[name] = ((rng.random(num_images) < frequency) & (male == 1)).astype(int)
    plan["No_Beard"] = ((plan["Goatee"] + plan["Mustache"] + plan["5_o_Clock_Shadow"]) == 0).astype(int)
    plan |= _hair(male, young, plan["Bald"], rng)
    attractive = rng.random(num_images) < 0.5 + confounding * (0.5 - male)
    plan["Attractive"] = attractive.astype(int)
    is_clear = rng.random(num_images) < np.where(attractive, _CLEAR[1], _CLEAR[0])
    ends = np.rint(np.cumsum(fractions) * persons)
    columns = {
        "name": [f"{number:06d}.jpg" for number in range(1, num_images + 1)],
        "section": np.searchsorted(ends, identity, side="right").clip(max=2),
        "identity": identity + 1,
        "blemishes": rng.poisson(np.where(is_clear, _BLEMISHES[True], _BLEMISHES[False])),
        **{name: plan[name] for name in CELEBA_ATTRIBUTES},
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(1, num_images + 1))


def synthesize_celeba(
    root_dir: str | os.PathLike[str],
    *,
    num_images: int = 3600,
    seed: int = 0,
    confounding: float = 0.4,
    fractions: Sequence[float] = (0.6, 0.1, 0.3),
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``img_align_celeba/``, ``list_attr_celeba.txt``, ``list_eval_partition.txt`` and ``identity_CelebA.txt``.

    The same call again continues a tree that was interrupted.

    Args:
        root_dir: the folder to fill; made if it is missing.
        num_images: and the next three as in `plan_celeba`; the default fractions give a larger test section than the
            published 80, 10 and 10 %, for a small tree's test to say anything.
        seed: see ``num_images``.
        confounding: see ``num_images``.
        fractions: see ``num_images``.
        progress: called as progress(done, total) after every few images.
    Returns:
        the folder.
    Raises:
        ValueError: an argument is out of its range.
        DataError: the folder holds something else, or a tree of other settings; nothing is overwritten.
    """
    from fairpool.data.synthetic_faces import draw_face

    plan = plan_celeba(num_images, seed=seed, confounding=confounding, fractions=fractions)
    root = Path(root_dir)
    settings = {"num_images": num_images, "seed": seed, "confounding": confounding, "fractions": list(fractions)}
    if claim_tree(root, "fairpool.data.synthesize_celeba", settings):
        return root
    images = root / "img_align_celeba"
    images.mkdir(exist_ok=True)
    for done, row in enumerate(plan.to_dict("records"), start=1):
        file = images / str(row["name"])
        traits = {name: int(row[name]) for name in CELEBA_ATTRIBUTES}
        if not file.is_file():
            face = draw_face(traits, blemishes=row["blemishes"], seed=seed * 1_000_003 + done)
            save_image(face, file, format="JPEG", quality=90)
        if progress is not None and (done % 50 == 0 or done == num_images):
            progress(done, num_images)
    signs = 2 * plan[list(CELEBA_ATTRIBUTES)].to_numpy() - 1
    lines = [f"{name} {' '.join(f'{sign:2d}' for sign in row)}" for name, row in zip(plan["name"], signs, strict=True)]
    pairs = {"list_eval_partition.txt": plan["section"], "identity_CelebA.txt": plan["identity"]}
    for file_name, numbers in pairs.items():
        text = "".join(f"{name} {number}\n" for name, number in zip(plan["name"], numbers, strict=True))
        write_whole(root / file_name, text)
    # The publisher's second line ends in a space.
    header = f"{num_images}\n{' '.join(CELEBA_ATTRIBUTES)} \n"
    write_whole(root / "list_attr_celeba.txt", header + "\n".join(lines) + "\n")
    finish_tree(root)
    return root


def _hair(male: np.ndarray, young: np.ndarray, bald: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """At most one hair colour each; none where there is no hair."""
    blond = np.where(male == 1, 0.02, 0.24)
    grey = np.where(young == 1, 0.0, 0.16)
    edges = np.cumsum([np.full(len(male), 0.25), blond, np.full(len(male), 0.21), grey], axis=0)
    chosen = (rng.random(len(male)) >= edges).sum(axis=0)
    return {name: ((chosen == number) & (bald == 0)).astype(int) for number, name in enumerate(_HAIR)}
