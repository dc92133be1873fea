"""Confusion counts by site of several runs that were validated and tested on the same cases."""

import hashlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fairpool.data.vocabulary import SiteVocabulary
from fairpool.errors import DataError
from fairpool.stored_predictions import read_predictions

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["RunCounts", "read_run_counts"]

_FILE, _SITES = "predictions.parquet", "sites.json"
_SECTIONS = ("validation", "test")
_CELL = ["split", "site", "label", "positive"]


@dataclass(frozen=True, eq=False)
class RunCounts:
    """N runs over the same cases of K sites.

    Attributes:
        rows: the runs, as `fairpool.finished_runs.runs_of` gives them.
        sites: their vocabulary.
        validation, test: counts by [run, site, true, predicted], int64, (N, K, 2, 2).
        left_out: why a run took no part, by its name.
    """

    rows: list[Mapping[str, Any]]
    sites: SiteVocabulary
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    left_out: dict[str, str]


def read_run_counts(client: "MlflowClient", rows: Sequence[Mapping[str, Any]], *, tracking_uri: str) -> RunCounts:
    """Count the decisions, positive above a probability of 0.5, in the stored predictions of each run.

    Args:
        client: of the store.
        rows: runs, as `fairpool.finished_runs.runs_of` gives them.
        tracking_uri: of the store, for messages.
    Raises:
        DataError: predictions are damaged or have no validation or test case; none is stored at all; or the runs' cases
            differ, and the message says which runs go together.
        ConnectionError: the store failed.
    """
    from fairpool.tracking import naming_store_failures

    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    kept: list[Mapping[str, Any]] = []
    cases: list[tuple[Any, ...]] = []
    counted: list[pd.Series] = []
    left_out: dict[str, str] = {}
    vocabulary = SiteVocabulary(())
    with tempfile.TemporaryDirectory() as folder, naming_store_failures(tracking_uri):
        for row in rows:
            run_id = row["run_id"]
            stored = {item.path for item in client.list_artifacts(run_id)}
            if _FILE not in stored:
                left_out[_name(row)] = f"it stored no {_FILE}"
                continue
            place = Path(folder) / run_id
            place.mkdir()
            if not vocabulary.names and _SITES in stored:
                text = Path(client.download_artifacts(run_id, _SITES, str(place))).read_text(encoding="utf-8")
                vocabulary = SiteVocabulary.from_json(text)
            table = _read(Path(client.download_artifacts(run_id, _FILE, str(place))), _name(row))
            kept.append(row)
            cases.append((row.get("data"), *(_digest(table, section) for section in _SECTIONS)))
            counted.append(table.assign(positive=table["probability"] > 0.5).groupby(_CELL).size())
            (place / _FILE).unlink()
    if not kept:
        raise DataError(f"none of {len(rows)} runs has stored its {_FILE}: there is nothing to count.")
    _check_same_cases(kept, cases)
    sites = vocabulary.extended(counted[0].index.get_level_values("site"))
    cells = pd.MultiIndex.from_product([_SECTIONS, sites.names, (0, 1), (False, True)], names=_CELL)
    tables = np.stack([one.reindex(cells, fill_value=0).to_numpy(np.int64) for one in counted])
    by_section = tables.reshape(len(kept), len(_SECTIONS), len(sites), 2, 2)
    return RunCounts(kept, sites, by_section[:, 0], by_section[:, 1], left_out)


def _read(file: Path, run: str) -> pd.DataFrame:
    import pyarrow

    try:
        table = read_predictions(file)
        about = pd.read_parquet(file, columns=["row", "patient"])
    except DataError as error:
        raise DataError(f"{run}: {error}") from error
    except (pyarrow.ArrowException, ValueError) as error:
        raise DataError(f"{run}: its {_FILE} has no row and patient, by which its cases could be told.") from error
    table = pd.concat([table, about], axis=1)
    for section in _SECTIONS:
        if not (table["split"] == section).any():
            raise DataError(f"{run}: its {_FILE} has no {section} case.")
    return table[table["split"].isin(_SECTIONS)]


def _check_same_cases(rows: Sequence[Mapping[str, Any]], keys: Sequence[tuple[Any, ...]]) -> None:
    """Refuse runs whose data, validation cases or test cases differ: another split may test what one trained on."""
    if len(set(keys)) == 1:
        return
    parts = zip(("data", "validation cases", "test cases"), zip(*keys, strict=True), strict=True)
    differing = [name for name, values in parts if len(set(values)) > 1]
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for key, row in zip(keys, rows, strict=True):
        groups.setdefault(key, []).append(row)
    described = [_describe(group) for group in groups.values()]
    more = f", and {len(described) - 5} more" if len(described) > 5 else ""
    raise DataError(
        f"a mixture needs runs over the same cases, and the {' and '.join(differing)} differ between "
        f"{'; '.join(described[:5])}{more}. Choose one of them: --seed and --study restrict the runs."
    )


def _describe(group: Sequence[Mapping[str, Any]]) -> str:
    seeds, studies = (sorted({str(row.get(key)) for row in group}) for key in ("seed", "study"))
    runs = "run" if len(group) == 1 else "runs"
    return (
        f"{len(group)} {runs} of seed{'s' * (len(seeds) > 1)} {', '.join(seeds[:5])} "
        f"in stud{'ies' if len(studies) > 1 else 'y'} {', '.join(studies[:3])}"
    )


def _digest(table: pd.DataFrame, section: str) -> str:
    """Of which cases a section consists, in any order."""
    cases = table.loc[table["split"] == section, ["row", "patient", "site", "label"]]
    hashes = np.sort(pd.util.hash_pandas_object(cases, index=False).to_numpy())
    return hashlib.sha256(hashes.tobytes()).hexdigest()


def _name(row: Mapping[str, Any]) -> str:
    return f"{row.get('run_name') or row['run_id']} of study {row.get('study')}"
