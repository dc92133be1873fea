"""The handler that lets an interrupted training go on as if it had not been interrupted."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fairpool.processes import from_first, gathered, is_first, rank, world_size
from fairpool.random_state import random_state, restore_order, restore_random_state
from fairpool.saved_states import check_readable, load_newest, remove_states, save_state

__all__ = ["ExactResume"]


class ExactResume:
    """Saves the whole state of a training after each epoch, and begins with the newest one that is there.

    Interrupted and started again, a training on a CPU ends with the same bits as an uninterrupted one: beside the
    objects given, a state holds the engines' epoch and best metric, the AMP scaler, and every source of chance (torch,
    NumPy, Python, the loader's generators, MONAI's random transforms). It is saved as the last thing of an epoch, after
    handlers that were attached later; at most the epoch that was cut off is trained again.

    A state is written whole or not at all and has its checksum in its name. Of ``n_saved`` states the newest that is
    whole is taken. The states hold tensors, numbers and text alone, and are read with ``weights_only=True``.

    With another number of worker processes, with workers that outlast an epoch (``persistent_workers``), on a GPU
    without deterministic kernels, or with random transforms of other libraries the training goes on too, but not bit
    for bit. An epoch's middle is no place to go on from.

    Of several processes that train together the first writes and reads, and a state holds the chance of each. Another
    number of processes goes on in the same order of images, with other random transforms and dropout: that is noted.

    Args:
        folder: takes the states; one training's own.
        objects: what has a ``state_dict``: network, optimizer, scheduler, loss, averaged weights, sampler; those that
            are None are left out.
        loader: the training loader.
        evaluator: the engine that validates, whose best metric decides which weights are kept as the best.
        resume: begin with a state that is there; if not, the training begins anew and replaces it.
        n_saved: how many states are kept.
        note: takes a sentence on where the training goes on, on a damaged state, and on one that could not be written,
            which does not end the training.
    Attributes:
        seconds: of training so far, those before interruptions included.
    Raises (from the engine's run):
        RuntimeError: the state is of another configuration.
        TypeError: an object's ``state_dict`` could not be read back.

    >>> network = nn.Linear(2, 2)
    >>> handlers = [ExactResume("/tmp/run", {"network": network})]
    """

    def __init__(
        self,
        folder: str | Path,
        objects: Mapping[str, Any],
        *,
        loader: Any = None,
        evaluator: Any = None,
        resume: bool = True,
        n_saved: int = 2,
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.folder = Path(folder)
        self.objects = {name: part for name, part in objects.items() if part is not None}
        self.resume = resume
        self.seconds, self._start_time, self._is_checked = 0.0, 0.0, False
        self.loader, self.evaluator, self.n_saved, self.note = loader, evaluator, n_saved, note

    def attach(self, engine: Any) -> None:
        """Register on a `SupervisedTrainer`, or on any ignite engine."""
        from ignite.engine import Events

        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._begin_epoch)

    @staticmethod
    def _begin_epoch(engine: Any) -> None:
        """A fresh iterator; asking a used one for more may draw from the loader's generator, a resumed run has none."""
        engine.set_data(engine.state.dataloader)

    def _start(self, engine: Any) -> None:
        from ignite.engine import Events

        self.seconds, self._start_time = 0.0, time.monotonic()
        # Only now, so that it comes after all others at the epoch's end, whoever attached them later.
        if not engine.has_event_handler(self._save, Events.EPOCH_COMPLETED):
            engine.add_event_handler(Events.EPOCH_COMPLETED, self._save)
        if not self.resume:
            from_first(lambda: remove_states(self.folder))
            return
        state, damaged = from_first(lambda: load_newest(self.folder))
        if damaged:
            self.note(
                f"{', '.join(damaged)} {'is' if len(damaged) == 1 else 'are'} damaged; the training "
                + ("begins anew." if state is None else f"goes on after epoch {state['epoch']}, from the state before.")
            )
        if state is not None:
            self._load(engine, state)
            if not damaged:
                self.note(f"the training goes on after epoch {state['epoch']} of {engine.state.max_epochs}.")

    def _load(self, engine: Any, state: dict[str, Any]) -> None:
        if state["objects"].keys() != self.objects.keys():
            raise RuntimeError(
                f"the saved state is of another configuration: it has {', '.join(state['objects'])}, and this has "
                f"{', '.join(self.objects)}. Use another folder, or remove the states."
            )
        for name, part in self.objects.items():
            part.load_state_dict(state["objects"][name])
            if isinstance(part, nn.Module):
                _load_buffers(part, state["buffers"][name])
        engine.state.epoch, engine.state.iteration = state["epoch"], state["iteration"]
        if state["epoch_length"] is not None:
            engine.state.epoch_length = state["epoch_length"]
        if self.evaluator is not None:
            for name, value in state["best"].items():
                setattr(self.evaluator.state, name, value)
        scaler = getattr(engine, "scaler", None)
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])
        self.seconds = state["seconds"]
        self._start_time -= self.seconds
        self._restore_chance(state["chance"])

    def _restore_chance(self, chances: list[dict[str, Any]]) -> None:
        """Of a process, or of another number of them the order of the images alone."""
        if len(chances) == world_size():
            restore_random_state(chances[rank()], self.loader)
            return
        restore_order(chances[0], self.loader)
        self.note(
            f"the saved state is of {len(chances)} process{'es' if len(chances) > 1 else ''} and this training has "
            f"{world_size()}: it goes on, but not bit for bit."
        )

    def _save(self, engine: Any) -> None:
        self.seconds = time.monotonic() - self._start_time
        chances = gathered(random_state(self.loader))
        if not is_first():
            return
        scaler = getattr(engine, "scaler", None)
        modules = {name: part for name, part in self.objects.items() if isinstance(part, nn.Module)}
        states = {name: part.state_dict() for name, part in self.objects.items()}
        if not self._is_checked:
            check_readable(states)
            self._is_checked = True
        state = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "epoch_length": engine.state.epoch_length,
            "objects": states,
            "buffers": {name: _transient_buffers(part) for name, part in modules.items()},
            "best": {} if self.evaluator is None else _best(self.evaluator),
            "scaler": None if scaler is None else scaler.state_dict(),
            "seconds": self.seconds,
            "chance": chances,
        }
        try:
            save_state(self.folder, state, engine.state.epoch, n_saved=self.n_saved)
        except OSError as error:
            self.note(
                f"the state of epoch {engine.state.epoch} could not be written ({error.strerror}); the training goes "
                "on, and if it is interrupted, it will be from an earlier epoch."
            )


def _transient_buffers(module: nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that ``state_dict`` leaves out, such as counts of a training so far."""
    kept = module.state_dict().keys()
    return {name: buffer for name, buffer in module.named_buffers() if name not in kept}


def _load_buffers(module: nn.Module, saved: Mapping[str, torch.Tensor]) -> None:
    for name, buffer in module.named_buffers():
        if name in saved:
            buffer.copy_(saved[name])


def _best(evaluator: Any) -> dict[str, Any]:
    """Which validation was the best so far, as plain numbers."""
    state = evaluator.state
    metric = state.best_metric
    return {
        "best_metric": metric if isinstance(metric, int) else float(metric),
        "best_metric_epoch": int(state.best_metric_epoch),
    }
