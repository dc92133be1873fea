"""Two verbs of imSitu as a pool: which of them a photograph shows, with equal errors for women and men."""

import os
from collections.abc import Sequence

import pandas as pd

from fairpool.data.excluded_rows import check_excluded_rows
from fairpool.data.imsitu import GENDERS, locate_images, read_imsitu
from fairpool.data.pool import Pool
from fairpool.data.splits import SECTIONS
from fairpool.errors import DataError

__all__ = ["TABLE_1_PAIRS", "pool_imsitu"]

TABLE_1_PAIRS = (
    ("cooking", "driving"),
    ("shaving", "moisturizing"),
    ("washing", "saluting"),
    ("assembling", "hanging"),
)
"""(positive, negative) verbs of the paper's table 1; the first is its target class, marked +."""


def pool_imsitu(
    root_dir: str | os.PathLike[str],
    positive_verb: str = "cooking",
    negative_verb: str = "driving",
    *,
    gender_rule: str = "nouns",
    exclude_rows: Sequence[int] = (),
) -> Pool:
    """Images of two verbs whose agents have one gender, in the published split.

    The protected attribute travels as ``site``: "female" or "male". Every image is a patient of its own, for imSitu
    does not say who is in it. Images of mixed or no gender are left out and counted in the notes, and so is how few
    images test each rate.

    Args:
        root_dir: folder of the annotations and images, see `read_imsitu` and `locate_images`.
        positive_verb: label 1.
        negative_verb: label 0.
        gender_rule: see `read_imsitu`.
        exclude_rows: rows of `read_imsitu` to leave out, such as copies that are in two sections.
    Raises:
        DataError: the annotations or images cannot be used, or a section or a gender has no image of a verb.
        ValueError: a verb is unknown, or both are the same; or ``exclude_rows`` is no list of rows.
    """
    from fairpool.bundle import did_you_mean

    records = read_imsitu(root_dir, gender_rule=gender_rule)
    known = sorted(records["verb"].unique())
    for verb in (positive_verb, negative_verb):
        if verb not in known:
            raise ValueError(
                f'imSitu has no verb "{verb}"{did_you_mean(verb, known)}: {len(known)} verbs are annotated.'
            )
    if positive_verb == negative_verb:
        raise ValueError(f'positive_verb and negative_verb are both "{positive_verb}": name two verbs.')
    excluded = check_excluded_rows(exclude_rows, len(records))
    of_verbs = records[records["verb"].isin([positive_verb, negative_verb])]
    chosen = of_verbs.drop(index=excluded, errors="ignore")
    kept = chosen[chosen["gender"].isin(GENDERS)]
    for verb in (positive_verb, negative_verb):
        if not (kept["verb"] == verb).any():
            raise DataError(
                f'none of the {int((chosen["verb"] == verb).sum())} images of "{verb}" has an agent of one gender: '
                "choose another verb (`fairpool verbs` lists them)."
            )
        for section in SECTIONS:
            if not ((kept["verb"] == verb) & (kept["section"] == section)).any():
                number = int(((of_verbs["verb"] == verb) & (of_verbs["section"] == section)).sum())
                raise DataError(
                    f'the {section} section has no image of "{verb}" with agents of one gender (0 of {number}): choose '
                    "another verb (`fairpool verbs` lists them), or exclude fewer rows."
                )
    table = pd.DataFrame(
        {
            "image": locate_images(root_dir, kept),
            "label": (kept["verb"] == positive_verb).astype(int),
            "site": kept["gender"],
            "patient": kept["name"],
            "row": kept["row"],
            "section": kept["section"],
        }
    )
    table.attrs["notes"] = _notes(chosen, kept, positive_verb, negative_verb, len(of_verbs) - len(chosen))
    pool = Pool(table)
    pool.label_names = (negative_verb, positive_verb)
    return pool


def _notes(chosen: pd.DataFrame, kept: pd.DataFrame, positive: str, negative: str, num_excluded: int) -> list[str]:
    notes = []
    left_out = chosen["gender"].value_counts()
    counts = [f"{left_out.get(word, 0)} with {meaning}" for word, meaning in _LEFT_OUT.items() if left_out.get(word, 0)]
    if counts:
        notes.append(f"{len(chosen) - len(kept)} of {len(chosen)} images are left out: {', '.join(counts)}")
    if num_excluded:
        notes.append(f"exclude_rows leaves out {num_excluded} rows")
    for section in SECTIONS:
        rows = kept[kept["section"] == section]
        cells = rows.groupby(["verb", "gender"]).size()
        parts = [
            f"{verb} {', '.join(f'{gender} {cells.get((verb, gender), 0)}' for gender in GENDERS)}"
            for verb in (positive, negative)
        ]
        notes.append(f"{section}: {len(rows)} images ({'; '.join(parts)})")
    test = kept[(kept["section"] == "test") & (kept["verb"] == positive)]["gender"].value_counts()
    if len(test) == len(GENDERS):
        fewest = str(test.idxmin())
        notes.append(
            f'one image of "{positive}" more or less wrong moves the false negative rate of {fewest} by '
            f"{100 / int(test.min()):.1f} points on this test set"
        )
    return notes


_LEFT_OUT = {"mixed": "agents of both genders", "none": "no agent whose gender is told"}
