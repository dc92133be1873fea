"""Run a study: every method and seed that is not there yet as a flat MLflow run, then one summary over all of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fairpool import interruption
from fairpool.constraints import CONSTRAINTS
from fairpool.errors import DataError
from fairpool.processes import from_first, is_first
from fairpool.study import RunResult, Study, StudyObserver, finished_runs_of_study, load_result, parse_config
from fairpool.study_run import StudyRun

if TYPE_CHECKING:
    from fairpool.data.pool import Pool
    from fairpool.tracking import SpoolingClient

__all__ = ["RunResult", "Study", "StudyObserver", "prepare_data", "run_methods", "run_study", "without_excluded"]

_PATIENCE = 10.0  # seconds


def run_study(study: Study, observer: StudyObserver) -> tuple[list[RunResult], str]:
    """Run what is not there yet, then write the summary; the same call again continues an interrupted study.

    Several processes that train together all call it; the first prepares the data, keeps the evidence and writes.

    Returns:
        the results in the order of ``study.run_keys``; MLflow's id of the summary run, "" while the store is away.
    Raises:
        DataError: the data cannot be used; nothing was trained.
        ConnectionError: the tracking store cannot be used, and nothing was trained; one that is away, or goes away, is
            waited for by the evidence, not by the training.
        RuntimeError: a run failed, and the finished runs are kept; or another process is at work on the study.
    """
    from fairpool.summary import write_summary
    from fairpool.tracking import SpoolingClient
    from fairpool.tracking.silent import SilentClient

    own = SpoolingClient(study.tracking_uri, study.experiment, observer.note) if is_first() else SilentClient()
    with own as client:
        study, fingerprint, notes = from_first(lambda: _prepared(study, client, observer))
        with _alone(study.output_dir / study.identity(fingerprint)):
            results = run_methods(study, client, fingerprint, observer)
            if not is_first():
                return results, ""
            everything = finished_runs_of_study(results)
            summary_id = write_summary(client, study, study.identity(fingerprint), everything, notes)
        if waiting := client.close():
            observer.note(
                f"{waiting} entries of evidence wait in the output folder: `fairpool sync --output "
                f"{study.output_dir}` sends them later."
            )
        return results, client.mlflow_run_id(summary_id) or ""


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the study for the first process; the system lets go of it however that process ends.

    Raises:
        RuntimeError: another command has it; one that was killed is given some seconds to end its workers.
    """
    if not is_first():
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / "study.lock", timeout=_PATIENCE):
            yield
    except Timeout:
        raise RuntimeError(
            f'another command trains this study in "{folder.parent}": wait for its end, or stop it.'
        ) from None


def _prepared(study: Study, client: "SpoolingClient", observer: StudyObserver) -> tuple[Study, str, list[str]]:
    """The study on data that were found good, their fingerprint, and notes; the store was reached or found away."""
    pool, notes = prepare_data(study, observer)
    client.await_store()
    return without_excluded(study, pool), pool.fingerprint(), notes


def run_methods(
    study: Study,
    client: "SpoolingClient",
    fingerprint: str,
    observer: StudyObserver,
    tags: Mapping[str, str] | None = None,
) -> list[RunResult]:
    """Run what is not there yet, without a summary, on data that `prepare_data` has found good.

    Args:
        study: what is to be run.
        client: of the tracking store.
        fingerprint: of the study's pool.
        observer: shows the progress.
        tags: of all runs.
    Returns:
        the results in the order of ``study.run_keys``.
    Raises:
        RuntimeError: a run failed; the finished runs are kept.
        ConnectionError: another process is at work on one of the runs.
    """
    identity = study.identity(fingerprint)
    results = []
    for number, (method, seed) in enumerate(study.run_keys, start=1):
        interruption.check()
        run_dir = study.output_dir / identity / f"{method}-seed{seed}"
        result = from_first(partial(_finished, run_dir, observer))
        was_there = result is not None
        run = StudyRun(study, client, identity, fingerprint, method, seed, run_dir, tags or {})
        if result is None:
            result = run.train_and_test(observer, number)
        elif is_first():
            run.deliver()
        observer.run_finished(result, was_there=was_there)
        results.append(result)
    return results


def _finished(run_dir: Path, observer: StudyObserver) -> RunResult | None:
    """The result of a run that ended, None where there is none; one whose files are damaged is trained again."""
    result = load_result(run_dir)
    if result is None and (run_dir / "result.json").is_file():
        observer.note(f"{run_dir.name}: its result, model or predictions are gone or damaged; it is trained again.")
    return result


def prepare_data(study: Study, observer: StudyObserver) -> tuple["Pool", list[str]]:
    """The pool of the first seed, after the pipeline's ``prepare`` and after every seed's split was found possible.

    Returns:
        the pool, and sentences that a reader of the results should know.
    Raises:
        DataError: the data cannot be used.
    """
    first: Pool | None = None
    for seed in range(study.first_seed, study.first_seed + study.seeds):
        parsed = parse_config(study, study.methods[0], seed)
        pool: Pool = parsed("pool")
        if first is None:
            first = pool
            _check_events(study.constraint, first)
            _check_losses(study, first)
            notes = pool.notes()
            notes += parsed("prepare")(observer.images)
            study = without_excluded(study, first)
        elif first.digests is not None:
            pool.check_equal_images(first.digests)  # another seed, another split
    assert first is not None  # a study has at least one seed
    for sentence in notes:
        observer.note(sentence)
    return first, notes


def without_excluded(study: Study, pool: "Pool") -> Study:
    """The study whose every run leaves out the rows that the pool's ``prepare`` has left out."""
    excluded = {key: rows for key, rows in getattr(pool, "excluded", {}).items() if rows}
    return replace(study, overrides={**study.overrides, **excluded}) if excluded else study


def _check_events(name: str, pool: "Pool") -> None:
    """Refuse a constraint none of whose events occurs at two sites of the training section."""
    import torch

    constraint, counts = CONSTRAINTS[name](), pool.cell_counts()
    by_event = constraint.weights(torch.arange(len(counts))).long().t() @ counts
    if not ((by_event > 0).sum(dim=1) >= 2).any():
        raise DataError(
            f'the constraint "{name}" compares sites in {", ".join(constraint.events)}, of which fewer than two sites '
            "have training cases: there is nothing to constrain. Choose another constraint."
        )


def _check_losses(study: Study, pool: "Pool") -> None:
    """Refuse a method that has no form for the study's constraint, or cannot be built for another reason."""
    for method in study.methods:
        try:
            parse_config(study, method, study.first_seed, pool)("loss")
        except ValueError as error:
            raise ValueError(f'the method "{method}" with the constraint {study.constraint}: {error}') from error
