"""Prepares denoisers for their calls, once each: compiled regions, graphs, fp8 weights, reuse of features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import DevicePlan
from gpu_runtime.execution import regions
from gpu_runtime.execution.cache import CompiledCache
from gpu_runtime.execution.fp8 import Fp8Weights
from gpu_runtime.execution.graphs import Graphs
from gpu_runtime.execution.network_call import NetworkCall
from gpu_runtime.execution.recording import CudaRecorder, Recorder
from gpu_runtime.execution.regions import RegionCompiler
from gpu_runtime.weights.slots import Prepared

DENOISERS = frozenset({"FluxTransformer2DModel", "SD3Transformer2DModel", "UNet2DConditionModel"})
"""Classes whose calls are prepared."""

RECOMPILE_LIMIT = 64
"""dynamo gives up on a function after 8 graphs, and whole denoisers count as one function: each architecture
needs one for each number of rows and each resolution."""


class Execution:
    """How the denoisers of one engine are run."""

    def __init__(self, config: EngineConfig, plan: DevicePlan, recorder: Recorder | None = None) -> None:
        """Reads compiled code of earlier processes if there is any.

        `recorder` makes the graphs; None is CUDA's, where the plan has graphs.
        """
        self.mode = compile_mode(config, plan)
        self._has_fp8 = config.fp8 and (plan.has_fp8 or plan.device.type == "cpu")
        cache = CompiledCache(Path(config.compile_cache), plan.device_name) if config.compile_cache else None
        self.regions = RegionCompiler(on_compiled=cache.save if cache else lambda: None)
        if recorder is None and plan.has_graphs:
            recorder = CudaRecorder(plan.device)
        self.graphs = Graphs(recorder, self.regions) if recorder else None
        if self.mode != "off" and cache:
            cache.take_in()
            cache.load()
        if self.mode == "whole":
            torch._dynamo.config.recompile_limit = RECOMPILE_LIMIT

    def prepare(self, network: nn.Module) -> Prepared | None:
        """For `weights.slots.SlotPool`. Networks other than denoisers stay as they are."""
        if type(network).__name__ not in DENOISERS:
            return None
        weights = Fp8Weights(network) if self._has_fp8 else None
        whole = None
        if self.mode == "regional":
            self.regions.attach(network)
        elif self.mode == "whole":
            whole = torch.compile(network._call_impl, backend=regions.BACKEND, dynamic=False)
        graphs = self.graphs.of(network) if self.graphs else None
        # The place that nn.Module.compile() uses: the network keeps its class, configuration and names.
        network._compiled_call_impl = NetworkCall(
            network,
            is_bucketed=self.mode != "off",
            compiled=whole,
            fast_layers=weights.layers if weights else (),
            graphs=graphs,
        )
        # In this order: graphs look where everything is once fp8 weights are made.
        prepared = [each for each in (weights, graphs) if each is not None]
        return Together(prepared) if prepared else None


class Together:
    """Several that follow the same module. Implements `weights.slots.Prepared`."""

    def __init__(self, parts: Sequence[Prepared]) -> None:
        self._parts = parts

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(part.size_bytes for part in self._parts)

    def filled(self) -> None:
        """Told to each, in order."""
        for part in self._parts:
            part.filled()

    def emptied(self) -> None:
        """Told to each, in order."""
        for part in self._parts:
            part.emptied()


def compile_mode(config: EngineConfig, plan: DevicePlan) -> str:
    """ "off", "regional" or "whole". "auto" compiles on CUDA, where it pays within a few images."""
    if config.compile != "auto":
        return config.compile
    return "regional" if plan.device.type == "cuda" else "off"
