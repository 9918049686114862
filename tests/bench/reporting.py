"""What every benchmark prints: a table for people, and one JSON document as its last line."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from deploy.appliance.environment import REPOSITORY
from tests.harness.appliance import percentiles

PACKAGES = ("django", "djangorestframework", "gunicorn", "psycopg")


@dataclass(slots=True)
class Rounds:
    """One figure, measured once a round."""

    name: str
    unit: str
    target: str = ""
    """What the architecture asks for, for the reader."""
    values: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def p90(self) -> float:
        return percentiles(self.values, [90])[0]


def spread(values_ms: Sequence[float], points: Sequence[int] = (50, 95, 99)) -> dict[str, float]:
    """Percentiles by name, for the JSON document."""
    return {
        f"p{point}": round(value, 3)
        for point, value in zip(points, percentiles(values_ms, points), strict=True)
    }


def read_arguments(description: str, **numbers: int) -> argparse.Namespace:
    """The command line: `--json FILE` and the named whole numbers, with their defaults."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, help="also write the JSON document to this file")
    for name, default in numbers.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    return parser.parse_args()


def publish(
    benchmark: str,
    rounds: Sequence[Rounds],
    *,
    settings: Mapping[str, object],
    details: Mapping[str, Any],
    target: Path | None,
) -> None:
    """Print the table and the document; write the document to `target`, too."""
    print(f"\n{'figure':<52} {'median':>10} {'p90':>10}  unit     target")
    for figure in rounds:
        print(
            f"{figure.name:<52} {figure.median:>10.2f} {figure.p90:>10.2f}  {figure.unit:<8} {figure.target}"
        )
    document = {
        "benchmark": benchmark,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "metrics": {
            figure.name: {
                "median": round(figure.median, 3),
                "p90": round(figure.p90, 3),
                "unit": figure.unit,
                "rounds": [round(value, 3) for value in figure.values],
            }
            for figure in rounds
        },
        "details": dict(details),
        "settings": dict(settings),
        "machine": machine(),
        "versions": {"python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "commit": commit(),
    }
    text = json.dumps(document)
    if target is not None:
        target.write_text(text + "\n", encoding="utf-8")
    print(text)


def machine() -> dict[str, object]:
    """Processor, cores, memory and how busy others keep it."""
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_1m": round(psutil.getloadavg()[0], 2),
    }


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def commit() -> str:
    """The checked-out commit, with a plus sign when files differ from it."""

    def git(*arguments: str) -> str:
        answer = subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True)
        return answer.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
