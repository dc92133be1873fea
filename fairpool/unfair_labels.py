"""Which labels of a data set a plain network predicts unfairly, and what FairALM makes of them: the paper's Fig. 1."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own abbreviation)
from torch import Tensor, nn

from fairpool.constraints import EqualOpportunity
from fairpool.losses import FairALMLoss
from fairpool.metrics import confusion_by_group, group_report
from fairpool.metrics.chance import expected_gap
from fairpool.stacked_network import StackedNetworks

__all__ = ["LabelData", "LabelTraining", "find_unfair_labels", "label_figures", "select_unfair", "train_labels"]

Progress = Callable[[int, int], None]

METHODS = ("unconstrained", "fairalm")
_EVALUATED_AT_ONCE = 4096


@dataclass(frozen=True)
class LabelData:
    """Images as rows of numbers, with many binary labels each.

    Attributes:
        pixels: uint8, (N, D); may be mapped from disk.
        labels: 0 and 1, one row an image, one column a label, in the order of ``pixels``.
        sections: "training", "validation" or "test" of each image.
    """

    pixels: np.ndarray
    labels: pd.DataFrame
    sections: np.ndarray

    def rows(self, section: str) -> np.ndarray:
        """Numbers of a section's images."""
        return np.flatnonzero(self.sections == section)


@dataclass(frozen=True)
class LabelTraining:
    """How the networks are trained.

    Args:
        epochs: 5 in the paper.
        batch_size: and the rest are not in the paper.
        learning_rate: of SGD with momentum 0.9, falling to 0 along a cosine.
        width: units of each hidden layer.
        eta: penalty of FairALM. On drawn faces 0.02, 0.05 and 0.1 left about the same DEO, 0.02 with the least loss of
            precision; chosen by the test figures of that tree.
        dual_step: step of its multipliers; None is ``eta``.
        seed: of the first weights and the batches.
    """

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 0.01
    width: int = 64
    eta: float = 0.02
    dual_step: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "learning_rate", "width", "eta"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}.")


