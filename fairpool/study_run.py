"""One run of a study: a method and a seed, trained and tested, with its evidence in MLflow."""

import csv
import io
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpool import interruption
from fairpool.configurations import configuration_digest
from fairpool.csv_cells import text_cell
from fairpool.errors import DataError
from fairpool.processes import from_first, gathered, is_first, wait_for_all, world_size
from fairpool.study import PLACES, RunResult, Study, StudyObserver, innermost
from fairpool.tracking.spool import SPOOL_NAME
from fairpool.whole_file import open_whole, write_json

if TYPE_CHECKING:
    import pandas as pd
    from monai.bundle import ConfigWorkflow

    from fairpool.data.pool import Pool
    from fairpool.tracking import SpoolingClient

__all__ = ["StudyRun", "counts_table"]


class StudyRun:
    """One method and seed: an MLflow run from RUNNING to FINISHED or FAILED."""

    def __init__(
        self,
        study: Study,
        client: "SpoolingClient",
        identity: str,
        fingerprint: str,
        method: str,
        seed: int,
        run_dir: Path,
        tags: Mapping[str, str],
    ) -> None:
        self.study, self.client = study, client
        self.identity, self.fingerprint = identity, fingerprint
        self.method, self.seed, self.run_dir = method, seed, run_dir
        self.run_name = f"{method}-seed{seed}"
        self.tags = {"study": identity, "fairpool.kind": "run", **tags}

    def train_and_test(self, observer: StudyObserver, number: int) -> RunResult:
        """Train, test, and leave the evidence; ``number`` counts the study's runs for the observer.

        Raises:
            DataError: the data cannot be used.
            RuntimeError: the run failed; its MLflow run is FAILED.
        """
        from fairpool.spread import spread
        from fairpool.tracking import log_params

        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.run_id = self.client.open_run(self.run_dir, self.run_name, self.tags)
        self.client.set_status(self.run_id, "RUNNING")
        try:
            if is_first():
                self._remove_parts()
            workflow = _build(self.study, self.method, self.seed, output_dir=str(self.run_dir), resume=True)
            log_params(self.client, self.run_id, self._params(workflow))
            self.client.set_tag(self.run_id, "configuration", configuration_digest(workflow.parser.get()))
            self.client.set_tag(self.run_id, "processes", str(world_size()))
            spread(workflow.parser)
            result = self._train_and_test(workflow, observer, number)
        except BaseException as error:
            self.client.set_terminated(self.run_id, "FAILED" if isinstance(error, Exception) else "KILLED")
            if isinstance(error, KeyboardInterrupt | SystemExit | DataError):
                raise
            raise RuntimeError(f"{self.method}, seed {self.seed}: {innermost(error)}") from error
        self.client.set_terminated(self.run_id, "FINISHED")
        return result

    def _remove_parts(self) -> None:
        """Clear away what a process that was killed has half-written; the spool does so with its own."""
        for part in self.run_dir.glob("*.part"):
            if not part.name.startswith("tracking"):
                part.unlink(missing_ok=True)

    def deliver(self) -> None:
        """Send, and clear away, what a process that ended too early has left of a finished run."""
        from fairpool.saved_states import remove_states

        remove_states(self.run_dir)
        if not (self.run_dir / SPOOL_NAME).is_file():
            return
        with suppress(ConnectionError):  # another process is at work on it, and sends it
            self.client.set_terminated(self.client.open_run(self.run_dir, self.run_name, self.tags), "FINISHED")

    def _train_and_test(self, workflow: "ConfigWorkflow", observer: StudyObserver, number: int) -> RunResult:
        from ignite.engine import Events

        from fairpool.handlers import BestModel, EvidenceLogger, ExactResume
        from fairpool.losses import FairALMLoss
        from fairpool.losses.binding import all_reduced
        from fairpool.spread import keep_together

        parsed = workflow.parser.get_parsed_content
        pool: Pool = parsed("pool")
        if world_size() > 1:
            self._read_together(parsed, pool)
        trainer, evaluator, loss = parsed("train#trainer"), parsed("validate#evaluator"), parsed("loss")
        slugs = pool.all_sites.slugs()
        constrained = loss if isinstance(loss, FairALMLoss) else None
        if is_first():
            names = slugs[: len(pool.vocabulary)]
            EvidenceLogger(self.client, self.run_id, evaluator, constrained, names).attach(trainer)
        trainer.add_event_handler(
            Events.EPOCH_COMPLETED, lambda engine: observer.epoch(engine.state.epoch, evaluator.state.metrics)
        )
        handlers = [*parsed("train#handlers"), *parsed("validate#handlers")]
        for part in handlers:
            if isinstance(part, BestModel | ExactResume):
                part.note = lambda sentence: observer.note(f"{self.method}, seed {self.seed}: {sentence}")
        resume = next((part for part in handlers if isinstance(part, ExactResume)), None)
        trainer.add_event_handler(Events.ITERATION_STARTED, interruption.check)
        keep_together(trainer, parsed("network"), self.seed)
        observer.run_started(number, len(self.study.run_keys), self.method, self.seed, trainer.state.max_epochs)
        start = time.monotonic()
        workflow.run()
        seconds = time.monotonic() - start if resume is None else resume.seconds

        # The model of the last, annealed epoch is reported, so that a run's latest val/... and its test/... are of one
        # model. The best epoch by validation stays in best.pt: on a confounded pool a handful of cases picks it.
        tested = {section: _evaluate(parsed, section) for section in ("validate", "test")}
        counts = {section: all_reduced(report.metric.counts).tolist() for section, (_, report) in tested.items()}
        predictions = {section: _predictions(report) for section, (_, report) in tested.items()}
        return from_first(lambda: self._keep(workflow, tested, counts, predictions, seconds))

    @staticmethod
    def _read_together(parsed: Any, pool: "Pool") -> None:
        """Have each process read its images at its own pace, before any waits for another; all must see the same.

        Raises:
            DataError: they do not; in the first process.
        """
        fingerprints = gathered(pool.fingerprint())
        if fingerprints is not None and len(set(fingerprints)) > 1:
            raise DataError("the processes see different data: all nodes must see the same table and the same images.")
        for section in ("train", "validate", "test"):
            parsed(f"{section}#dataloader")
        wait_for_all()

    def _keep(
        self,
        workflow: "ConfigWorkflow",
        tested: Mapping[str, tuple[dict[str, float], Any]],
        counts: Mapping[str, list[list[list[int]]]],
        predictions: "Mapping[str, Any]",
        seconds: float,
    ) -> RunResult:
        """Leave the evidence of a trained and tested run; of several processes in the first alone."""
        from fairpool.checkpoints import save_model
        from fairpool.saved_states import remove_states
        from fairpool.tracking import log_metrics

        parsed = workflow.parser.get_parsed_content
        trainer, evaluator, network = parsed("train#trainer"), parsed("validate#evaluator"), parsed("network")
        pool: Pool = parsed("pool")
        (validation, _), (test, _) = tested["validate"], tested["test"]
        figures = {f"test/{name}": value for name, value in test.items()}
        log_metrics(self.client, self.run_id, {**figures, "seconds": seconds})
        is_averaged = bool(workflow.parser.get("weight_averaging", 0))  # then the last validation saw other weights
        if is_averaged or trainer.state.epoch % parsed("val_interval"):
            figures = {f"val/{name}": value for name, value in validation.items()}
            log_metrics(self.client, self.run_id, figures, trainer.state.epoch)

        settings = {"pipeline": self.study.bundle.name, "method": self.method, "seed": self.seed}
        settings["overrides"] = _scalars(workflow)
        save_model(self.run_dir / "model.pt", network, vocabulary=pool.vocabulary, settings=settings)
        _write_predictions(self.run_dir, pool, {"validation": predictions["validate"], "test": predictions["test"]})
        for section, found in (("validation", counts["validate"]), ("test", counts["test"])):
            text = counts_table(found, pool.all_sites.names)
            self.client.log_text(self.run_id, text, f"confusion/{section}.csv")
        self.client.log_text(self.run_id, pool.all_sites.to_json(), "sites.json")
        self.client.log_artifact(self.run_id, str(self.run_dir / "predictions.parquet"))
        result = RunResult(
            method=self.method,
            seed=self.seed,
            run_id=self.client.mlflow_run_id(self.run_id) or "",
            sites=list(pool.all_sites.names),
            slugs=list(pool.all_sites.slugs()),
            validation=validation,
            test=test,
            validation_counts=counts["validate"],
            test_counts=counts["test"],
            best_epoch=int(evaluator.state.best_metric_epoch),
            seconds=seconds,
            output_dir=str(self.run_dir),
        )
        write_json(self.run_dir / "result.json", asdict(result))
        remove_states(self.run_dir)  # the optimizer's state is of no use to a finished run
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


