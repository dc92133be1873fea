"""A study: methods x seeds over one pipeline, each a flat MLflow run, and one summary run over all of them."""

import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from fairpool.bundle import Bundle, did_you_mean
from fairpool.constraints import CONSTRAINTS
from fairpool.errors import DataError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from monai.bundle import ConfigWorkflow

    from fairpool.data.pool import Pool

__all__ = ["RunResult", "Study", "StudyObserver", "parse_config", "run_study"]

_PLACES = {"dataset_dir", "test_dir", "cache_dir", "output_dir", "bundle_root", "manifest", "test_manifest"}


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
        settings = {key: value for key, value in self.overrides.items() if key not in _PLACES}
        about = [self.bundle.name, fingerprint, self.constraint, settings]
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


def run_study(study: Study, observer: StudyObserver) -> tuple[list[RunResult], str]:
    """Run what is not there yet, then write the summary; the same call again continues an interrupted study.

    Returns:
        the results in the order of ``study.run_keys``, and the MLflow id of the summary run.
    Raises:
        DataError: the data cannot be used; nothing was trained.
        ConnectionError: the tracking store cannot be reached, and nothing was trained; or it failed later.
        RuntimeError: a run failed; the finished runs are kept.
    """
    from fairpool.summary import write_summary
    from fairpool.tracking import naming_store_failures, open_experiment

    client, experiment_id = open_experiment(study.tracking_uri, study.bundle.name)
    pool, notes = _prepare_data(study, observer)
    identity = study.identity(pool.fingerprint())
    folder = study.output_dir / identity
    results = []
    with naming_store_failures(study.tracking_uri):
        for number, (method, seed) in enumerate(study.run_keys, start=1):
            run_dir = folder / f"{method}-seed{seed}"
            result = _load_result(run_dir)
            was_there = result is not None
            run = _Run(study, client, experiment_id, identity, pool.fingerprint(), method, seed, run_dir)
            run.end_abandoned(result)
            if result is None:
                result = run.train_and_test(observer, number)
            observer.run_finished(result, was_there=was_there)
            results.append(result)
        everything = results + _other_results(folder, results)
        summary_id = write_summary(client, experiment_id, study, identity, everything, notes, folder)
    return results, summary_id


