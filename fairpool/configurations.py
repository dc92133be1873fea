"""Which runs are seeds of one configuration, their means, and on which seeds configurations are compared."""

import hashlib
import json
import math
import sys
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

from fairpool.study import PLACES
from fairpool.trivial_gaps import trivial_gap

__all__ = [
    "configuration_digest",
    "configuration_of",
    "finite_number",
    "mean_over_seeds",
    "means_compared",
    "means_of",
    "seeds_compared",
]

# What differs between the seeds of a configuration, or changes how fast it runs and not what comes out.
_APART = PLACES | {"seed", "num_workers", "cache_rate"}
_NOT_SETTINGS = {f"params/{name}" for name in _APART}


def configuration_digest(config: Mapping[str, Any]) -> str:
    """Digest of a run's resolved configuration without its seed, places of this machine and what only sets its speed.

    Two runs with the same digest on the same data are seeds of one configuration, whatever study they belong to.

    Args:
        config: as MONAI's parser has it; keys that begin with "_" are about the bundle, no part of it.

    >>> configuration_digest({"eta": 0.1, "seed": 0}) == configuration_digest({"seed": 1, "eta": 0.1})
    True
    """
    settings = {key: value for key, value in config.items() if key not in _APART and not key.startswith("_")}
    return hashlib.sha256(json.dumps(_plain(settings), sort_keys=True, default=str).encode()).hexdigest()[:12]


def _plain(value: Any) -> Any:
    """The same with 1.0 as 1, which one pipeline and another command may write."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def configuration_of(row: Mapping[str, Any]) -> Hashable:
    """What the runs of one configuration share, of a row of `fairpool.finished_runs.runs_of`.

    That is the method, the data, the pipeline, the constraint, and the digest of the configuration. Of a run that was
    made before fairpool kept it, the parameters without the seed stand for it; of one without parameters, its study.
    """
    about = tuple(row.get(name) for name in ("method", "pipeline", "data", "constraint"))
    settings: Any = row.get("configuration")
    if settings is None:
        params = {key: value for key, value in row.items() if key.startswith("params/") and key not in _NOT_SETTINGS}
        settings = tuple(sorted(params.items())) or ("study", row.get("study"))
    return about, settings


def seeds_compared(configurations: Sequence[tuple[Any, frozenset[Any]]]) -> frozenset[Any] | None:
    """The seeds on which configurations are compared, so that no single lucky run is held against a mean.

    Of each method that is the largest set of two seeds or more that two of its configurations share, or all seeds of
    the configuration that has the most; of several methods what these sets have in common, those of a single seed left
    aside. A sweep's trials of one seed are then no rivals of a study of three, and a seed that was only used to tune
    one of them does not count.

    Args:
        configurations: of each its method and its seeds.
    Returns:
        the seeds; None where configurations have other seeds altogether, and can be compared by their number alone.

    >>> sorted(seeds_compared([("fairalm", frozenset({0, 1, 2, 100})), ("fairalm", frozenset({0, 1, 2}))]))
    [0, 1, 2]
    """
    by_method: dict[Any, list[frozenset[Any]]] = {}
    for method, seeds in configurations:
        by_method.setdefault(method, []).append(seeds)
    chosen = [_of_one_method(own) for own in by_method.values()]
    several = [seeds for seeds in chosen if seeds is None or len(seeds) > 1] or chosen
    known = [seeds for seeds in several if seeds is not None]
    common = frozenset.intersection(*known) if known and len(known) == len(several) else frozenset()
    return common or None


def _of_one_method(sets: Sequence[frozenset[Any]]) -> frozenset[Any] | None:
    number = Counter(sets)
    distinct = sorted(number, key=lambda seeds: (-len(seeds), sorted(map(str, seeds))))
    shared = [seeds for seeds in distinct if number[seeds] > 1]
    shared += [one & other for place, one in enumerate(distinct) for other in distinct[place + 1 :]]
    best = max(shared, key=len, default=frozenset())
    if len(best) > 1:
        return best
    alone = len(distinct) == 1 or len(distinct[0]) > len(distinct[1])
    return distinct[0] if alone else None


def mean_over_seeds(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a configuration, with each figure's mean over its runs, so that no lucky seed stands for it.

    Runs of the same configuration in several studies, such as that of a sweep's first trial, are taken together. Of a
    seed that was run again the first run counts, whatever came out of the others.

    Args:
        rows: as `fairpool.finished_runs.runs_of` gives them, the earliest first.
    Returns:
        rows with the entries that all runs of the configuration share, ``study`` (its studies, by commas), ``seeds``
        (their number), ``run_ids``, ``repeats`` (runs that repeat a seed), and the mean of each figure that all of them
        have; a figure that one of them could not estimate is left out. ``left_out`` says why it must not be chosen, if
        the gap of one of its runs is a `trivial_gap`.

    >>> rows = [{"study": "a", "method": "m", "seed": str(i), "run_id": str(i), "val/error": i / 10} for i in (1, 2)]
    >>> [round(row["val/error"], 3) for row in mean_over_seeds(rows)]
    [0.15]
    """
    return [_mean(own, repeats) for own, repeats in _configurations(rows)]


