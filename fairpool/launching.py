"""Start the workers of one machine: `fairpool` itself, several times, by torchrun's own agent."""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fairpool.data.counted import counted
from fairpool.processes import LAUNCHER, LOST, check_batch_size, is_worker

if TYPE_CHECKING:
    from fairpool.study import Study

__all__ = ["check_sharing", "launch"]


def check_sharing(study: "Study", number: int) -> None:
    """Refuse a number of processes that cannot share the study's batches, or this machine's GPUs or cores.

    Raises:
        ValueError: see above.
    """
    if number == 1:
        return
    if "device" in study.overrides:
        raise ValueError("with several processes each has a device of its own: leave out device=.")
    keys = study.bundle.keys(study.methods, study.overlays)
    for method in study.methods:
        check_batch_size({**keys[method], **study.overrides}.get("batch_size"), number)
    if is_worker():
        return
    import torch

    places, name = (torch.cuda.device_count(), "GPU") if torch.cuda.is_available() else (_num_cores(), "core")
    if places < number:
        raise ValueError(
            f"--nproc is {number}, and this machine has {counted(places, name)}: start at most one process a {name}."
        )


def launch(number: int, arguments: Sequence[str]) -> None:
    """Run ``fairpool`` with these arguments in so many processes, as ``torchrun --standalone`` would, until all end.

    A worker that fails ends the others. Ctrl-C and SIGTERM end all.

    Args:
        number: of processes.
        arguments: of the command line, those that started this process.
    Raises:
        RuntimeError: a worker failed; the message is its own sentence.
        KeyboardInterrupt: this process was told to end, and its workers have ended.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    for name in list(logging.root.manager.loggerDict):  # each has a level of its own; what they say, this process says
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, _num_cores() // number)))
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # one machine, whatever its name resolves to
    handlers = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    with tempfile.TemporaryDirectory(prefix="fairpool-workers-") as folder:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=number,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="127.0.0.1:0",
            local_addr="127.0.0.1",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=folder),
        )
        try:
            # As this process does, or does not, import what lies in the working folder.
            isolation = [] if {"", os.getcwd()} & set(sys.path) else ["-P"]
            elastic_launch(config, sys.executable)(*isolation, "-m", "fairpool", *arguments)
        except ChildFailedError as error:
            raise RuntimeError(_sentence(error)) from error
        except SignalException as error:
            raise KeyboardInterrupt from error
        finally:
            for sign, handler in handlers.items():
                signal.signal(sign, handler)


def _num_cores() -> int:
    """Cores that this process may use, which a scheduler may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _sentence(error: Any) -> str:
    """The sentence of the worker that failed by itself, not of one that lost it."""
    failures = sorted(error.failures.items(), key=lambda item: (_message(item[1]).startswith(LOST), item[1].timestamp))
    rank, failure = failures[0]
    if failure.exitcode < 0:
        name = signal.Signals(-failure.exitcode).name
        hint = "; it may have needed more memory than there is" if failure.exitcode == -signal.SIGKILL else ""
        return f"process {rank} of the training was ended by the signal {name}{hint}. The same command continues."
    return _message(failure)


def _message(failure: Any) -> str:
    message = failure.message
    return str(message["message"]) if isinstance(message, dict) else f"a process ended with status {failure.exitcode}."
