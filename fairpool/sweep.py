"""A sweep: one method's settings tried by Optuna, each trial an ordinary run or one for each of several seeds."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from fairpool.bundle import Bundle, did_you_mean
from fairpool.errors import DataError
from fairpool.study import PLACES, RunResult, Study, StudyObserver
from fairpool.trials import SearchRange, TrialCounts, TrialStore

if TYPE_CHECKING:
    from fairpool.tracking import SpoolingClient

__all__ = ["Sweep", "run_trials", "search_space"]

_WORDS = {"deo": "DEO", "fpr_gap": "FPR gap"}

# These decide what the data are, so trials that differ in them could not be compared.
_OF_THE_DATA = PLACES | {"seed", "val_frac", "test_frac", "num_folds", "image_size", "value_range", "val_interval"}
_LEARNING_RATE_SPAN = 10.0  # up and down from what the pipeline has


@dataclass(frozen=True)
class Sweep:
    """What is tried.

    Args:
        study: one method, its seeds, and the settings that all trials share.
        space: ranges of the settings that are tried.
        gap: the figure that is made small beside the error, such as ``deo``.
    Raises:
        ValueError: there is no range, a setting is both fixed and tried, or the study has not exactly one method.
    """

    study: Study
    space: Mapping[str, SearchRange]
    gap: str = "deo"

    def __post_init__(self) -> None:
        if len(self.study.methods) != 1:
            raise ValueError(f"a sweep tries the settings of one method, got {', '.join(self.study.methods)}.")
        if not self.space:
            raise ValueError(
                f"the method {self.study.methods[0]} has no setting left to try: give --range KEY=LOW:HIGH."
            )
        fixed = sorted(set(self.space) & set(self.study.overrides))
        if fixed:
            raise ValueError(f'"{fixed[0]}" is both fixed and in a range: leave one of them out.')

    def identity(self, fingerprint: str) -> str:
        """Digest of the study, its seeds and the ranges; more trials keep it."""
        about = {
            "study": self.study.identity(fingerprint),
            "method": self.study.methods[0],
            "seeds": [self.study.first_seed, self.study.seeds],
            "space": {key: asdict(drawn) for key, drawn in self.space.items()},
            "gap": self.gap,
        }
        return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]

    def store(self, fingerprint: str) -> TrialStore:
        """The sweep's trials, in ``sweep.db`` below the study's output folder."""
        return TrialStore(
            self.study.output_dir / "sweep.db",
            self.identity(fingerprint),
            space=self.space,
            first=_configured(self.study.bundle, self.study.methods[0], self.study.overlays),
            seed=self.study.first_seed,
            figures=["val/error", f"val/{self.gap}"],
        )


def search_space(
    bundle: Bundle,
    method: str,
    overlays: Sequence[str] = (),
    *,
    fixed: Sequence[str] = (),
    ranges: Sequence[str] = (),
) -> dict[str, SearchRange]:
    """Ranges of the settings that a sweep tries.

    By default those that the method has of ``eta`` (0.01 to 1, logarithmic), ``learning_rate`` (from a tenth to ten
    times what the pipeline has, logarithmic) and ``growth`` of eta in an epoch (1 to 1.1).

    Args:
        bundle: the pipeline.
        method: the method.
        overlays: data configurations.
        fixed: settings that are not tried.
        ranges: more or other ranges, as texts ``KEY=LOW:HIGH`` or ``KEY=LOW:HIGH:log``.
    Raises:
        ValueError: a text is no range of a number that the configuration has and that a sweep can try.

    >>> from fairpool.bundle import find_bundle
    >>> search_space(find_bundle("tuberculosis"), "fairalm", fixed=["growth"])
    ... # doctest: +NORMALIZE_WHITESPACE
    {'eta': SearchRange(low=0.01, high=1.0, log=True, whole=False),
     'learning_rate': SearchRange(low=3e-05, high=0.003, log=True, whole=False)}
    """
    configured = _configured(bundle, method, overlays)
    rate = configured.get("learning_rate", 0)
    defaults = {"eta": SearchRange(0.01, 1.0, log=True), "growth": SearchRange(1.0, 1.1)}
    if rate > 0:
        low, high = (float(f"{rate * factor:.3g}") for factor in (1 / _LEARNING_RATE_SPAN, _LEARNING_RATE_SPAN))
        defaults["learning_rate"] = SearchRange(low, high, log=True)
    space = {key: drawn for key, drawn in sorted(defaults.items()) if key in configured and key not in fixed}
    known = bundle.keys([method], overlays)[method]
    for text in ranges:
        key, drawn = _parse_range(text, known)
        space[key] = drawn
    return space


def run_trials(
    sweep: Sweep,
    fingerprint: str,
    trials: int,
    client: "SpoolingClient",
    observer: StudyObserver,
) -> TrialCounts:
    """Carry out trials until so many have ended or are being carried out, by this process and others.

    Each is a study of its own, whose MLflow runs get the tags ``sweep`` and ``sweep.trial``. A trial whose run fails,
    or has no estimate of a figure, counts as failed. One that is interrupted is carried out by whoever asks next.

    Args:
        sweep: what is tried.
        fingerprint: of its data, which `fairpool.experiment.prepare_data` has found good.
        trials: how many in all, those of earlier calls included.
        client: of the tracking store.
        observer: shows the progress.
    Returns:
        the sweep's trials as they are then; some may be running in other processes.
    Raises:
        RuntimeError: the first three trials all failed, or the store of trials did.
    """
    from fairpool.experiment import run_methods

    store = sweep.store(fingerprint)
    identity = sweep.identity(fingerprint)
    while (trial := store.ask(trials)) is not None:
        observer.note(
            f"trial {trial.number}: {', '.join(f'{key} {value:.4g}' for key, value in trial.settings.items())}"
        )
        study = replace(sweep.study, overrides={**sweep.study.overrides, **trial.settings})
        try:
            tags = {"sweep": identity, "sweep.trial": str(trial.number)}
            results = run_methods(study, client, fingerprint, observer, tags)
        except BaseException as error:
            if _is_of_the_settings(error):
                store.fail(trial, str(error))
                observer.note(f"trial {trial.number} failed: {error}")
                continue
            store.give_back(trial)
            raise
        figures = [_mean(results, name) for name in ("error", sweep.gap)]
        if any(map(math.isnan, figures)):
            reason = f"no estimate of the validation error or {sweep.gap}"
            store.fail(trial, reason)
            observer.note(f"trial {trial.number} failed: {reason}")
        else:
            store.finish(trial, figures)
            seconds = sum(result.seconds for result in results)
            shown = zip(("error", _WORDS.get(sweep.gap, sweep.gap)), figures, strict=True)
            text = ", ".join(f"{word} {100 * value:.1f}" for word, value in shown)
            observer.note(f"trial {trial.number}: validation {text} ({seconds:.0f} s)")
    return store.counts()


def _is_of_the_settings(error: BaseException) -> bool:
    """A run that failed in training; not a store, the data or the user who stopped it."""
    return isinstance(error, RuntimeError | ValueError) and not isinstance(error, DataError)


def _mean(results: Sequence[RunResult], name: str) -> float:
    return math.fsum(result.validation.get(name, math.nan) for result in results) / len(results)


def _configured(bundle: Bundle, method: str, overlays: Sequence[str]) -> dict[str, float]:
    keys = bundle.keys([method], overlays)[method]
    return {key: value for key, value in keys.items() if isinstance(value, int | float) and not isinstance(value, bool)}


def _parse_range(text: str, known: Mapping[str, Any]) -> tuple[str, SearchRange]:
    key, _, ends = text.partition("=")
    parts = ends.split(":")
    is_log = parts[2:] == ["log"]
    try:
        low, high = (float(part) for part in (parts[:2] if is_log else parts))
    except ValueError:
        raise ValueError(f'"{text}" is not a range of the form KEY=LOW:HIGH or KEY=LOW:HIGH:log.') from None
    if key not in known:
        raise ValueError(f'the configuration has no key "{key}"{did_you_mean(key, known)}.')
    value = known[key]
    if key.split("#")[-1] in _OF_THE_DATA:
        raise ValueError(f'"{key}" decides the data or how they are judged, which all trials must share.')
    if isinstance(value, bool) or not isinstance(value, int | float | None):
        raise ValueError(f'"{key}" is not a number in the configuration, so it has no range.')
    whole = isinstance(value, int)
    if whole and not (low.is_integer() and high.is_integer()):
        raise ValueError(f'"{key}" is a whole number: its range must begin and end with one; got {ends}.')
    try:
        return key, SearchRange(low, high, log=is_log, whole=whole)
    except ValueError as error:
        raise ValueError(f'the range of "{key}": {error}') from None
