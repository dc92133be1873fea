"""What a study is: methods x seeds over one pipeline and its data, who watches it, and what each run leaves behind."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from fairpool.bundle import Bundle, constraint_config, did_you_mean
from fairpool.constraints import CONSTRAINTS
from fairpool.errors import DataError

__all__ = [
    "PLACES",
    "RunResult",
    "Study",
    "StudyObserver",
    "finished_runs_of_study",
    "innermost",
    "load_result",
    "parse_config",
]

PLACES = {
    "aliases",
    "bundle_root",
    "cache_dir",
    "dataset_dir",
    "manifest",
    "output_dir",
    "test_dir",
    "test_manifest",
    "weights",
}
"""Configuration keys that hold places of this machine: no part of a study's identity, and in no report."""


@dataclass(frozen=True)
class Study:
    """What is to be run.

    Args:
        bundle: the pipeline.
        methods: names of `Bundle.methods`, each once.
        seeds: number of seeds, counted from ``first_seed``; a seed gives the split, the first weights and the batches.
        constraint: a key of `CONSTRAINTS`.
        overlays: data configurations laid over ``train.json``.
        overrides: configuration values by key.
        output_dir: takes models, predictions and results.
        tracking_uri: MLflow store.
        own_experiment: name of the MLflow experiment that takes the runs; None is the pipeline's name.
    Raises:
        ValueError: a method, the constraint or the number of seeds makes no sense.
    """

    bundle: Bundle
    methods: tuple[str, ...]
    seeds: int
    constraint: str
    overlays: tuple[str, ...]
    overrides: Mapping[str, Any]
    output_dir: Path
    tracking_uri: str
    first_seed: int = 0
    own_experiment: str | None = None

    def __post_init__(self) -> None:
        if self.constraint not in CONSTRAINTS:
            raise ValueError(
                f'there is no constraint "{self.constraint}"{did_you_mean(self.constraint, CONSTRAINTS)}; '
                f"there are {', '.join(CONSTRAINTS)}."
            )
        if self.seeds < 1:
            raise ValueError(f"a study needs at least one seed, got {self.seeds}.")
        if not self.methods or len(set(self.methods)) != len(self.methods):
            raise ValueError(f"name each method once, got {', '.join(self.methods) or 'none'}.")
        for method in self.methods:
            self.bundle.config_files(method, self.overlays)

    @property
    def experiment(self) -> str:
        """Name of the MLflow experiment that takes the runs."""
        return self.own_experiment or self.bundle.name

    @property
    def run_keys(self) -> list[tuple[str, int]]:
        """(method, seed) of every run, all methods of a seed before the next seed."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [(method, seed) for seed in seeds for method in self.methods]

    def identity(self, fingerprint: str) -> str:
        """Digest of pipeline, data, constraint and resolved configuration; more seeds or methods keep it."""
        digest = hashlib.sha256()
        for file in sorted({name for method in self.bundle.methods for name in self.bundle.config_files(method)}):
            digest.update(Path(file).read_bytes())
        for overlay in self.overlays:
            digest.update((self.bundle.configs / f"{overlay}.json").read_bytes())
        settings = {key: value for key, value in self.overrides.items() if key not in PLACES}
        about = [self.bundle.name, fingerprint, self.constraint, settings]
        about += [self.own_experiment] if self.own_experiment else []  # its runs are there, and in no other
        digest.update(json.dumps(about, sort_keys=True, default=str).encode())
        return digest.hexdigest()[:12]


@dataclass
class RunResult:
    """What a finished run leaves behind; kept as ``result.json`` beside its model.

    Attributes:
        test_counts: confusion counts of the test section, [site][true][predicted].
        validation, test: the figures of `SiteReport` by name, of the last epoch's model.
        best_epoch: the epoch whose weights are in ``best.pt``, by the key metric on validation; -1 for none.
    """

    method: str
    seed: int
    run_id: str
    sites: list[str]
    slugs: list[str]
    validation: dict[str, float]
    test: dict[str, float]
    validation_counts: list[list[list[int]]]
    test_counts: list[list[list[int]]]
    best_epoch: int
    seconds: float
    output_dir: str = field(compare=False, default="")


class StudyObserver(Protocol):
    """Who shows a study's progress."""

    def note(self, sentence: str) -> None:
        """Something a reader of the results should know."""

    def images(self, done: int, total: int) -> None:
        """Images read before training."""

    def run_started(self, number: int, total: int, method: str, seed: int, epochs: int) -> None:
        """A run begins."""

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """An epoch of the current run is validated."""

    def run_finished(self, result: RunResult, *, was_there: bool) -> None:
        """A run ended, or had ended in an earlier call."""


