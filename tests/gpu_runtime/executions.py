"""Engines whose compiled regions a test can wait for. Graphs are captured and guarded as always, then run as
they are, so that no compiler is needed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.execution import preparing, regions
from gpu_runtime.execution.regions import RegionCompiler
from gpu_runtime.weights import assembly


class Compiled:
    """An engine, and what compiles for it."""

    def __init__(self, patch: pytest.MonkeyPatch, config: EngineConfig, **engine: Any) -> None:
        made: list[preparing.Execution] = []
        patch.setattr(regions, "BACKEND", "eager")
        patch.setattr(assembly, "Execution", noting(made))
        self.engine = Engine(config, **engine)
        self.regions: RegionCompiler = made[0].regions

    def wait(self) -> None:
        """Until all code that was ordered so far is ready; none may have failed."""
        self.regions.wait()
        assert self.regions.count(regions.State.FAILED) == 0


def noting(made: list[preparing.Execution]) -> Callable[..., preparing.Execution]:
    """The usual constructor, noting what it makes."""

    def make(*arguments: Any) -> preparing.Execution:
        made.append(preparing.Execution(*arguments))
        return made[-1]

    return make


def graphs() -> int:
    """Captured so far in this process."""
    return int(counters["stats"]["unique_graphs"])


def forget_graphs() -> None:
    """Begin counting anew."""
    torch._dynamo.reset()
    counters.clear()
