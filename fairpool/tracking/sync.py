"""Send what runs have kept on disk while their tracking store was away."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fairpool.tracking.delivery import deliver
from fairpool.tracking.spool import SPOOL_NAME, Spool
from fairpool.tracking.store import naming_store_failures, open_experiment, without_password

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["Synced", "sync_folder"]


@dataclass
class Synced:
    """What `sync_folder` did.

    Attributes:
        runs: runs of which all arrived that was missing.
        entries: how much of it arrived.
        notes: one sentence for each run that another process is at work on or that cannot be read, and each entry that
            MLflow refuses.
        failure: the first trouble with a store, or with the evidence of a run, which waits; None if there was none.
    """

    runs: int = 0
    entries: int = 0
    notes: list[str] = field(default_factory=list)
    failure: ConnectionError | None = None


def sync_folder(output_dir: Path, tracking_uri: str | None = None) -> Synced:
    """Send the evidence of all runs below a folder that their stores lack; one that cannot be sent holds up no other.

    Args:
        output_dir: ``--output`` of the runs.
        tracking_uri: takes all of them; None sends each to the store that it was meant for. An address with a user name
            and password is kept without them, so it must be given again.
    Raises:
        FileNotFoundError: the folder is not there, or no run in it kept evidence.
    """
    folders = sorted(file.parent for file in output_dir.rglob(SPOOL_NAME)) if output_dir.is_dir() else []
    if not folders:
        raise FileNotFoundError(
            f'the folder "{output_dir.name}" holds no evidence of runs: give the --output of `fairpool run`.'
        )
    done = Synced()
    stores: dict[tuple[str, str], tuple[MlflowClient, str]] = {}
    away: set[tuple[str, str]] = set()
    for folder in folders:
        try:
            spool = Spool(folder)
        except (ConnectionError, FileNotFoundError) as error:
            done.notes.append(str(error))
            continue
        where = (tracking_uri or str(spool.store), str(spool.about.get("experiment")))
        address = without_password(where[0])
        try:
            if where in away or (address == spool.store and not spool.num_waiting):
                continue
            with naming_store_failures(where[0]):
                stores[where] = stores.get(where) or open_experiment(*where)
                spool.aim_at(address)  # only now: one that is away and was misspelt is to be forgotten
                waiting = spool.num_waiting
                refusals = deliver(spool, *stores[where])
            done.notes += refusals
            done.runs += 1
            done.entries += waiting - len(refusals)
        except Exception as error:  # noqa: BLE001  (whatever a store or its place of artifacts raises)
            done.failure = done.failure or _named(error, folder.name)
            if stores.pop(where, None) is None:
                away.add(where)
        finally:
            spool.close()
    return done


def _named(error: Exception, name: str) -> ConnectionError:
    if isinstance(error, ConnectionError) and error.errno is None:  # one of ours
        return error
    reason = getattr(error, "strerror", None) or type(error).__name__  # its text may hold a path
    failure = ConnectionError(f'the evidence in "{name}" cannot be sent ({reason}); it waits there.')
    failure.__cause__ = error
    return failure
