"""Per-epoch evidence to MLflow: errors and gaps of a validation, the multipliers, the training loss."""

from typing import TYPE_CHECKING, Any

import torch

from fairpool.tracking import BatchClient, log_metrics

if TYPE_CHECKING:
    from fairpool.losses.fairalm import FairALMLoss

__all__ = ["EvidenceLogger", "multiplier_metrics"]


class EvidenceLogger:
    """Sends ``val/...``, ``multiplier/<event>/<site>``, ``eta`` and ``train/loss`` in one batch at each epoch's end.

    Attach it to the trainer after the `ValidationHandler`. Nothing is fetched from the device within an epoch. An epoch
    that was not validated gets no ``val/...``.

    Args:
        client: an MLflow client, or a `fairpool.tracking.SpoolingClient`, which waits for no store.
        run_id: the run that takes the metrics.
        evaluator: the engine whose ``state.metrics`` holds the figures of `SiteReport`.
        loss: the loss with the multipliers, or None where there are none.
        slugs: site names for the metrics, by id; needed with ``loss``.
    """

    def __init__(
        self,
        client: BatchClient,
        run_id: str,
        evaluator: Any,
        loss: "FairALMLoss | None" = None,
        slugs: tuple[str, ...] = (),
    ) -> None:
        self.client = client
        self.run_id = run_id
        self.evaluator = evaluator
        self.loss = loss
        self.slugs = slugs
        self._loss_sum: torch.Tensor | float = 0.0
        self._is_validated = False

    def attach(self, engine: Any) -> None:
        """Register on a trainer."""
        from ignite.engine import Events
        from monai.engines.utils import IterationEvents

        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._add_loss)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._log)
        self.evaluator.add_event_handler(Events.COMPLETED, self._note_validation)

    def _reset(self, _: Any) -> None:
        self._loss_sum = 0.0
        self._is_validated = False

    def _note_validation(self, _: Any) -> None:
        self._is_validated = True

    def _add_loss(self, engine: Any) -> None:
        self._loss_sum = self._loss_sum + engine.state.output["loss"].detach()

    def _log(self, engine: Any) -> None:
        metrics = {"train/loss": float(self._loss_sum) / engine.state.epoch_length}
        if self._is_validated:
            metrics |= {f"val/{name}": value for name, value in self.evaluator.state.metrics.items()}
        if self.loss is not None:
            metrics |= multiplier_metrics(self.loss, self.slugs)
        log_metrics(self.client, self.run_id, metrics, step=engine.state.epoch)


def multiplier_metrics(loss: "FairALMLoss", slugs: tuple[str, ...]) -> dict[str, float]:
    """``multiplier/<event>/<site>``, ``eta``, and the updates so far that compared no two sites."""
    rows = loss.multipliers.tolist()
    metrics = {
        f"multiplier/{event}/{slug}": value
        for event, row in zip(loss.events, rows, strict=True)
        for slug, value in zip(slugs, row, strict=True)
    }
    return metrics | {"eta": float(loss.eta), "train/idle_updates": float(loss.idle_updates)}
