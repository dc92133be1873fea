"""The wheel alone, in an environment without the checkout, trains."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from small_study import TINY, write_hospitals

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel_python(tmp_path_factory):
    """Python of a new environment that holds the wheel, and finds the installed packages behind it."""
    pytest.importorskip("build")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("fairpool-*.whl")
    environment = folder / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True, timeout=120)
    # The .pth files of the packages behind it are not read, so an editable fairpool there stays out.
    (packages,) = environment.rglob("site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return python


@pytest.mark.slow
def test_the_wheel_trains_from_an_empty_directory(wheel_python, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    code = (
        "import fairpool; from fairpool.bundle import find_bundle;"
        "print(fairpool.__file__); print(find_bundle('tuberculosis').folder); import importlib.metadata as m;"
        "print(m.version('fairpool'))"
    )
    done = subprocess.run(
        [wheel_python, "-c", code], capture_output=True, text=True, cwd=empty, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
    package, pipeline, version = done.stdout.split()
    home = wheel_python.parent.parent
    assert Path(package).is_relative_to(home)
    assert Path(pipeline) == Path(package).parent / "pipelines" / "tuberculosis"
    assert version == "0.1.0"

    manifest = write_hospitals(tmp_path / "data")
    command = [wheel_python.parent / "fairpool", "run", "tuberculosis", "--manifest", manifest, "--seeds", "1"]
    command += ["--epochs", "1", "--methods", "unconstrained,fairalm", *TINY]
    done = subprocess.run(command, capture_output=True, text=True, cwd=empty, env=environment, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "error at bern" in done.stdout
    assert [path.name for path in empty.iterdir()] == ["fairpool-runs"]


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_the_pipelines_alone(wheel_python):
    import zipfile

    (wheel,) = wheel_python.parent.parent.parent.glob("fairpool-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"fairpool"}
    assert "fairpool/py.typed" in names
    held = {name for name in names if name.startswith("fairpool/pipelines/")}
    configs = [path.relative_to(ROOT).as_posix() for path in (ROOT / "pipelines").rglob("*.json")]
    assert {f"fairpool/{name}" for name in configs} <= held