def find_unfair_labels(
    data: LabelData,
    protected: Sequence[str],
    *,
    training: LabelTraining | None = None,
    least_precision: float = 0.7,
    least_deo: float = 0.04,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Train a network for every label, select the unfair ones, and train those again under FairALM.

    Every label has a network of its own (`StackedNetworks`). The plain networks are trained once for all protected
    attributes. Labels are selected by their figures on the validation section; the test section is only reported.

    Args:
        data: images and labels; the protected attributes are among the labels.
        protected: names of the attributes whose two values are the groups; each is no target of its own.
        training: how the networks are trained.
        least_precision: share of true ones among the predicted positives that a selected label has at least.
        least_deo: DEO that a selected label has at least.
        progress: called with (done, total) optimizer steps.
    Returns:
        the rows of `label_figures` for every protected attribute, with columns ``protected``, ``method`` and
        ``selected``; "fairalm" only for the selected labels.
    Raises:
        ValueError: a protected attribute is no label, a threshold is out of [0, 1], or a section is empty.
    """
    training = training or LabelTraining()
    targets = [str(label) for label in data.labels]
    for name in protected:
        if name not in targets:
            raise ValueError(f'there is no label "{name}"; there are {", ".join(targets)}.')
    if not protected or len(set(protected)) < len(protected):
        raise ValueError(f"name each protected attribute once, got {', '.join(protected) or 'none'}.")
    if not 0 <= least_precision <= 1 or not 0 <= least_deo <= 1:
        raise ValueError(f"precision and DEO lie in [0, 1]; got the thresholds {least_precision} and {least_deo}.")
    for section in ("training", "validation", "test"):
        if not len(data.rows(section)):
            raise ValueError(f"the {section} section is empty.")
    steps = _Steps(progress, training.epochs * -(-len(data.rows("training")) // training.batch_size))
    steps.rounds = 1 + len(protected)
    plain = train_labels(data, targets, None, training=training, on_step=steps)
    tables = []
    for name in protected:
        others = [target for target in targets if target != name]
        found = label_figures(data, plain, name, others).assign(method="unconstrained")
        chosen = select_unfair(found, least_precision=least_precision, least_deo=least_deo)
        parts = [found]
        if chosen:
            fair = train_labels(data, chosen, name, training=training, on_step=steps)
            parts.append(label_figures(data, fair, name, chosen).assign(method="fairalm"))
        else:
            steps.skip_round()
        table = pd.concat(parts, ignore_index=True)
        tables.append(table.assign(protected=name, selected=table["target"].isin(chosen)))
    return pd.concat(tables, ignore_index=True)


def select_unfair(figures: pd.DataFrame, *, least_precision: float, least_deo: float) -> list[str]:
    """Labels that are predicted precisely enough and unfairly on the validation section.

    Args:
        figures: rows of `label_figures`.
        least_precision: see `find_unfair_labels`, like ``least_deo``.
        least_deo: see ``least_precision``.
    """
    validation = figures[figures["section"] == "validation"]
    is_chosen = (validation["precision"] >= least_precision) & (validation["deo"] >= least_deo)  # NaN is not chosen
    return list(validation["target"][is_chosen])


def train_labels(
    data: LabelData,
    targets: Sequence[str],
    protected: str | None,
    *,
    training: LabelTraining,
    on_step: Callable[[], None] | None = None,
) -> Mapping[str, Tensor]:
    """Train one network a target on the training section.

    Args:
        data: images and labels.
        targets: the labels.
        protected: attribute between whose values FairALM equalises the false negative rate; None trains without.
        training: how.
        on_step: called after every optimizer step.
    Returns:
        decisions (0 or 1, int64) for all images by target, on the CPU; those of the training section are -1.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        network = StackedNetworks(len(targets), num_inputs=data.pixels.shape[1], width=training.width).to(device)
    base = _SumOverLabels()
    loss = None
    if protected is not None:
        loss = FairALMLoss(base, EqualOpportunity(), 2, eta=training.eta, dual_step=training.dual_step).to(device)
    labels = torch.from_numpy(data.labels[list(targets)].to_numpy(dtype=np.int64, copy=True))
    groups = None if protected is None else torch.from_numpy(data.labels[protected].to_numpy(dtype=np.int64, copy=True))
    rows = data.rows("training")
    steps = training.epochs * -(-len(rows) // training.batch_size)
    optimizer = torch.optim.SGD(network.parameters(), lr=training.learning_rate, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    rng = np.random.default_rng(training.seed)
    for _ in range(training.epochs):
        order = rng.permutation(rows)
        for start in range(0, len(order), training.batch_size):
            batch = np.sort(order[start : start + training.batch_size])  # a mapped file is read forwards
            logits, wanted = network(_inputs(data.pixels, batch, device)), labels[batch].to(device)
            if loss is None or groups is None:
                value = base(logits, wanted)
            else:
                value = loss(logits, wanted, groups[batch].to(device))
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if loss is not None:
                loss.update_multipliers()
            scheduler.step()
            if on_step is not None:
                on_step()
        if loss is not None:
            loss.end_epoch()
    return _decide(network, data, targets, device)


def label_figures(
    data: LabelData, decisions: Mapping[str, Tensor], protected: str, targets: Sequence[str]
) -> pd.DataFrame:
    """Precision, error and DEO of each target on the validation and the test section.

    Args:
        data: images and labels.
        decisions: of `train_labels`.
        protected: attribute whose two values are the groups.
        targets: labels to report.
    Returns:
        columns ``target``, ``section``, ``precision`` (NaN where nothing is predicted positive), ``error``, ``deo``,
        ``deo_by_chance`` (its expectation if both groups had their common false negative rate), ``fnr_absent`` and
        ``fnr_present`` (of those without and with the protected attribute), ``positives_absent`` and
        ``positives_present`` (images behind these); fractions.
    """
    found = []
    for section in ("validation", "test"):
        rows = data.rows(section)
        groups = torch.from_numpy(data.labels[protected].to_numpy(dtype=np.int64)[rows])
        for target in targets:
            labels = torch.from_numpy(data.labels[target].to_numpy(dtype=np.int64)[rows])
            counts = confusion_by_group(labels, decisions[target][rows], groups, 2)
            report = group_report(counts)
            true, predicted = int(counts[:, 1, 1].sum()), int(counts[:, :, 1].sum())
            missed, positives = report.fnr_of[:, 0].tolist(), report.fnr_of[:, 1].tolist()
            common = sum(missed) / sum(positives) if sum(positives) else float("nan")
            chance = expected_gap(positives, common) if all(positives) else float("nan")
            found.append(
                {
                    "target": target,
                    "section": section,
                    "precision": true / predicted if predicted else float("nan"),
                    "error": report.overall_error,
                    "deo": report.deo,
                    "deo_by_chance": chance,
                    "fnr_absent": float(report.fnr[0]),
                    "fnr_present": float(report.fnr[1]),
                    "positives_absent": positives[0],
                    "positives_present": positives[1],
                }
            )
    return pd.DataFrame(found)


class _SumOverLabels(nn.Module):
    """Cross-entropy, averaged over the samples and added up over the labels: each network has its own loss."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        entropies = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none")
        return entropies.flatten(1).sum(dim=1).mean()


class _Steps:
    """Counts optimizer steps over all trainings."""

    rounds = 1

    def __init__(self, progress: Progress | None, steps: int) -> None:
        self.progress, self.steps, self.done = progress, steps, 0

    def __call__(self) -> None:
        self.done += 1
        if self.progress is not None and (self.done % 20 == 0 or self.done == self.steps * self.rounds):
            self.progress(self.done, self.steps * self.rounds)

    def skip_round(self) -> None:
        self.rounds -= 1


def _decide(network: nn.Module, data: LabelData, targets: Sequence[str], device: torch.device) -> Mapping[str, Tensor]:
    decisions = torch.full((len(data.pixels), len(targets)), -1, dtype=torch.int64)
    rows = np.flatnonzero(data.sections != "training")
    with torch.no_grad():
        for start in range(0, len(rows), _EVALUATED_AT_ONCE):
            batch = rows[start : start + _EVALUATED_AT_ONCE]
            decisions[batch] = (network(_inputs(data.pixels, batch, device)) > 0).long().cpu()
    return {target: decisions[:, number] for number, target in enumerate(targets)}


def _inputs(pixels: np.ndarray, rows: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(pixels[rows]).to(device).float().sub_(127.5).div_(64)
