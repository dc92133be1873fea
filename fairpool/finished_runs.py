"""The finished runs of an MLflow experiment as rows, without any figure of the test section."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpool.bundle import did_you_mean
from fairpool.configurations import finite_number, mean_over_seeds, means_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = ["FinishedRuns", "finite_number", "mean_over_seeds", "open_store", "read_test_figures", "runs_of"]

_PAGE = 1000  # most runs that MLflow gives in one answer
_NAMED = 5  # most studies or sweeps that a message names
_ABOUT = ("method", "seed", "constraint", "pipeline", "data")


@dataclass(frozen=True)
class FinishedRuns:
    """Runs of an experiment.

    Attributes:
        rows: one mapping a FINISHED run, the earliest first: ``run_id``, ``run_name``, ``study``, ``sweep``,
            ``configuration``, ``method``, ``seed``, ``constraint``, ``pipeline``, ``data``, each parameter as
            ``params/NAME``, and the latest value of each metric that is not of the test section, such as ``val/error``.
        left_out: number of runs in any other state, by that state.
    """

    rows: list[dict[str, Any]]
    left_out: dict[str, int]


def open_store(tracking_uri: str) -> "MlflowClient":
    """A client of an MLflow store that exists; unlike `open_experiment` it makes nothing.

    Raises:
        ConnectionError: there is no such store, or it cannot be read.
    """
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    from fairpool.tracking import limit_waiting, without_password

    limit_waiting()
    path = Path(tracking_uri.removeprefix("sqlite:///"))
    if tracking_uri.startswith("sqlite:///") and not path.is_file():
        raise ConnectionError(
            f'there is no MLflow store "{path.name}" in the folder "{path.parent.name}". Run `fairpool run` first, or '
            "give its --output or --tracking-uri."
        )
    if "://" not in tracking_uri or tracking_uri.startswith("file:"):
        raise ConnectionError("the tracking store is a folder, which MLflow no longer takes: give sqlite:///FILE.")
    try:
        client = mlflow.MlflowClient(tracking_uri=tracking_uri)
        client.search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError) as error:
        shown = f'"{path.name}"' if tracking_uri.startswith("sqlite:") else without_password(tracking_uri)
        text = without_password(str(error)).replace(str(path), path.name).strip().splitlines()
        raise ConnectionError(f"the tracking store {shown} cannot be read: {text[0] if text else error!r}") from error
    return client


def runs_of(
    client: "MlflowClient",
    experiment: str,
    *,
    study: str | None = None,
    methods: Sequence[str] | None = None,
    sweep: str | None = None,
) -> FinishedRuns:
    """Finished runs of an experiment as rows for `select_nvp`, without any figure of the test section.

    Args:
        client: of the store.
        experiment: its name: `fairpool run` takes the pipeline's.
        study: only runs of this study.
        methods: only runs of these methods.
        sweep: only runs of this sweep.
    Raises:
        ValueError: there is no such experiment, it holds no finished run of what was asked for, or no run of one of the
            methods; the message says what there is.
    """
    experiment_id = _experiment_id(client, experiment)
    rows, states, seen = [], Counter[str](), set[str]()
    for run in _runs(client, experiment_id, study=study, sweep=sweep):
        method = run.data.params.get("method")
        seen.add(str(method))
        if methods is not None and method not in methods:
            continue
        if run.info.status == "FINISHED":
            rows.append(_row(run))
        else:
            states[run.info.status] += 1
    asked = (f' of study "{study}"' if study is not None else "") + (
        f' of sweep "{sweep}"' if sweep is not None else ""
    )
    unknown = [method for method in methods or () if method not in seen]
    if unknown and seen:
        named = " or ".join(f'"{method}"{did_you_mean(method, seen)}' for method in unknown)
        raise ValueError(
            f'the experiment "{experiment}" holds no run{asked} of the method {named}. '
            f"There are runs of {', '.join(sorted(seen))}."
        )
    if not rows:
        others = f" ({_counted(states)})" if states else ""
        asked += f" of {' or '.join(methods)}" if methods else ""
        there = _what_there_is(client, experiment_id, study=study, sweep=sweep) if not seen else ""
        raise ValueError(f'the experiment "{experiment}" holds no finished run{asked}{others}.{there}')
    return FinishedRuns(rows, dict(states))


def read_test_figures(client: "MlflowClient", row: Mapping[str, Any]) -> dict[str, float]:
    """Test figures of a chosen row by name, without the prefix: means over its runs where it stands for several seeds.

    Args:
        client: of the store that the row came from.
        row: of `runs_of` or `mean_over_seeds`.
    Returns:
        figures such as ``error`` and ``deo``; one that a run could not estimate is left out.
    """
    found = []
    for run_id in row.get("run_ids", [row["run_id"]] if "run_id" in row else []):
        metrics = client.get_run(run_id).data.metrics
        found.append({key.removeprefix("test/"): value for key, value in metrics.items() if key.startswith("test/")})
    return means_of(found)


def _runs(
    client: "MlflowClient", experiment_id: str, *, study: str | None = None, sweep: str | None = None
) -> Iterator[Any]:
    """MLflow's runs of a study or sweep in any state, the earliest first; no summaries."""
    wanted = ["tags.\"fairpool.kind\" = 'run'"]
    for tag, value in (("study", study), ("sweep", sweep)):
        if value is not None:
            # Any other character would end the quotation, or is in no identity.
            wanted.append(f"tags.{tag} = '{''.join(c if c.isalnum() or c in '-_.' else '?' for c in value)}'")
    token = None
    while True:
        page = client.search_runs(
            [experiment_id],
            " and ".join(wanted),
            max_results=_PAGE,
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            page_token=token,
        )
        yield from page
        token = page.token
        if not token:
            return


