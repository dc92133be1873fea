"""Which verbs of imSitu are annotated with one gender more often than with the other."""

import numpy as np
import pandas as pd

from fairpool.data.imsitu import GENDERS
from fairpool.metrics.intervals import rate_intervals
from fairpool.metrics.patients import RATES, patient_counts

__all__ = ["biased_verbs", "propose_pairs"]


def biased_verbs(
    records: pd.DataFrame, *, min_images: int = 50, section: str | None = "training", confidence: float = 0.95
) -> pd.DataFrame:
    """Share of men among each verb's images with one gender, and whether it differs from one half.

    Zhao et al. take the verbs with more than 50 such images in training and call those above one half biased to men.
    Their count takes an image with both genders once for each; here it is in neither, but counted.

    Args:
        records: of `fairpool.data.imsitu.read_imsitu`.
        min_images: verbs with fewer images of one gender are left out.
        section: whose images count; None is all. By default those of training, so that nothing is learnt of the test.
        confidence: of each verb's interval (Wilson's), on its own: of 200 verbs without any bias some ten would lean.
    Returns:
        a row for each verb, the largest share of men first: columns ``verb``, ``male``, ``female``, ``mixed``, ``none``
        (images), ``ratio`` = male / (male + female), ``low``, ``high`` (its interval), ``leans`` ("male" if that lies
        above one half, "female" if below, else "").
    Raises:
        ValueError: a number makes no sense, or no verb has enough images.
    Source: Zhao et al. 2017, EMNLP, arXiv:1707.09457, section 5.

    >>> genders = ["female"] * 60 + ["male"] * 20
    >>> records = pd.DataFrame({"verb": "cooking", "gender": genders, "section": "training"})
    >>> biased_verbs(records)[["verb", "male", "female", "ratio", "leans"]].values.tolist()
    [['cooking', 20, 60, 0.25, 'female']]
    """
    if min_images < 1:
        raise ValueError(f"min_images must be at least 1, got {min_images}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}.")
    chosen = records if section is None else records[records["section"] == section]
    words = [*reversed(GENDERS), "mixed", "none"]
    table = chosen.groupby(["verb", "gender"]).size().unstack(fill_value=0).reindex(columns=words, fill_value=0)
    table = table[table["male"] + table["female"] >= min_images]
    if table.empty:
        raise ValueError(f"no verb has {min_images} images whose agents have one gender: give a smaller min_images.")
    kept = chosen[chosen["gender"].isin(GENDERS) & chosen["verb"].isin(table.index)]
    place = pd.Index(table.index).get_indexer(kept["verb"])
    is_male = (kept["gender"] == "male").to_numpy().astype(int)
    # Each image is a patient of its own, and a positive decision a man: the selection rate is the share of men.
    counts = patient_counts(np.arange(len(kept)), place, np.zeros(len(kept), int), is_male, len(table))
    found = rate_intervals(counts, confidence=confidence)
    share = RATES.index("selection_rate")
    table = table.assign(ratio=found.estimate[share], low=found.low[share], high=found.high[share])
    leans = np.select([table["low"] > 0.5, table["high"] < 0.5], ["male", "female"], "")
    table = table.assign(leans=leans).reset_index().rename_axis(columns=None)
    return table.sort_values(["ratio", "verb"], ascending=[False, True], ignore_index=True)


def propose_pairs(table: pd.DataFrame, *, most: int = 10, min_rare: int = 10) -> pd.DataFrame:
    """Pairs of a verb that leans to men and one that leans to women, the strongest leaning first.

    A verb enters if its rarer gender has enough images to learn from: with none, gender could not be told from verb.

    Args:
        table: of `biased_verbs`.
        most: number of pairs.
        min_rare: images of the rarer gender that a verb needs.
    Returns:
        columns ``male_verb``, ``female_verb``, ``male_ratio``, ``female_ratio`` (shares of men), ``rare`` (images of
        the rarer gender of the one verb and the other, the smaller number); empty where there is no pair.

    >>> table = pd.DataFrame({"verb": ["a", "b"], "male": [90, 20], "female": [30, 60], "ratio": [0.75, 0.25],
    ...                       "leans": ["male", "female"]})
    >>> propose_pairs(table)[["male_verb", "female_verb", "rare"]].values.tolist()
    [['a', 'b', 20]]
    """
    table = table.assign(rare=table[["male", "female"]].min(axis=1))
    table = table[table["rare"] >= min_rare]
    sides = []
    for gender, is_rising in (("male", False), ("female", True)):
        side = table[table["leans"] == gender].sort_values(["ratio", "verb"], ascending=[is_rising, True])
        side = side[["verb", "ratio", "rare"]].reset_index(drop=True)
        sides.append(
            side.rename(columns={"verb": f"{gender}_verb", "ratio": f"{gender}_ratio", "rare": f"{gender}_rare"})
        )
    pairs = pd.concat(sides, axis=1, join="inner").head(most)
    pairs = pairs.assign(rare=pairs[["male_rare", "female_rare"]].min(axis=1))
    return pairs[["male_verb", "female_verb", "male_ratio", "female_ratio", "rare"]]
