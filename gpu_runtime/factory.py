"""Builds the engine that a configuration asks for. Importing this module imports no torch."""

from __future__ import annotations

from gpu_runtime.config import EngineConfig
from gpu_runtime.fake import FakeEngine
from gpu_runtime.messages import EngineProtocol


def build_engine(config: EngineConfig) -> EngineProtocol:
    """The engine for `config.runtime`. Raises UnsupportedCombination for an unavailable device."""
    if config.runtime == "fake":
        return FakeEngine(config)
    # Here and not above: the fake engine must run where torch is not even installed.
    from gpu_runtime.engine import Engine

    return Engine(config)