class _Run:
    """One method and seed: an MLflow run from RUNNING to FINISHED or FAILED."""

    def __init__(
        self,
        study: Study,
        client: "MlflowClient",
        experiment_id: str,
        identity: str,
        fingerprint: str,
        method: str,
        seed: int,
        run_dir: Path,
    ) -> None:
        self.study, self.client, self.experiment_id = study, client, experiment_id
        self.identity, self.fingerprint = identity, fingerprint
        self.method, self.seed, self.run_dir = method, seed, run_dir
        self.run_name = f"{method}-seed{seed}"

    def train_and_test(self, observer: StudyObserver, number: int) -> RunResult:
        from mlflow.exceptions import MlflowException

        from fairpool.tracking import log_params

        self.run_dir.mkdir(parents=True, exist_ok=True)
        run = self.client.create_run(
            self.experiment_id,
            run_name=self.run_name,
            tags={"study": self.identity, "fairpool.kind": "run"},
        )
        self.run_id = run.info.run_id
        try:
            workflow = _build(self.study, self.method, self.seed, output_dir=str(self.run_dir))
            log_params(self.client, self.run_id, self._params(workflow))
            result = self._train_and_test(workflow, observer, number)
        except BaseException as error:
            status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            with suppress(MlflowException):  # the store itself may be what failed
                self.client.set_terminated(self.run_id, status)
            if isinstance(error, KeyboardInterrupt | SystemExit | DataError):
                raise
            cause = _innermost(error)
            if isinstance(cause, MlflowException):
                raise cause from None
            raise RuntimeError(f"{self.method}, seed {self.seed}: {cause}") from error
        self.client.set_terminated(self.run_id, "FINISHED")
        return result

    def _train_and_test(self, workflow: "ConfigWorkflow", observer: StudyObserver, number: int) -> RunResult:
        from ignite.engine import Events

        from fairpool.checkpoints import save_model
        from fairpool.handlers import EvidenceLogger
        from fairpool.losses import FairALMLoss
        from fairpool.tracking import log_metrics

        parsed = workflow.parser.get_parsed_content
        trainer, evaluator, loss = parsed("train#trainer"), parsed("validate#evaluator"), parsed("loss")
        pool: Pool = parsed("pool")
        slugs = pool.all_sites.slugs()
        constrained = loss if isinstance(loss, FairALMLoss) else None
        EvidenceLogger(self.client, self.run_id, evaluator, constrained, slugs[: len(pool.vocabulary)]).attach(trainer)
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda engine: observer.epoch(engine.state.epoch, evaluator.state.metrics)
        )
        observer.run_started(number, len(self.study.run_keys), self.method, self.seed, trainer.state.max_epochs)
        start = time.monotonic()
        workflow.run()
        seconds = time.monotonic() - start

        # The model of the last, annealed epoch is reported, so that a run's latest val/... and its test/... are of one
        # model. The best epoch by validation stays in best.pt: on a confounded pool a handful of cases picks it.
        network = parsed("network")
        validation, validation_report = _evaluate(parsed, "validate")
        test, test_report = _evaluate(parsed, "test")
        figures = {f"test/{name}": value for name, value in test.items()}
        log_metrics(self.client, self.run_id, {**figures, "seconds": seconds})
        if trainer.state.epoch % parsed("val_interval"):
            figures = {f"val/{name}": value for name, value in validation.items()}
            log_metrics(self.client, self.run_id, figures, trainer.state.epoch)

        settings = {"pipeline": self.study.bundle.name, "method": self.method, "seed": self.seed}
        settings["overrides"] = _scalars(workflow)
        save_model(self.run_dir / "model.pt", network, vocabulary=pool.vocabulary, settings=settings)
        _write_predictions(self.run_dir, pool, {"validation": validation_report, "test": test_report})
        for section, report in (("validation", validation_report), ("test", test_report)):
            text = counts_table(report.metric.counts.tolist(), pool.all_sites.names)
            self.client.log_text(self.run_id, text, f"confusion/{section}.csv")
        self.client.log_text(self.run_id, pool.all_sites.to_json(), "sites.json")
        self.client.log_artifact(self.run_id, str(self.run_dir / "predictions.parquet"))
        result = RunResult(
            method=self.method,
            seed=self.seed,
            run_id=self.run_id,
            sites=list(pool.all_sites.names),
            slugs=list(slugs),
            validation=validation,
            test=test,
            validation_counts=validation_report.metric.counts.tolist(),
            test_counts=test_report.metric.counts.tolist(),
            best_epoch=int(evaluator.state.best_metric_epoch),
            seconds=seconds,
            output_dir=str(self.run_dir),
        )
        _write_atomically(self.run_dir / "result.json", json.dumps(asdict(result), indent=1))
        for checkpoint in self.run_dir.glob("checkpoint_*.pt"):
            checkpoint.unlink()  # the optimizer's state is of no use to a finished run
        return result

    def _params(self, workflow: "ConfigWorkflow") -> dict[str, Any]:
        about = {
            "method": self.method,
            "seed": self.seed,
            "constraint": self.study.constraint,
            "pipeline": self.study.bundle.name,
            "data": self.fingerprint,
        }
        return {**_scalars(workflow), **about}

    def end_abandoned(self, result: RunResult | None) -> None:
        """End the MLflow run that a killed process left RUNNING, so that the store tells what is alive."""
        found = self.client.search_runs(
            [self.experiment_id],
            # By its name: a process that was killed early has not logged its parameters yet.
            f"tags.study = '{self.identity}' and attributes.run_name = '{self.run_name}' "
            "and attributes.status = 'RUNNING'",
        )
        for run in found:
            is_finished = result is not None and run.info.run_id == result.run_id
            self.client.set_terminated(run.info.run_id, "FINISHED" if is_finished else "KILLED")


def counts_table(counts: list[list[list[int]]], sites: Sequence[str]) -> str:
    """CSV of confusion counts by site; a name that a spreadsheet would take for a formula is quoted."""
    import csv
    import io

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", "true_negative", "false_positive", "false_negative", "true_positive"])
    for site, ((negative, alarm), (miss, positive)) in zip(sites, counts, strict=True):
        writer.writerow([f"'{site}" if site[0] in "=+-@\t\r\n" else site, negative, alarm, miss, positive])
    return text.getvalue()


