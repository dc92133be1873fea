"""How well one thing can be told from another: cross-validated AUC of a small classifier, patients kept together."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

__all__ = ["Separability", "measure_separability", "stratified_auc"]

FOLDS = 5
FEWEST_PATIENTS = 10
"""Patients below which a class is left out: fewer than two a fold."""

_TREES = 50


@dataclass(frozen=True)
class Separability:
    """How well the classes of a target are told apart; every AUC is 0.5 by chance and 1 for certain.

    Attributes:
        target: "site" or "label".
        features: "metadata", "image statistics", "thumbnails" or "site".
        auc: mean over the folds of the mean over classes, each against the rest; None where nothing was measured.
        auc_std: standard deviation over the folds.
        auc_folds: of each fold.
        auc_within: the same among images that share the other of site and label only; None where no pair does.
        by_class: AUC of each class against the rest, mean over folds.
        left_out: classes with too few patients.
        num_images: that were used.
        note: why nothing was measured; empty otherwise.
    """

    target: str
    features: str
    auc: float | None = None
    auc_std: float | None = None
    auc_folds: tuple[float, ...] = ()
    auc_within: float | None = None
    by_class: dict[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    num_images: int = 0
    note: str = ""


def measure_separability(
    features: pd.DataFrame,
    target: Sequence[Any],
    patients: Sequence[Any],
    strata: Sequence[Any],
    *,
    names: tuple[str, str],
    kind: str,
    seed: int = 0,
) -> Separability:
    """Cross-validated AUC of a target from features, one class against the rest.

    Args:
        features: a row an image, (N, F); numbers, NaN where missing, or text, None where missing.
        target: class of each image, (N,).
        patients: of each image; all images of a patient are in one fold.
        strata: the value that pairs must share for ``auc_within``: the label where the target is the site, and so on.
        names: of the target and of the features, for the result.
        kind: "forest" for columns of different scale and sort (ExtraTrees, 50 trees), "linear" for pixels (50
            principal components, then a logistic regression), "table" for one column of text (its rates).
        seed: of folds and classifier.
    Returns:
        the figures. Five folds, stratified by class; a class with fewer than 10 patients is left out and named.
    Raises:
        ValueError: ``kind`` is another word.
    """
    if kind not in ("forest", "linear", "table"):
        raise ValueError(f'kind must be "forest", "linear" or "table", got {kind!r}.')
    classes = np.asarray(target).astype(str)
    groups = pd.factorize(np.asarray(patients))[0]
    per_class = pd.Series(groups).groupby(classes).nunique()
    left_out = tuple(sorted(per_class.index[per_class < FEWEST_PATIENTS]))
    kept = ~np.isin(classes, left_out)
    known = sorted(set(classes[kept]))
    result: dict[str, Any] = {"target": names[0], "features": names[1], "left_out": left_out}
    if len(known) < 2:
        note = f"fewer than two {'values' if names[0] == 'label' else 'sites'} have {FEWEST_PATIENTS} patients"
        return Separability(**result, note=note)
    table, classes, groups = features[kept].reset_index(drop=True), classes[kept], groups[kept]
    stratum = np.asarray(strata).astype(str)[kept]
    usable = [name for name in table if table[name].nunique(dropna=False) > 1]
    if not usable:
        return Separability(**result, note="every image has the same features")
    scores, fold = _out_of_fold(_with_words(table[usable]), classes, groups, known, kind, seed)
    wanted = known if len(known) > 2 else known[1:]  # of two classes, the AUC of one is that of the other
    by_fold = np.full((FOLDS, len(wanted)), np.nan)
    for number in range(FOLDS):
        tested = fold == number
        for place, name in enumerate(wanted):
            by_fold[number, place] = stratified_auc(scores[tested, known.index(name)], classes[tested] == name, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class or a fold without a pair: NaN, and left out below
        means, mean_class = np.nanmean(by_fold, axis=1), np.nanmean(by_fold, axis=0)
    means = means[np.isfinite(means)]
    if not len(means):
        return Separability(**result, note="no fold holds two of the classes")
    shared = [f"{number} {value}" for number, value in zip(fold, stratum, strict=True)]
    within = [stratified_auc(scores[:, known.index(name)], classes == name, shared) for name in wanted]
    return Separability(
        **result,
        auc=float(means.mean()),
        auc_std=float(means.std(ddof=1)) if len(means) > 1 else None,
        auc_folds=tuple(float(value) for value in means),
        auc_within=float(np.nanmean(within)) if np.isfinite(within).any() else None,
        by_class={name: float(value) for name, value in zip(wanted, mean_class, strict=True) if np.isfinite(value)},
        num_images=len(table),
    )


def stratified_auc(scores: NDArray[Any], is_positive: NDArray[Any], strata: Sequence[Any] | None) -> float:
    """Share of pairs of a positive and a negative of one stratum that the score puts in order, ties counting half.

    Args:
        scores: (N,).
        is_positive: boolean, (N,).
        strata: (N,); None: all are one stratum, and this is the area under the ROC curve.
    Returns:
        NaN where no stratum holds a pair.

    >>> stratified_auc(np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True]), None)
    0.75
    """
    codes = np.zeros(len(scores), np.int64) if strata is None else pd.factorize(np.asarray(strata))[0]
    positive = np.asarray(is_positive, bool)
    levels, level = np.unique(scores, return_inverse=True)
    keys, key = np.unique(codes * len(levels) + level.reshape(-1), return_inverse=True)
    hits, tied = np.bincount(key, positive, len(keys)), np.bincount(key, minlength=len(keys))
    misses, stratum = tied - hits, keys // len(levels)
    # Keys go up with the stratum, then with the score: misses of the stratum below each key.
    below = np.cumsum(misses) - misses
    below -= below[np.searchsorted(stratum, stratum)]
    pairs = float((np.bincount(stratum, hits) * np.bincount(stratum, misses)).sum()) if len(keys) else 0.0
    return float((hits * (below + misses / 2)).sum()) / pairs if pairs else float("nan")


def _out_of_fold(
    table: pd.DataFrame,
    classes: NDArray[Any],
    groups: NDArray[Any],
    known: Sequence[str],
    kind: str,
    seed: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each image's probabilities from a classifier that saw other patients, (N, classes), and its fold."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    scores, fold = np.zeros((len(table), len(known))), np.zeros(len(table), np.int64)
    codes = np.searchsorted(np.asarray(known), classes)
    # With one image a patient both give such folds, and the one for groups takes seconds for 20,000 patients.
    kind_of_fold = StratifiedGroupKFold if len(np.unique(groups)) < len(groups) else StratifiedKFold
    splitter = kind_of_fold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class at few patients may be missing from a fold: its AUC is then not computed there.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", ConvergenceWarning)
        for number, (train, test) in enumerate(splitter.split(table, codes, groups)):
            fold[test] = number
            if len(np.unique(codes[train])) < 2:
                continue
            model = _make(table, kind, len(train), seed).fit(table.iloc[train], codes[train])
            scores[np.ix_(test, model.classes_)] = model.predict_proba(table.iloc[test])
    return scores, fold


def _with_words(table: pd.DataFrame) -> pd.DataFrame:
    """Text that is missing becomes a word of its own; missing numbers are the classifier's, which sees no test."""
    texts = [str(name) for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return table.assign(**{name: table[name].astype(object).where(table[name].notna(), "?") for name in texts})


def _make(table: pd.DataFrame, kind: str, num_train: int, seed: int) -> "Pipeline":
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if kind == "linear":
        components = max(1, min(50, table.shape[1], num_train // 2))
        return make_pipeline(
            StandardScaler(),
            PCA(components, svd_solver="randomized" if components < table.shape[1] // 2 else "full", random_state=seed),
            StandardScaler(),
            LogisticRegression(C=0.1, class_weight="balanced", max_iter=500),
        )
    numeric = [name for name in table if pd.api.types.is_numeric_dtype(table[name])]
    texts = [name for name in table if name not in numeric]
    encoder = OneHotEncoder(handle_unknown="ignore", max_categories=100, sparse_output=False)
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), numeric),
            ("texts", encoder, texts),
        ]
    )
    if kind == "table":
        return make_pipeline(columns, LogisticRegression(C=10.0, max_iter=500))
    trees = ExtraTreesClassifier(_TREES, min_samples_leaf=2, class_weight="balanced", random_state=seed)
    return make_pipeline(columns, trees)