def parse_config(study: Study, method: str, seed: int, pool: Any = None) -> Any:
    """A function from configuration keys to their values, without building what is not asked for, nor a given pool."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(study.bundle.config_files(method, study.overlays))
    known = study.bundle.keys([method], study.overlays)[method]
    given = {"seed": seed, "bundle_root": str(study.bundle.folder), "constraint": constraint_config(study.constraint)}
    for key, value in {**study.overrides, **given}.items():
        if key in known:
            parser.set(value, key)
    if pool is not None:
        parser.set(pool, "pool")
    parser.parse()
    return _unwrapped(parser.get_parsed_content)


def load_result(run_dir: Path) -> RunResult | None:
    """The result of a run that ended, None where there is none, or what is made from its files cannot be made."""
    if not all((run_dir / name).is_file() for name in ("model.pt", "predictions.parquet")):
        return None
    try:
        result = RunResult(**json.loads((run_dir / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    result.output_dir = str(run_dir)
    return result


def finished_runs_of_study(results: Sequence[RunResult]) -> list[RunResult]:
    """The results, and after them by seed the study's other finished runs: those that ``paired.csv`` is over.

    Args:
        results: finished runs of one study; without a folder there are no others to find.
    """
    if not results or not results[0].output_dir:
        return list(results)
    folder = Path(results[0].output_dir).parent
    known = {(result.method, result.seed) for result in results}
    found = filter(None, map(load_result, sorted(path.parent for path in folder.glob("*/result.json"))))
    others = [result for result in found if (result.method, result.seed) not in known]
    return [*results, *sorted(others, key=lambda result: result.seed)]


def _unwrapped(function: Any) -> Any:
    """MONAI reports a constructor's error as a RuntimeError about configuration: give what the constructor said."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RuntimeError as error:
            cause = innermost(error)
            if isinstance(cause, DataError):
                raise DataError(str(cause)) from error
            if isinstance(cause, ValueError | TypeError):
                raise ValueError(str(cause)) from error
            raise

    return call


def innermost(error: BaseException) -> BaseException:
    r"""The error of a chain of causes that says most to the user.

    That is the first `DataError`, for it has the row, which those below it lack; else the one that the chain began
    with, if it says anything. A data loader's worker sends its chain as the text of a traceback, with paths of this
    machine: of it the one sentence is taken.

    >>> sent = "Caught ValueError in DataLoader worker process 0.\nOriginal Traceback ...\nValueError: no such key\n"
    >>> innermost(ValueError(sent))
    RuntimeError('no such key')
    """
    found = error
    while not isinstance(error, DataError) and error.__cause__ is not None:
        error = error.__cause__
        found = error if str(error) else found
    text = str(found)
    return _sent_by_worker(text) if _WORKER.match(text) else found


_WORKER = re.compile(r"Caught \w+ in DataLoader worker process \d+\.\nOriginal Traceback")
_NAMED = re.compile(r"^[A-Za-z_][\w.]*: (.+)$", re.MULTILINE)  # the line of a traceback that names its error
_DATA_ERROR = re.compile(r"^(?:[\w.]+\.)?DataError: (.+)$", re.MULTILINE)
_CAUSED = "The above exception was the direct cause"


def _sent_by_worker(text: str) -> BaseException:
    """What `innermost` finds in a chain, found in its traceback, where the cause stands first."""
    if sentences := _DATA_ERROR.findall(text):
        return DataError(sentences[-1])
    named = _NAMED.findall(text.split(_CAUSED)[0])
    return RuntimeError(named[-1] if named else "a worker of the data loader failed; see it with num_workers=0")
