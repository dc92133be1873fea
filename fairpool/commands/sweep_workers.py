"""Several processes of ``fairpool sweep``, which end with the one that started them."""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from fairpool import interruption

if TYPE_CHECKING:
    from fairpool.sweep import Sweep

__all__ = ["run_in_processes"]


def run_in_processes(sweep: "Sweep", fingerprint: str, trials: int, jobs: int) -> None:
    """Carry out trials in several processes; returns once all have ended.

    Args:
        sweep: what is tried.
        fingerprint: of its data.
        trials: how many in all.
        jobs: number of processes; each gets an equal share of this process's threads.
    Raises:
        ConnectionError, RuntimeError: a process failed, or was killed; the others went on to the end.
    """
    import torch

    context = multiprocessing.get_context("spawn")  # a forked process has the parent's threads and store connections
    threads = max(1, torch.get_num_threads() // jobs)
    processes, answers = [], []
    for _ in range(jobs):
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(sweep, fingerprint, trials, threads, sender))
        process.start()
        sender.close()
        processes.append(process)
        answers.append(receiver)
    try:
        failures = [_answer(receiver) for receiver in answers]
        for process in processes:
            process.join()
    except BaseException:
        for process in processes:
            process.terminate()
        for process in processes:
            process.join()
        raise
    for failure in filter(None, failures):
        raise failure


def _answer(receiver: Connection) -> Exception | None:
    """How a process ended: None for well, else its error. It closes its end, or the system does for it."""
    try:
        answer: Exception | None = receiver.recv()
    except EOFError:
        return RuntimeError("a process of the sweep was killed; the same command continues.")
    return answer


def _work(sweep: "Sweep", fingerprint: str, trials: int, threads: int, sender: Connection) -> None:
    import torch

    from fairpool.commands.outcome import quieten
    from fairpool.sweep import run_trials
    from fairpool.sweep_progress import TrialLines
    from fairpool.tracking import SpoolingClient

    interruption.install()
    _end_with_parent()
    quieten()
    torch.set_num_threads(threads)
    try:
        lines = TrialLines()
        with SpoolingClient(sweep.study.tracking_uri, sweep.study.bundle.name, lines.note) as client:
            run_trials(sweep, fingerprint, trials, client, lines)
    except KeyboardInterrupt:
        sender.send(RuntimeError("a process of the sweep was interrupted; the same command continues."))
    except OSError as error:
        sender.send(ConnectionError(str(error)))
    except (ValueError, RuntimeError) as error:
        sender.send(RuntimeError(str(error)))
    else:
        sender.send(None)


def _end_with_parent() -> None:
    """Interrupt this process when the one that started it is gone, even killed: nobody would end it otherwise."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, daemon=True).start()
