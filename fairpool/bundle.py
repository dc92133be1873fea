"""Find a pipeline (a MONAI bundle), lay its configurations over each other, and build it."""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpool.constraints import CONSTRAINTS

if TYPE_CHECKING:
    from monai.bundle import ConfigWorkflow

__all__ = ["UNCONSTRAINED", "Bundle", "constraint_config", "find_bundle", "parse_overrides"]

UNCONSTRAINED = "unconstrained"

# These have options, which would overwrite the value without a word, or take it as the text it is.
_SET_BY_OPTIONS = {
    "seed": "--seeds gives the number of seeds",
    "constraint": "use --constraint",
    "output_dir": "use --output",
    "manifest": "use --manifest",
    "test_manifest": "use --test-manifest",
    "image_column": "use --image-column",
    "label_column": "use --label-column",
    "positive": "use --positive",
    "site_column": "use --site-column",
    "patient_column": "use --patient-column",
    "split_column": "use --split-column",
    "normalize_sites": "use --normalize-sites",
    "aliases": "use --aliases",
    "ignore_label": "use --ignore-label",
    "bundle_root": "it is the pipeline's folder",
}


# What the data configurations stand for, in the words of the command line.
_OVERLAY_WORDS = {"manifest": "a table (--manifest)", "synthetic": "synthetic data (give --data)"}


