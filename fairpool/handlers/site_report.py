"""Error rates by site as an engine's metrics."""

from collections.abc import Mapping, Sequence
from math import isnan
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fairpool.handlers.dual import groups_of
from fairpool.losses.surrogates import as_plain
from fairpool.metrics.report import GroupReport

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FIGURES", "SiteReport", "report_metrics"]

_GAPS = ("deo", "fpr_gap", "eodds_gap", "ddp", "selection_gap", "fdr_gap", "worst_group_error")
FIGURES = ("error", "balanced_error", *_GAPS)
"""The figures over all sites, by the names of a run's metrics; each may be the key metric."""


class SiteReport:
    """Counts an evaluator's decisions by site and publishes the rates as floats in ``engine.state.metrics``.

    Serves as a handler, and as MONAI's ``key_val_metric={"error": SiteReport(...)}``: the key names the figure, one of
    ``error``, ``balanced_error``, ``deo``, ``fpr_gap``, ``eodds_gap``, ``ddp``, ``selection_gap``, ``fdr_gap``,
    ``worst_group_error``; all of them are lower-better, so pass
    ``metric_cmp_fn=lambda current, best: current < best``. Beside them stand ``error``, ``fnr``, ``fpr``, ``fdr`` and
    ``selection_rate`` of each site. A figure without an estimate (no such case, or fewer than two sites) is left out,
    never NaN.

    Args:
        sites: names for the metrics, by id: a `SiteVocabulary`, or slugs.
        group_key: batch key of the site ids.
        threshold: probability from which a binary prediction is positive.
        keep_predictions: collect `predictions` as well; batches without labels then only give these.
        from_logits: whether the network gives logits; False: probabilities, after a sigmoid or softmax. A range that
            contradicts it raises a ValueError, see `fairpool.metrics.GroupMetric`.

    Attributes:
        report: `GroupReport` of the last run, None before it.
        num_unknown: samples of unknown site in the last run, in this process.
    """

    def __init__(
        self,
        sites: Any,
        group_key: str = "site",
        *,
        threshold: float = 0.5,
        keep_predictions: bool = False,
        from_logits: bool = True,
    ) -> None:
        from fairpool.metrics.group_metric import GroupMetric

        self.slugs: Sequence[str] = sites.slugs() if hasattr(sites, "slugs") else tuple(sites)
        self.group_key = group_key
        self.metric = GroupMetric(len(self.slugs), threshold=threshold, from_logits=from_logits)
        self.keep_predictions = keep_predictions
        self.report: GroupReport | None = None
        self._kept: list[dict[str, list[Any]]] = []
        self._published: tuple[str, ...] = ()

    @property
    def num_unknown(self) -> int:
        """Samples of unknown site counted since the last reset."""
        return self.metric.num_unknown

    def attach(self, engine: Any, name: str | None = None) -> None:
        """Register on an evaluator.

        Raises:
            ValueError: ``name`` is not a figure that the report publishes.
        """
        from ignite.engine import Events

        if name is not None and name not in FIGURES:
            raise ValueError(f"the key metric must be one of {', '.join(FIGURES)}; got {name!r}.")
        engine.add_event_handler(Events.EPOCH_STARTED, self._reset)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._count)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._publish, name)

    def predictions(self) -> "pd.DataFrame":
        """Patient (running number), site id, label and probability of class 1 of every sample of the last run."""
        import pandas as pd

        parts = [pd.DataFrame(part) for part in self._kept]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()

    def _reset(self, engine: Any) -> None:
        self.metric.reset()
        self._kept.clear()
        for name in self._published:  # a figure without an estimate this time must not keep the last one's
            engine.state.metrics.pop(name, None)

    def _count(self, engine: Any) -> None:
        output, batch = engine.state.output, engine.state.batch
        if isinstance(output, Mapping):
            logits, labels, groups = output["pred"], output.get("label"), groups_of(batch, self.group_key)
        else:  # decollated into one item a sample
            logits = torch.stack([as_plain(item["pred"]) for item in output])
            found = [item.get("label") for item in output]
            labels = None if None in found else torch.stack([torch.as_tensor(label) for label in found])
            sites = [item.get(self.group_key) for item in batch]
            batch = {self.group_key: sites} if None not in sites else {}
            groups = groups_of(batch, self.group_key)
        if labels is not None:
            labels = as_plain(labels).reshape(-1)
            self.metric(logits, labels, groups.to(labels.device))
        if self.keep_predictions:
            self._kept.append(_columns(engine.state.batch, logits, labels, groups, self.metric.from_logits))

    def _publish(self, engine: Any, name: str | None) -> None:
        self.report = self.metric.aggregate()
        figures = report_metrics(self.report, self.slugs)
        if name is not None and name not in figures:
            figures[name] = float("inf")  # no estimate is worse than any: it must not become the best model
        self._published = tuple(figures)
        engine.state.metrics.update(figures)


def report_metrics(report: GroupReport, slugs: Sequence[str]) -> dict[str, float]:
    """The figures of a binary report under the names of a run's metrics; what has no estimate is left out.

    >>> from fairpool.metrics import group_report
    >>> report_metrics(group_report(torch.tensor([[[1, 1], [0, 2]], [[0, 0], [1, 1]]])), ["a", "b"])["fnr/b"]
    0.5
    """
    figures = {"error": report.overall_error, "balanced_error": report.balanced_error}
    figures |= {gap: getattr(report, gap) for gap in _GAPS}
    for rate in ("error", "fnr", "fpr", "fdr", "selection_rate"):
        values: list[float] = getattr(report, rate).tolist()
        figures |= {f"{rate}/{slug}": value for slug, value in zip(slugs, values, strict=True)}
    return {name: value for name, value in figures.items() if not isnan(value)}


def _columns(
    batch: Any, logits: Tensor, labels: Tensor | None, groups: Tensor, from_logits: bool
) -> dict[str, list[Any]]:
    logits = as_plain(logits).detach().float()
    if logits.ndim == 2 and logits.shape[1] > 1:
        probabilities = (logits.softmax(dim=1) if from_logits else logits)[:, 1]
    else:
        probabilities = logits.reshape(-1).sigmoid() if from_logits else logits.reshape(-1)
    columns: dict[str, list[Any]] = {"site": groups.tolist(), "probability": probabilities.tolist()}
    if labels is not None:
        columns["label"] = labels.long().tolist()
    for key in ("patient", "row"):
        values = batch.get(key) if isinstance(batch, Mapping) else [item.get(key) for item in batch]
        if values is not None and not (isinstance(values, list) and None in values):
            columns[key] = torch.as_tensor(values).tolist()
    return columns
