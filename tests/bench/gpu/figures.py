"""Figures of the GPU suite, how they are printed, and the time that the suite may take."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number."""

    section: str
    name: str
    value: float
    unit: str
    target: str = ""
    """What the architecture asks for, for the reader."""

    def line(self) -> str:
        """For people."""
        target = f"   target {self.target}" if self.target else ""
        return f"  {self.name:<58} {self.value:>12.4g} {self.unit:<12}{target}"


@dataclass(slots=True)
class Report:
    """All that was found so far, written to a file after each section: a suite that is cut off keeps it."""

    file: Path | None
    seconds: float
    """Most that the suite may take."""
    settings: dict[str, Any] = field(default_factory=dict)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was skipped or failed, and why."""
    started: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """Seconds until the suite has to end."""
        return self.started + self.seconds - time.monotonic()

    def section(self, name: str, needs_s: float, measure: Callable[[], Sequence[Figure]]) -> None:
        """Measure and print one section. What would exceed the time is skipped; a failure loses no other."""
        if self.left_s < needs_s:
            self.note(f"{name}: skipped, it needs {needs_s:.0f} s and {max(0.0, self.left_s):.0f} s are left")
            return
        print(f"\n{name}  ({self.left_s:.0f} s left)", flush=True)
        began = time.monotonic()
        try:
            found = list(measure())
        except Exception as error:  # noqa: BLE001 - the suite's edge: one failed section must not lose the rest
            self.note(f"{name}: failed: {type(error).__name__}: {error}")
            traceback.print_exc()
            return
        self.figures += found
        for figure in found:
            print(figure.line())
        print(f"  took {time.monotonic() - began:.1f} s", flush=True)
        self.write()

    def note(self, text: str) -> None:
        """Say and keep why something is missing."""
        self.notes.append(text)
        print(f"\n{text}", flush=True)
        self.write()

    def document(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "benchmark": "gpu",
                "figures": [asdict(figure) for figure in self.figures],
                "notes": self.notes,
                "seconds": round(time.monotonic() - self.started, 1),
                "settings": self.settings,
                "torch": torch.__version__,
                "diffusers": diffusers.__version__,
                "driver": torch.version.cuda,
                "commit": _commit(),
            }
        )

    def write(self) -> None:
        """Write the document to the file, if there is one."""
        if self.file is not None:
            self.file.write_text(self.document() + "\n", encoding="utf-8")


class Clock:
    """Times work on a device, its queue emptied before and after."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def wait(self) -> None:
        """Until the device has nothing left to do."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def seconds(self, call: Callable[[], object]) -> float:
        """Of one call."""
        self.wait()
        began = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - began

    def median_s(
        self, call: Callable[[], object], *, most: int = 10, within_s: float = 2.0, warm: int = 1
    ) -> float:
        """Median of at most `most` calls and at least two, after `warm` that do not count."""
        for _ in range(warm):
            self.seconds(call)
        values: list[float] = []
        until = time.perf_counter() + within_s
        while len(values) < 2 or (len(values) < most and time.perf_counter() < until):
            values.append(self.seconds(call))
        return statistics.median(values)


def percentile(values: Sequence[float], point: float) -> float:
    """By nearest rank; `point` is 0 to 100."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(point / 100 * (len(ordered) - 1)))]


def _commit() -> str:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "none"
    return found.stdout.strip() if found.returncode == 0 else "none"