def counts_table(counts: list[list[list[int]]], sites: Sequence[str]) -> str:
    """CSV of confusion counts by site; a name that a spreadsheet would take for a formula is quoted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["site", "true_negative", "false_positive", "false_negative", "true_positive"])
    for site, ((negative, alarm), (miss, positive)) in zip(sites, counts, strict=True):
        writer.writerow([text_cell(site), negative, alarm, miss, positive])
    return text.getvalue()


def _build(study: Study, method: str, seed: int, **more: Any) -> "ConfigWorkflow":
    return study.bundle.build(method, study.overlays, {**study.overrides, "seed": seed, **more}, study.constraint)


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


def _predictions(report: Any) -> "pd.DataFrame | None":
    """Of every image of a section once, in its order; in the first process, None in the others."""
    import pandas as pd

    parts = gathered(report.predictions())
    if parts is None:
        return None
    number = len(parts)  # the images went round the processes
    placed = [part.set_axis(range(first, first + number * len(part), number)) for first, part in enumerate(parts)]
    return pd.concat(placed).sort_index()


def _write_predictions(run_dir: Path, pool: "Pool", predictions: "Mapping[str, pd.DataFrame]") -> None:
    import pandas as pd

    from fairpool.data.vocabulary import UNKNOWN, UNKNOWN_NAME

    parts = [table.assign(split=section) for section, table in predictions.items()]
    table = pd.concat(parts, ignore_index=True)
    names = {UNKNOWN: UNKNOWN_NAME, **dict(enumerate(pool.all_sites.names))}
    table["site"] = table["site"].map(names)
    columns = ["patient", "row", "site", "split", "label", "probability"]
    with open_whole(run_dir / "predictions.parquet") as file:
        table[columns].to_parquet(file, index=False)


def _scalars(workflow: "ConfigWorkflow") -> dict[str, Any]:
    """The configuration's plain values, without places of this machine: what a report may show."""
    config = workflow.parser.get()
    plain = {}
    for key, value in config.items():
        is_plain = isinstance(value, int | float | str | None) and not str(value).startswith(("$", "@", "%"))
        is_numbers = isinstance(value, list) and all(isinstance(part, int | float) for part in value) and value
        if key not in PLACES and not key.startswith("_") and (is_plain or is_numbers):
            plain[key] = value
    return plain
