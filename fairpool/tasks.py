"""Which question a run answers: runs on other data, or with another target, are no rivals of it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["by_task", "task_title"]

_TASK_PARAMS = {"imsitu": ("positive_verb", "negative_verb"), "celeba": ("target", "protected")}


def by_task(rows: Iterable[Mapping[str, Any]], by: Sequence[str] | None = None) -> dict[str, list[dict[str, Any]]]:
    """The runs of each task by its title: those on the same data with the same values of some parameters.

    Args:
        rows: as `fairpool.finished_runs.runs_of` gives them; ``experiment``, if there, stands for a task without
            parameters.
        by: the parameters; None is ``positive_verb`` and ``negative_verb`` of imsitu, ``target`` and ``protected`` of
            celeba, none of others.

    >>> rows = [{"data": data, "params/target": "Smiling", "pipeline": "celeba"} for data in ("a1", "b2", "a1")]
    >>> {title: len(own) for title, own in by_task(rows).items()}
    {'Smiling, -, data a1': 2, 'Smiling, -, data b2': 1}
    """
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((task_title(row, by), str(row.get("data"))), []).append(dict(row))
    titles = [title for title, _ in groups]
    named: dict[str, list[dict[str, Any]]] = {}
    for (title, data), own in groups.items():
        name = title if titles.count(title) == 1 else f"{title}, data {data[:6]}"
        named[name if name not in named else f"{title}, data {data}"] = own
    return named


def task_title(row: Mapping[str, Any], by: Sequence[str] | None = None) -> str:
    """What the task of a run is called, without its data; see `by_task`.

    >>> task_title({"pipeline": "imsitu", "params/positive_verb": "cooking", "params/negative_verb": "driving"})
    'Cooking(+) Driving(-)'
    """
    names = _TASK_PARAMS.get(str(row.get("pipeline")), ()) if by is None else by
    values = [str(row.get(f"params/{name}", "-")) for name in names]
    if tuple(names) == _TASK_PARAMS["imsitu"]:
        return f"{values[0].capitalize()}(+) {values[1].capitalize()}(-)"
    return ", ".join(values) or str(row.get("experiment") or row.get("pipeline"))