def _prepare_data(study: Study, observer: StudyObserver) -> tuple["Pool", list[str]]:
    """The pool of the first seed, after every image was read and every seed's split was found possible."""
    first: Pool | None = None
    for seed in range(study.first_seed, study.first_seed + study.seeds):
        parsed = parse_config(study, study.methods[0], seed)
        pool: Pool = parsed("pool")
        if first is None:
            first = pool
            notes = pool.notes()
            notes += pool.prepare(
                parsed("image_size"), parsed("cache_dir"), value_range=parsed("value_range"), progress=observer.images
            )
        else:
            pool.check_equal_images(first.digests)  # another seed, another split
    assert first is not None  # a study has at least one seed
    _check_events(study.constraint, first)
    for sentence in notes:
        observer.note(sentence)
    return first, notes


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


def parse_config(study: Study, method: str, seed: int) -> Any:
    """A function from configuration keys to their values, without building what is not asked for."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(study.bundle.config_files(method, study.overlays))
    known = study.bundle.keys([method], study.overlays)[method]
    for key, value in {**study.overrides, "seed": seed, "bundle_root": str(study.bundle.folder)}.items():
        if key in known:
            parser.set(value, key)
    parser.parse()
    return _unwrapped(parser.get_parsed_content)


def _build(study: Study, method: str, seed: int, **more: Any) -> "ConfigWorkflow":
    return study.bundle.build(method, study.overlays, {**study.overrides, "seed": seed, **more}, study.constraint)


def _unwrapped(function: Any) -> Any:
    """MONAI reports a constructor's error as a RuntimeError about configuration: give what the constructor said."""

    def call(*arguments: Any) -> Any:
        try:
            return function(*arguments)
        except RuntimeError as error:
            cause = _innermost(error)
            if isinstance(cause, DataError):
                raise DataError(str(cause)) from error
            if isinstance(cause, ValueError | TypeError):
                raise ValueError(str(cause)) from error
            raise

    return call


def _innermost(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _evaluate(parsed: Any, section: str) -> tuple[dict[str, float], Any]:
    """Figures of the network as it is now on "validate" or "test", and the `SiteReport` behind them."""
    from monai.engines import SupervisedEvaluator

    from fairpool.handlers import SiteReport

    report = SiteReport(parsed("pool").all_sites, keep_predictions=True)
    evaluator = SupervisedEvaluator(
        device=parsed("device"),
        val_data_loader=parsed(f"{section}#dataloader"),
        network=parsed("network"),
        inferer=parsed("validate#inferer"),
        val_handlers=[report],
        decollate=False,
        amp=parsed("amp"),
    )
    evaluator.run()
    return dict(evaluator.state.metrics), report


def _write_predictions(run_dir: Path, pool: "Pool", reports: Mapping[str, Any]) -> None:
    import pandas as pd

    parts = [report.predictions().assign(split=section) for section, report in reports.items()]
    table = pd.concat(parts, ignore_index=True)
    names = dict(enumerate(pool.all_sites.names))
    table["site"] = table["site"].map(names)
    columns = ["patient", "row", "site", "split", "label", "probability"]
    table[columns].to_parquet(run_dir / "predictions.parquet", index=False)


def _scalars(workflow: "ConfigWorkflow") -> dict[str, Any]:
    """The configuration's plain values, without places of this machine: what a report may show."""
    config = workflow.parser.get()
    plain = {}
    for key, value in config.items():
        is_plain = isinstance(value, int | float | str | None) and not str(value).startswith(("$", "@", "%"))
        is_numbers = isinstance(value, list) and all(isinstance(part, int | float) for part in value) and value
        if key not in _PLACES and not key.startswith("_") and (is_plain or is_numbers):
            plain[key] = value
    return plain


def _load_result(run_dir: Path) -> RunResult | None:
    """The result of a run that ended, None where there is none or its file is damaged."""
    try:
        result = RunResult(**json.loads((run_dir / "result.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    result.output_dir = str(run_dir)
    return result


def _other_results(folder: Path, results: Sequence[RunResult]) -> list[RunResult]:
    """Finished runs of the study that this call did not ask for: its summary is over all of them."""
    known = {(result.method, result.seed) for result in results}
    found = filter(None, map(_load_result, sorted(path.parent for path in folder.glob("*/result.json"))))
    others = [result for result in found if (result.method, result.seed) not in known]
    return sorted(others, key=lambda result: result.seed)


def _write_atomically(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
