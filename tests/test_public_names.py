"""`__all__` is the truth, the design page's names exist, and importing fairpool is fast."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import fairpool

# The names of section 2 of the design page and of its table of constraints, module by module.
DESIGNED = {
    "fairpool": [
        "CheckpointError",
        "DataError",
        "EqualOpportunity",
        "EqualizedOdds",
        "ErrorRateParity",
        "FairALMHandler",
        "FairALMLoss",
        "PredictiveEquality",
        "DemographicParity",
        "PredictiveParity",
    ],
    "fairpool.losses": [
        "FairALMLoss",
        "L2PenaltyLoss",
        "ReweightedLoss",
        "AdversarialLoss",
        "LagrangianLoss",
        "ProxyLagrangianLoss",
    ],
    "fairpool.metrics": ["confusion_by_group", "group_report"],
    "fairpool.posterior": ["fairalm_posterior", "exact_posterior"],
    "fairpool.selection": ["select_nvp"],
    "fairpool.postprocessing": ["SiteThresholds", "fit_thresholds", "postprocess_predictions"],
    "fairpool.data": ["CellBatchSampler", "balanced_sampler"],
    "fairpool.transforms": [
        "EncodeGroupsd",
        "IntersectGroupsd",
        "SiteFromDicomd",
        "SiteFromPathd",
        "SiteFromSidecard",
        "SiteFromTabled",
        "intersected_names",
    ],
}
HEAVY = ("monai", "mlflow", "pandas", "matplotlib", "ignite", "pydicom", "sklearn", "skimage", "nibabel")


def designed_names():
    for module, names in DESIGNED.items():
        for name in names:
            yield pytest.param(module, name, id=f"{module}.{name}")


def modules():
    names = [module.name for module in pkgutil.walk_packages(fairpool.__path__, "fairpool.")]
    return ["fairpool", *(name for name in names if not name.endswith("__main__"))]


@pytest.mark.parametrize(("module", "name"), designed_names())
def test_every_name_of_the_design_page_is_public(module, name):
    package = importlib.import_module(module)
    assert name in package.__all__
    assert hasattr(package, name)


@pytest.mark.parametrize("module", modules())
def test_every_name_of_all_is_importable_and_documented(module):
    package = importlib.import_module(module)
    names = getattr(package, "__all__", [])
    assert len(set(names)) == len(names)
    for name in names:
        public = getattr(package, name)
        if callable(public):
            assert public.__doc__, f"{module}.{name} has no docstring"


def test_the_top_level_holds_its_public_names_alone():
    """Modules and the version aside, what ``fairpool.`` completes to is ``__all__``."""
    found = {
        name for name, value in vars(fairpool).items() if not name.startswith("_") and not hasattr(value, "__path__")
    }
    found -= {name for name in found if type(vars(fairpool)[name]).__name__ == "module"}
    assert found == set(fairpool.__all__)


def test_importing_fairpool_imports_none_of_the_heavy_packages():
    code = f"import sys, fairpool; print([name for name in {HEAVY!r} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
