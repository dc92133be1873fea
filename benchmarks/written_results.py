"""How a benchmark's results are kept: the machine, the versions, the command that repeats them, and flat rows."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["Row", "describe_machine", "find_versions", "write_results"]

Row = Mapping[str, str | float | int | None]


def describe_machine() -> str:
    """The processor, how many cores this process may use, its memory and the system; no name of the machine."""
    model = platform.processor() or platform.machine()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = ""
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
        model = names[0] if names else model
        memory = f", {round(int(_lines('/proc/meminfo')[0].split()[1]) / 2**20)} GiB"
    return f"{model}, {cores} cores{memory}, {platform.system()} {platform.machine()}"


def find_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of the installed packages; "not installed" for the others."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def write_results(
    file: str | os.PathLike[str],
    rows: Sequence[Row],
    *,
    command: str,
    packages: Sequence[str],
    conditions: str,
) -> None:
    """Write results as JSON.

    Args:
        file: to write.
        rows: one for each line of the table, flat, with the units in the names of the figures.
        command: what repeats the measurement, from the top of the checkout.
        packages: whose versions matter.
        conditions: on what data, how often, what the figures are, in a sentence.
    """
    content = {
        "machine": describe_machine(),
        "versions": find_versions(packages),
        "command": command,
        "conditions": conditions,
        "rows": [dict(row) for row in rows],
    }
    Path(file).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _lines(file: str) -> list[str]:
    return Path(file).read_text(encoding="utf-8").splitlines()
