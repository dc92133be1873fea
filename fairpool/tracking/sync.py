"""Send what runs have kept on disk while their tracking store was away."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fairpool.tracking.delivery import deliver
from fairpool.tracking.spool import SPOOL_NAME, Spool
from fairpool.tracking.store import StoreAwayError, naming_store_failures, open_experiment, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Synced", "sync_folder"]


@dataclass
class Synced:
    """What `sync_folder` did.

    Attributes:
        runs: runs that had something to send.
        entries: how much of it arrived.
        notes: one sentence for each run that another process is at work on, and each entry that MLflow refuses.
    """

    runs: int = 0
    entries: int = 0
    notes: list[str] = field(default_factory=list)


def sync_folder(output_dir: Path, tracking_uri: str | None = None) -> Synced:
    """Send the evidence of all runs below a folder that their stores lack.

    Args:
        output_dir: ``--output`` of the runs.
        tracking_uri: takes all of them; None sends each to the store that it was meant for. An address with a user name
            and password is kept without them, so it must be given again.
    Raises:
        FileNotFoundError: the folder is not there, or no run in it kept evidence.
        ConnectionError: a store cannot be reached, or a run cannot be sent; the others were, and what arrived is not
            sent again.
    """
    folders = sorted(file.parent for file in output_dir.rglob(SPOOL_NAME)) if output_dir.is_dir() else []
    if not folders:
        raise FileNotFoundError(
            f'the folder "{output_dir.name}" holds no evidence of runs: give the --output of `fairpool run`.'
        )
    done = Synced()
    stores: dict[tuple[str, str], tuple[MlflowClient, str]] = {}
    away: set[tuple[str, str]] = set()
    failure: ConnectionError | None = None
    for folder in folders:
        try:
            spool = Spool(folder)
        except ConnectionError as error:
            done.notes.append(str(error))
            continue
        try:
            where = (tracking_uri or str(spool.store), spool.about["experiment"])
            spool.aim_at(without_password(where[0]))
            if (waiting := spool.num_waiting) == 0 or where in away:
                continue
            with naming_store_failures(where[0]):
                if where not in stores:
                    stores[where] = open_experiment(*where)
                refusals = deliver(spool, *stores[where])
            done.notes += refusals
            done.runs += 1
            done.entries += waiting - len(refusals)
        except ConnectionError as error:
            failure = failure or error
            if where not in stores or isinstance(error, StoreAwayError):
                away.add(where)
        except (OSError, ImportError) as error:  # a file of the run, or what its place of artifacts needs
            failure = failure or ConnectionError(f'the evidence in "{folder.name}" cannot be sent: {error}')
        finally:
            spool.close()
    if failure is not None:
        raise failure
    return done
