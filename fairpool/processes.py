"""Several processes that train together: which one this is, and what they tell each other.

A process that torchrun has started is a worker: its environment says how many there are and which one it is. Only the
first talks and writes; the others do the same work on their share of the data.
"""

import json
import os
import re
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import torch
from torch import distributed

from fairpool.errors import NAMED, text_of
from fairpool.interruption import INTERRUPTED

__all__ = [
    "LAUNCHER",
    "LOST",
    "check_batch_size",
    "from_first",
    "gathered",
    "is_first",
    "is_worker",
    "joined",
    "local_device",
    "rank",
    "wait_for_all",
    "world_size",
]

LAUNCHER = "FAIRPOOL_LAUNCHER"
"""Environment variable with the process id of the `fairpool` that started the workers; absent under torchrun alone."""

LOST = "the connection to another process was lost"
"""How a worker's sentence begins that failed because another one did, or because it never reached it."""

Result = TypeVar("Result")

_OF_TORCHRUN = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_OF_TRANSPORT = re.compile(r"\[[^\]]*\bgloo/|\bNCCL\b")  # in the text of what these raise
_PATIENCE = timedelta(days=30)  # the others wait while the first reads images or draws the summary
_GRACE = 5.0  # seconds that a worker which lost another one waits for its own end, so that the other's error is told
_control: Any = None  # a gloo group for objects and for long waits, beside the one of the tensors


def is_worker() -> bool:
    """Whether torchrun has started this process, so that others train with it."""
    return os.environ.keys() >= _OF_TORCHRUN


def world_size() -> int:
    """Number of processes that train together; 1 without a process group."""
    return distributed.get_world_size() if _is_joined() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if _is_joined() else 0


def is_first() -> bool:
    """Whether this process is the one that talks and writes."""
    return rank() == 0


def from_first(make: Callable[[], Result]) -> Result:
    """What the first process makes, in all of them; they wait for it, however long it takes.

    Args:
        make: called in the first process alone. What it returns is pickled, and stays as it is in the first.
    """
    if world_size() == 1:
        return make()
    box = [make() if is_first() else None]
    distributed.broadcast_object_list(box, src=0, group=_control)
    return box[0]  # type: ignore[return-value]


def gathered(part: Any) -> list[Any] | None:
    """The parts of all processes by rank, in the first; None in the others."""
    if world_size() == 1:
        return [part]
    parts: list[Any] | None = [None] * world_size() if is_first() else None
    distributed.gather_object(part, parts, dst=0, group=_control)
    return parts


def wait_for_all() -> None:
    """Return when every process has called this, however long it takes."""
    if world_size() > 1:
        distributed.barrier(group=_control)


def check_batch_size(size: Any, number: int) -> None:
    """Refuse a batch size, that of the whole, which so many processes cannot share evenly; what is no number passes.

    Raises:
        ValueError: with both.
    """
    if isinstance(size, int) and size % number:
        raise ValueError(
            f"batch_size is {size}, that of the whole, and cannot be shared evenly by {number} processes: choose a "
            f"multiple of {number}."
        )


def local_device() -> torch.device:
    """The GPU of this process, by its place on its machine; the CPU where there is none."""
    return torch.device("cuda", _local_rank()) if torch.cuda.is_available() else torch.device("cpu")


@contextmanager
def joined() -> Iterator[None]:
    """In a worker, what is done together: begins the process group, and ends the process with it.

    All but the first are silent. A failure is one sentence: handed to the `fairpool` that started the workers, or,
    under torchrun alone, printed and handed to torchrun. A process that is no worker passes through.

    Raises:
        ValueError: the machine has fewer GPUs than processes.
    """
    if not is_worker():
        yield
        return
    stderr = sys.stderr
    if int(os.environ["RANK"]):
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  (until the process ends)
        warnings.simplefilter("ignore")
    try:
        _join()
        yield
        wait_for_all()  # nobody leaves while another may still ask for something
    except BaseException as error:  # noqa: BLE001  (whatever it is, the process ends with it)
        for sign in (signal.SIGINT, signal.SIGTERM):  # told to end while it reports, it has nothing more to say
            signal.signal(sign, lambda number, _: os._exit(128 + number))
        _leave(_report(error, stderr))
    _leave(0)


def _join() -> None:
    """Begin the process group: nccl on GPUs, gloo elsewhere."""
    global _control
    if LAUNCHER in os.environ:
        threading.Thread(target=_end_with, args=(int(os.environ[LAUNCHER]),), daemon=True).start()
    has_gpus = torch.cuda.is_available()
    if has_gpus:
        if (number := torch.cuda.device_count()) <= _local_rank():
            raise ValueError(
                f"this machine has {number} GPU{'s' if number > 1 else ''} for {os.environ['LOCAL_WORLD_SIZE']} "
                "processes: start one process a GPU."
            )
        torch.cuda.set_device(_local_rank())
    distributed.init_process_group("nccl" if has_gpus else "gloo")
    _control = distributed.new_group(backend="gloo", timeout=_PATIENCE)


def _report(error: BaseException, stderr: Any) -> int:
    """Say what ended this worker; returns its status."""
    if isinstance(error, KeyboardInterrupt):
        if LAUNCHER not in os.environ and os.environ["RANK"] == "0":
            print(INTERRUPTED, file=stderr)
        return 130
    status = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", None)
    if isinstance(status, int):  # of sys.exit and of typer: all is said
        return status
    if os.environ.get("FAIRPOOL_TRACEBACK") or not isinstance(error, NAMED):
        traceback.print_exception(error, file=stderr)
    is_lost = _is_loss_of_another(error)
    sentence = f"{LOST} ({_sentence(error)})" if is_lost else _sentence(error)
    if is_lost:
        time.sleep(_GRACE)  # who began it is found first, and ends this process
    if file := os.environ.get("TORCHELASTIC_ERROR_FILE"):
        about = {"message": sentence, "extraInfo": {"timestamp": str(int(time.time()))}}
        with open(file, "w", encoding="utf-8") as out:
            json.dump({"message": about}, out)
    if LAUNCHER not in os.environ:
        print(f"fairpool: process {os.environ['RANK']}: {sentence}", file=stderr)
    return 1


def _sentence(error: BaseException) -> str:
    from fairpool.tracking import without_password

    return without_password(" ".join(text_of(error).split())) or type(error).__name__


def _is_loss_of_another(error: BaseException | None) -> bool:
    while error is not None:
        is_of_transport = isinstance(error, RuntimeError) and _OF_TRANSPORT.search(str(error))
        if isinstance(error, distributed.DistError) or is_of_transport:
            return True
        error = error.__cause__
    return False


def _leave(status: int) -> NoReturn:
    """End this process at once.

    Gloo's threads may still hold Python objects, and on torch 2.13 abort an interpreter that is shutting down
    (pytorch/pytorch#179291); and a peer of one that failed must not be waited for.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _end_with(launcher: int) -> None:
    """End this process when the one that started it is gone: killed, it cannot end its workers itself."""
    while os.getppid() == launcher:
        time.sleep(0.5)
    os._exit(1)


def _local_rank() -> int:
    return int(os.environ["LOCAL_RANK"])


def _is_joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