class Bundle:
    """A pipeline's folder: ``configs/train.json``, one overlay a method in ``configs/methods/``, and data overlays.

    ``train.json`` alone is the unconstrained training; an overlay replaces or extends some of its items. The pipelines
    that fairpool ships share the overlays of ``pipelines/methods/``; one of the same name in a pipeline's own folder
    comes before it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self.configs = folder / "configs"

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that this pipeline can be trained with."""
        return (UNCONSTRAINED, *sorted(self._method_files()))

    def _method_files(self) -> dict[str, Path]:
        """The overlay of each method: a pipeline's own before the shared one of the same name."""
        folders = [self.configs / "methods"]
        if self.folder.parent in _pipeline_roots():  # what lies beside a bundle from outside is not its own
            folders.insert(0, self.folder.parent / "methods")
        return {file.stem: file for folder in folders for file in folder.glob("*.json")}

    def config_files(self, method: str, overlays: Sequence[str] = ()) -> list[str]:
        """The configurations of a method, in the order in which they are laid over each other.

        Raises:
            ValueError: the pipeline has no such method, or no such overlay.
        """
        if method not in self.methods:
            raise ValueError(
                f'the pipeline "{self.name}" has no method "{method}"{did_you_mean(method, self.methods)}. '
                f"It has {', '.join(self.methods)}."
            )
        files = [self.configs / "train.json", *(self.configs / f"{overlay}.json" for overlay in overlays)]
        for overlay, file in zip(overlays, files[1:], strict=True):
            if not file.is_file():
                raise ValueError(
                    f'the pipeline "{self.name}" cannot be used with {_OVERLAY_WORDS.get(overlay, overlay)}: it has no '
                    f"configs/{overlay}.json."
                )
        if method != UNCONSTRAINED:
            files.append(self._method_files()[method])
        return [str(file) for file in files]

    def keys(self, methods: Sequence[str], overlays: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
        """Configuration keys that each method has, nested ones as ``train#trainer#max_epochs``, and their values."""
        keys: dict[str, dict[str, Any]] = {}
        for method in methods:
            keys[method] = {}
            for file in self.config_files(method, overlays):
                keys[method] |= _paths(json.loads(Path(file).read_text(encoding="utf-8")))
        return keys

    def build(
        self, method: str, overlays: Sequence[str], overrides: Mapping[str, Any], constraint: str
    ) -> "ConfigWorkflow":
        """The workflow of a method, initialised: seeds set, nothing trained yet."""
        files = self.config_files(method, overlays)
        known = self.keys([method], overlays)[method]
        wanted = {key: value for key, value in overrides.items() if key in known}
        if "constraint" in known:
            wanted["constraint"] = constraint_config(constraint)
        workflow = self.workflow("train", files, wanted)
        workflow.initialize()
        return workflow

    def workflow(self, kind: str, files: Sequence[str], overrides: Mapping[str, Any]) -> "ConfigWorkflow":
        """A "train" or "infer" workflow over configurations of this pipeline, not yet initialised."""
        from monai.bundle import ConfigWorkflow

        logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # set to INFO by its import
        return ConfigWorkflow(
            workflow_type=kind,
            config_file=list(files),
            meta_file=str(self.configs / "metadata.json"),
            logging_file=False,
            **{"bundle_root": str(self.folder), **overrides},
        )


def constraint_config(name: str) -> dict[str, str]:
    """The configuration item of a constraint, by the word of the command line."""
    return {"_target_": f"fairpool.{CONSTRAINTS[name].__name__}"}


def find_bundle(pipeline: str, *, trust_config: bool = False) -> Bundle:
    """A pipeline by its name, or a bundle's folder if the caller trusts its configurations.

    Args:
        pipeline: name of a pipeline that fairpool ships, or a folder with ``configs/train.json``.
        trust_config: a configuration can run any code; only with this is one from outside the package parsed.
    Raises:
        ValueError: there is no such pipeline, or it is not trusted.
    """
    shipped = {
        file.parts[-3]: file.parents[1] for root in _pipeline_roots() for file in root.glob("*/configs/train.json")
    }
    if pipeline in shipped:
        return Bundle(shipped[pipeline])
    if os.sep in pipeline and (Path(pipeline) / "configs" / "train.json").is_file():
        if not trust_config:
            raise ValueError(
                f'"{pipeline}" is not part of fairpool: its configuration can run any code on this machine. Read it, '
                "then add --trust-config."
            )
        return Bundle(Path(pipeline).resolve())
    raise ValueError(
        f'there is no pipeline "{pipeline}"{did_you_mean(pipeline, shipped)}. '
        f"fairpool ships {', '.join(sorted(shipped))}; a folder must hold configs/train.json."
    )


def parse_overrides(
    texts: Sequence[str],
    keys: Mapping[str, Mapping[str, Any]],
    *,
    trust_config: bool = False,
    others: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """``key=value`` texts as configuration values: JSON where it parses, text otherwise.

    Args:
        texts: such as ``learning_rate=0.001`` or ``train#trainer#max_epochs=5``.
        keys: what `Bundle.keys` gives for the methods that will run; a key of any of them is accepted.
        trust_config: whether values may hold expressions (``$...``) and targets, which run as code.
        others: the same of methods that will not run, to say whose setting an unknown key is.
    Raises:
        ValueError: a text has no ``=``, names an unknown key, holds an expression that is not trusted, or gives
            something else where the configuration has a number.
    """
    known = {key: value for values in keys.values() for key, value in values.items()}
    overrides = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise ValueError(f'"{text}" is not of the form key=value.')
        if key not in known:
            raise ValueError(_unknown_key(key, keys, others or {}))
        if key in _SET_BY_OPTIONS:
            raise ValueError(f'"{key}" is not set this way: {_SET_BY_OPTIONS[key]}.')
        try:
            overrides[key] = json.loads(value)
        except (ValueError, RecursionError):  # no JSON, or with more digits or brackets than Python reads
            overrides[key] = value
        if not trust_config and (runs_code(overrides[key]) or key.split("#")[-1] == "_target_"):
            raise ValueError(f'the value of "{key}" would run as code; add --trust-config if that is meant.')
        kind = _number_kind(known[key])
        is_reference = isinstance(overrides[key], str) and overrides[key].lstrip().startswith(("@", "$", "%"))
        if kind and not is_reference and _number_kind(overrides[key]) not in (kind, "a whole number"):
            raise ValueError(f'"{key}" must be {kind}, such as {known[key]}; got "{value[:60]}".')
    return overrides


def _unknown_key(key: str, keys: Mapping[str, Mapping[str, Any]], others: Mapping[str, Mapping[str, Any]]) -> str:
    owners = [method for method, own in others.items() if key in own]
    if owners:
        return (
            f'"{key}" is a setting of {", ".join(owners)} and would change nothing for {", ".join(keys)}: leave it '
            "out, or add one of those methods."
        )
    return f'the configuration has no key "{key}"{did_you_mean(key, {name for own in keys.values() for name in own})}.'


def runs_code(value: Any) -> bool:
    """Whether a configuration would evaluate, import or read something for this value.

    >>> runs_code("$print(1)"), runs_code([{"_target_": "print"}]), runs_code("5 $ a day")
    (True, True, False)
    """
    if isinstance(value, dict):
        return "_target_" in value or any(runs_code(part) for part in value.values())
    if isinstance(value, list):
        return any(runs_code(part) for part in value)
    return isinstance(value, str) and value.lstrip().startswith(("$", "%"))


def _number_kind(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    return "a whole number" if isinstance(value, int) else "a number"


def _pipeline_roots() -> list[Path]:
    package = Path(__file__).resolve().parent
    # In the wheel the pipelines lie inside the package, in a checkout beside it.
    return [root for root in (package / "pipelines", package.parent / "pipelines") if root.is_dir()]


def _paths(config: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(config, dict):
        return {}
    found: dict[str, Any] = {}
    for key, value in config.items():
        path = prefix + key.removeprefix("+")
        found |= {path: value} | _paths(value, path + "#")
    return found


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as the end of a clause, or nothing.

    >>> did_you_mean("epoch", ["epochs", "seed"])
    ' (did you mean "epochs"?)'
    """
    near = get_close_matches(name, list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""
