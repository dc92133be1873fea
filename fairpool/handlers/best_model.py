"""The handler that keeps the weights of the best validation."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairpool.processes import is_first
from fairpool.whole_file import write_whole

__all__ = ["BestModel"]


class BestModel:
    """Writes the network's ``state_dict`` whenever a validation is the best so far by the evaluator's key metric.

    The file is written whole or not at all, unlike those of MONAI's `CheckpointSaver`, and an evaluator that
    `ExactResume` has given back its best metric goes on from it. Of several processes the first writes. A file that
    cannot be written, such as on a full disk, does not end the training: it is tried again after the next validation.

    Args:
        file: takes the weights.
        network: that is validated.
        note: takes a sentence when the file could not be written.
    """

    def __init__(self, file: str | Path, network: nn.Module, note: Callable[[str], None] = lambda _: None) -> None:
        self.file, self.network, self.note = Path(file), network, note
        self._unwritten: bytes | None = None

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedEvaluator` with a ``key_val_metric``."""
        from ignite.engine import Events

        engine.add_event_handler(Events.COMPLETED, self._save_if_best)

    def _save_if_best(self, engine: Any) -> None:
        if not is_first():
            return
        if engine.state.best_metric_epoch == engine.state.epoch:
            content = io.BytesIO()
            torch.save({name: value.detach().cpu() for name, value in self.network.state_dict().items()}, content)
            self._unwritten = content.getvalue()
        if self._unwritten is None:
            return
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, self._unwritten)
        except OSError as error:
            self.note(f"the best weights could not be written ({error.strerror}); the training goes on.")
        else:
            self._unwritten = None
