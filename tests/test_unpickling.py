"""No line of the package can run code out of a file: every call that reads one is looked at in the syntax tree."""

import ast
from pathlib import Path

import pytest

import fairpool

PACKAGE = Path(fairpool.__file__).parent
PLACES = [PACKAGE, PACKAGE.parent / "benchmarks", PACKAGE.parent / "examples"]
SOURCES = [file for place in PLACES for file in sorted(place.rglob("*.py"))]

# Called like this, they read plain data alone; the keyword must be there with this value, as a default may change.
ONLY_WITH = {
    "torch.load": ("weights_only", True),
    "np.load": ("allow_pickle", False),
    "numpy.load": ("allow_pickle", False),
}
NEVER = {
    *("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "joblib.load", "marshal.loads"),
    *("cloudpickle.load", "cloudpickle.loads", "shelve.open", "pd.read_pickle", "pandas.read_pickle", "skops.io.load"),
    *("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load", "yaml.UnsafeLoader", "yaml.FullLoader"),
    *("yaml.Loader", "np.lib.format.read_array", "torch.jit.load", "torch.hub.load", "torch.package.PackageImporter"),
    *("mlflow.pytorch.load_model", "mlflow.pyfunc.load_model", "eval", "exec", "os.system"),
}


def dotted(node):
    """A name as it is written, such as ``np.lib.format``; None for what is no plain name."""
    if isinstance(node, ast.Name):
        return node.id
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return None if inner is None else f"{inner}.{node.attr}"


def faults_of(source):
    """Lines of a module that could unpickle or run what a file holds."""
    tree, called = ast.parse(source), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:  # `from pickle import loads as x` is pickle.loads
            called |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            called |= {alias.asname: alias.name for alias in node.names if alias.asname}

    def full_name(node):
        first, _, rest = (dotted(node) or "").partition(".")
        return ".".join(filter(None, [called.get(first, first), rest])).replace("numpy.", "np.")

    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and full_name(node) in NEVER:
            yield f"line {node.lineno}: {full_name(node)}"
        if not isinstance(node, ast.Call):
            continue
        name, given = full_name(node.func), {keyword.arg: keyword.value for keyword in node.keywords}
        if name in ONLY_WITH:
            keyword, wanted = ONLY_WITH[name]
            value = given.get(keyword)
            if not (isinstance(value, ast.Constant) and value.value is wanted):
                yield f"line {node.lineno}: {name} without {keyword}={wanted}"
        elif isinstance(given.get("allow_pickle"), ast.Constant) and given["allow_pickle"].value:
            yield f"line {node.lineno}: {name} with allow_pickle=True"
        elif isinstance(given.get("shell"), ast.Constant) and given["shell"].value:
            yield f"line {node.lineno}: {name} with shell=True"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: file.relative_to(PACKAGE.parent).as_posix())
def test_no_call_unpickles_or_runs_a_file(file):
    assert list(faults_of(file.read_text(encoding="utf-8"))) == []


def test_the_calls_that_read_tensors_and_arrays_are_among_those_looked_at():
    source = "".join(file.read_text(encoding="utf-8") for file in SOURCES)
    assert source.count("torch.load(") >= 3
    assert source.count("np.load(") >= 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=False)",
        "import torch\ntorch.load(f, weights_only=flag)",
        "from torch import load as get\nget(f)",
        "import numpy\nnumpy.load(f)",
        "import numpy as n\nn.load(f, allow_pickle=True)",
        "import pickle\nread = pickle.loads",
        "from pickle import load\nload(f)",
        "import pandas as pd\npd.read_pickle(f)",
        "import yaml\nyaml.load(f, Loader=yaml.Loader)",
        "import joblib as j\nj.load(f)",
        "eval(text)",
        "import subprocess\nsubprocess.run(text, shell=True)",
    ],
)
def test_a_module_that_does_is_found(source):
    assert len(list(faults_of(source))) >= 1


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "import json\njson.load(f)",
        "network.eval()",
        "import yaml\nyaml.SafeLoader(f)",
    ],
)
def test_a_module_that_does_not_is_not(source):
    assert list(faults_of(source)) == []
