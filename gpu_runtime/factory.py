"""Builds the runtime that a configuration asks for. Importing this module imports no torch."""

from __future__ import annotations

from gpu_runtime.config import EngineConfig
from gpu_runtime.fake import FakeEngine
from gpu_runtime.fake_tools import fake_tools
from gpu_runtime.workshop.weights_shelf import WeightsShelf
from gpu_runtime.workshop.workshop import Workshop


def build_engine(config: EngineConfig) -> Workshop:
    """The engine for `config.runtime` in its Workshop. Raises UnsupportedCombination for a missing device."""
    if config.runtime == "fake":
        return Workshop(FakeEngine(config), fake_tools(config.fake_step_ms))
    # Here and not above: the fake engine must run where torch is not even installed.
    from gpu_runtime.engine import Engine
    from gpu_runtime.workshop.torch_tools import size_bytes, torch_tools

    shelf = WeightsShelf(size_bytes)
    engine = Engine(config, beside=[shelf])
    return Workshop(engine, torch_tools(engine.info().device), shelf=shelf)