def means_compared(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """As `mean_over_seeds`, with each mean over the seeds on which these are compared: see `seeds_compared`.

    Args:
        rows: as `fairpool.finished_runs.runs_of` gives them.
    Returns:
        rows of `mean_over_seeds`, and ``aside``, the number of runs on other seeds; ``left_out`` says of a
        configuration that lacks some of these seeds that it does, and its mean is over those that it has. Where no
        seeds are shared, the configurations with the most seeds are compared.
    """
    found = [(own, repeats, next(iter(own.values())).get("method")) for own, repeats in _configurations(rows)]
    compared = seeds_compared([(method, frozenset(own)) for own, _, method in found])
    most = max((len(own) for own, _, _ in found), default=0)
    means = []
    for own, repeats, _ in found:
        if compared is not None and compared <= own.keys():
            mean = _mean({seed: row for seed, row in own.items() if seed in compared}, repeats)
            means.append({**mean, "aside": len(own) - len(compared)})
            continue
        few = compared is not None or len(own) < most
        needed = f"the {len(compared)} seeds compared" if compared is not None else f"{most} seeds, as others have"
        means.append({**_mean(own, repeats), **({"left_out": f"it lacks some of {needed}"} if few else {})})
    return means


def _configurations(rows: Iterable[Mapping[str, Any]]) -> list[tuple[dict[Any, Mapping[str, Any]], int]]:
    """Of each configuration the first run of each seed, and how many runs repeat one."""
    table = list(rows)
    # A study may have been begun before fairpool kept the digest of a configuration, and extended since.
    known = {(row.get("study"), row.get("method")): row["configuration"] for row in table if row.get("configuration")}
    groups: dict[Any, dict[Any, Mapping[str, Any]]] = {}
    repeats = Counter[Any]()
    for row in table:
        key = configuration_of({**row, "configuration": known.get((row.get("study"), row.get("method")))})
        own = groups.setdefault(key, {})
        seed = row.get("seed")
        repeats[key] += seed is not None and seed in own
        own.setdefault(f"run {len(own)}" if seed is None else seed, row)
    return [(own, repeats[key]) for key, own in groups.items()]


def _mean(by_seed: Mapping[Any, Mapping[str, Any]], repeats: int) -> dict[str, Any]:
    group = list(by_seed.values())
    shared = {
        key: value
        for key, value in group[0].items()
        if not isinstance(value, float) and all(row.get(key) == value for row in group)
    }
    shared.pop("run_id", None)
    studies = list(dict.fromkeys(str(row.get("study")) for row in group))
    if len(studies) > 1:
        shared["study"] = ", ".join(studies)
    trivial = {str(row.get("seed")): reason for row in group if (reason := trivial_gap(row, "val/"))}
    if trivial:
        shared["left_out"] = ", ".join(f"seed {seed} {reason}" for seed, reason in trivial.items())
    run_ids = [row["run_id"] for row in group]
    figures = means_of([{key: value for key, value in row.items() if isinstance(value, float)} for row in group])
    return {**shared, "seeds": len(group), "run_ids": run_ids, "repeats": repeats, **figures}


def means_of(figures: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure that all of these have."""
    if not figures:
        return {}
    shared = [name for name in figures[0] if all(finite_number(row.get(name)) is not None for row in figures)]
    return {name: math.fsum(row[name] for row in figures) / len(figures) for name in shared}


def finite_number(value: Any) -> float | None:
    """The value as a finite number, None where it is not one; MLflow keeps infinity as the largest number there is.

    >>> finite_number("0.5"), finite_number(None), finite_number(float("nan"))
    (0.5, None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if abs(number) < sys.float_info.max else None
