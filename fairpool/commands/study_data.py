"""A study as the command line names it, and its data: a tree, a table, or synthetic hospitals."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from fairpool.commands.outcome import refuse_usage

if TYPE_CHECKING:
    from fairpool.experiment import Study
    from fairpool.terminal import Terminal

__all__ = ["overlays_and_places", "study_of", "with_synthetic_data"]

# Two hospitals of the demo: a confounded pool to train on, a balanced set of other patients to test on.
_DEMO_POOL, _DEMO_TEST = {"montgomery": 600, "shenzhen": 600}, {"montgomery": 400, "shenzhen": 400}
_DEMO_CONFOUNDING = 0.8


def overlays_and_places(
    data: Path | None,
    manifest: Path | None,
    test_manifest: Path | None,
    columns: Mapping[str, Any],
) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The data configurations to lay over the pipeline, and what to set in them.

    Args:
        data: the data set's folder, or the manifest's images.
        manifest: table of images.
        test_manifest: separate table to test on.
        columns: of `fairpool.commands.options.table_options`.
    """
    columns = dict(columns)
    normalize_sites, aliases = columns.pop("normalize", False), columns.pop("aliases", None)
    if test_manifest is not None and manifest is None:
        refuse_usage("--test-manifest needs --manifest: the table that trains.")
    if test_manifest is not None and columns.get("split_column") is not None:
        refuse_usage("--split-column has a test section of its own: give it, or --test-manifest, not both.")
    alone: dict[str, Any] = {"split-column": columns.get("split_column"), "ignore-label": columns.get("ignore_label")}
    alone |= {"aliases": aliases, "normalize-sites": normalize_sites or None}
    if manifest is None and (given := [option for option, value in alone.items() if value is not None]):
        refuse_usage(f"--{given[0]} is about a table: it needs --manifest.")
    places: dict[str, Any] = {}
    if data is not None:
        places["dataset_dir"] = str(data.resolve())
    if manifest is None:
        return (() if data is not None else ("synthetic",)), places
    for value in filter(None, columns.values()):
        if value.startswith(("$", "%", "@")):
            refuse_usage(f'the column or value "{value}" would be evaluated by the configuration; rename it.')
    places["manifest"] = str(manifest.resolve())
    places |= {key: value for key, value in columns.items() if value is not None}
    if normalize_sites:
        places["normalize_sites"] = True
    if aliases is not None:
        places["aliases"] = str(aliases.resolve())
    if test_manifest is not None:
        places["test_manifest"] = str(test_manifest.resolve())
    return ("manifest",), places


def study_of(
    pipeline: str,
    methods: Sequence[str],
    *,
    settings: Sequence[str],
    epochs: int | None,
    overlays: tuple[str, ...],
    places: Mapping[str, Any],
    constraint: str,
    seeds: int,
    first_seed: int = 0,
    tracking_uri: str | None,
    output: Path,
    trust_config: bool,
) -> tuple["Study", list[str]]:
    """The study of a command's options, and the configuration keys that it sets by name.

    Args:
        pipeline: name of a pipeline, or a bundle's folder.
        methods: names of its methods.
        settings: texts ``key=value``.
        epochs: of each run; None leaves the pipeline's.
        overlays: of `overlays_and_places`, like ``places``.
        places: see ``overlays``.
        constraint: and the rest as in `Study`.
        seeds: number of seeds.
        first_seed: the first of them.
        tracking_uri: MLflow store; None is the one below ``output``.
        output: takes models and results.
        trust_config: see `find_bundle`.
    Raises:
        ValueError: one of these makes no sense.
    """
    from fairpool.bundle import find_bundle, parse_overrides
    from fairpool.experiment import Study
    from fairpool.tracking import default_tracking_uri

    bundle = find_bundle(pipeline, trust_config=trust_config)
    given = [*settings, *([f"epochs={epochs}"] if epochs is not None else [])]
    overrides = parse_overrides(
        given,
        bundle.keys(methods, overlays),
        trust_config=trust_config,
        others=bundle.keys(bundle.methods, overlays),
    )
    study = Study(
        bundle=bundle,
        methods=tuple(methods),
        seeds=seeds,
        constraint=constraint,
        overlays=overlays,
        overrides={**places, **overrides},
        output_dir=output,
        tracking_uri=tracking_uri or default_tracking_uri(output),
        first_seed=first_seed,
    )
    return study, list(overrides)


def with_synthetic_data(study: "Study", terminal: "Terminal") -> "Study":
    """The study on its pipeline's synthetic data, drawn below its output where they are not there yet.

    Raises:
        ValueError: there is no synthetic data for the pipeline.
    """
    draw = _SYNTHETIC.get(study.bundle.name)
    if draw is None:
        raise ValueError(f'there is no synthetic data for "{study.bundle.name}": give --data or --manifest.')
    terminal.note("synthetic images (no --data, no --manifest): the results say nothing about real people")
    folder = study.output_dir / f"synthetic-{study.bundle.name}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):  # several commands may begin on one output at once
        places = {key: str(place.resolve()) for key, place in draw(folder, terminal.drawn).items()}
    return replace(study, overrides={**places, **study.overrides})


def _draw_tuberculosis(folder: Path, progress: Callable[[int, int], None]) -> dict[str, Path]:
    from fairpool.data import synthesize_tuberculosis

    pool, test = folder / f"pool-confounding-{_DEMO_CONFOUNDING}", folder / "test-balanced"
    synthesize_tuberculosis(pool, images_per_site=_DEMO_POOL, confounding=_DEMO_CONFOUNDING, seed=0, progress=progress)
    synthesize_tuberculosis(
        test, images_per_site=_DEMO_TEST, confounding=0.0, seed=1, first_number=5001, progress=progress
    )
    return {"dataset_dir": pool, "test_dir": test}


def _draw_celeba(folder: Path, progress: Callable[[int, int], None]) -> dict[str, Path]:
    from fairpool.data import synthesize_celeba

    return {"dataset_dir": synthesize_celeba(folder / "tree", progress=progress)}


def _draw_imsitu(folder: Path, progress: Callable[[int, int], None]) -> dict[str, Path]:
    from fairpool.data import synthesize_imsitu

    return {"dataset_dir": synthesize_imsitu(folder / "tree", progress=progress)}


# What `fairpool run` draws for a pipeline without data: the configuration keys and their places.
_SYNTHETIC = {"tuberculosis": _draw_tuberculosis, "celeba": _draw_celeba, "imsitu": _draw_imsitu}