def _what_there_is(client: "MlflowClient", experiment_id: str, *, study: str | None, sweep: str | None) -> str:
    """The newest studies or sweeps in place of one that holds no run, as a sentence; nothing if none was asked for."""
    tags = [run.data.tags for run in _runs(client, experiment_id)]
    sentences = []
    for plural, kind, asked in (("studies", "study", study), ("sweeps", "sweep", sweep)):
        known = list(dict.fromkeys(one[kind] for one in reversed(tags) if kind in one))
        if asked is None or asked in known:
            continue
        if not known:
            sentences.append(f" It holds no {kind} at all.")
            continue
        near = did_you_mean(asked, known)
        more = f" and {len(known) - _NAMED} older ones" if len(known) > _NAMED else ""
        sentences.append(f" There {'is' if len(known) == 1 else 'are'} the {plural if len(known) > 1 else kind} ")
        sentences[-1] += f"{', '.join(known[:_NAMED])}{more}{near}."
    return "".join(sentences)


def _row(run: Any) -> dict[str, Any]:
    params, tags = run.data.params, run.data.tags
    row: dict[str, Any] = {"run_id": run.info.run_id, "run_name": run.info.run_name}
    row |= {name: tags.get(name) for name in ("study", "sweep", "configuration")}
    row |= {name: params.get(name) for name in _ABOUT}
    row |= {f"params/{name}": value for name, value in params.items()}
    return row | {name: value for name, value in run.data.metrics.items() if not name.startswith("test/")}


def _experiment_id(client: "MlflowClient", name: str) -> str:
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        known = [found.name for found in client.search_experiments() if found.name != "Default"]
        there = f" There {'is' if len(known) == 1 else 'are'} {', '.join(sorted(known))}." if known else ""
        raise ValueError(f'the store has no experiment "{name}"{did_you_mean(name, known)}.{there}')
    if experiment.lifecycle_stage == "deleted":
        raise ValueError(f'the experiment "{name}" was deleted in MLflow; restore it there.')
    return str(experiment.experiment_id)


def _counted(states: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state.lower()}" for state, number in sorted(states.items()))
