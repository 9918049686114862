"""Graphs without a device: a recording is replayed by running the network again on the buffers it was given.

Strict where a device is silent: a replay at other addresses than were recorded fails, results are worthless
before the first replay, and every replay makes those of the other recordings worthless, which work in the
same memory.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import DevicePlan
from gpu_runtime.engine import Engine
from gpu_runtime.execution import preparing
from gpu_runtime.execution.calling import Calling, current
from gpu_runtime.execution.graphs import Graphs
from gpu_runtime.weights import assembly

WORTHLESS = float("nan")

SHARED_BYTES = 1000
"""Of the memory in which recordings work."""


class Echo:
    """One recording."""

    def __init__(self, recorder: EchoRecorder, run: Callable[[], Any], result: Any) -> None:
        self._recorder = recorder
        self._run = run
        self._result = [each for each in pytree.tree_leaves(result) if isinstance(each, Tensor)]
        self._calling = current()
        self._addresses = recorder.addresses()
        self.replays = 0
        self.spoil()

    def spoil(self) -> None:
        """What others do to its results."""
        for tensor in self._result:
            tensor.fill_(WORTHLESS)

    def replay(self) -> None:
        assert self in self._recorder.alive, "replayed after it was given up"
        assert self._recorder.addresses() == self._addresses, "the network is elsewhere now"
        self.replays += 1
        for other in self._recorder.alive:
            other.spoil()
        fresh = [each for each in pytree.tree_leaves(self._run()) if isinstance(each, Tensor)]
        for tensor, value in zip(self._result, fresh, strict=True):
            tensor.copy_(self._recorder.distort(value))

    def reset(self) -> None:
        self._recorder.alive.remove(self)

    @property
    def calling(self) -> Calling:
        """How the recorded call was made."""
        return self._calling


class EchoRecorder:
    """Makes echoes. Implements `execution.recording.Recorder`."""

    def __init__(self) -> None:
        self.networks: list[nn.Module] = []
        """Whose addresses recordings depend on."""
        self.made: list[Echo] = []
        self.alive: list[Echo] = []
        self.fault: Exception | None = None
        """Raised by each recording."""
        self.distort: Callable[[Tensor], Tensor] = lambda value: value
        """What becomes of the values of a replay."""
        self.released = 0

    def addresses(self) -> list[int]:
        """Of the networks' tensors now."""
        tensors = (chain(network.parameters(), network.buffers()) for network in self.networks)
        return [each.data_ptr() for each in chain.from_iterable(tensors)]

    def record(self, run: Callable[[], Any]) -> tuple[Echo, Any]:
        if self.fault:
            raise self.fault
        result = run()
        echo = Echo(self, run, result)
        self.made.append(echo)
        self.alive.append(echo)
        return echo, result

    def measured_bytes(self) -> int:
        return SHARED_BYTES if self.alive else 0

    def release(self) -> None:
        assert not self.alive
        self.released += 1

    @property
    def replays(self) -> int:
        """Of all recordings so far."""
        return sum(echo.replays for echo in self.made)


class Recorded:
    """An engine on the CPU whose calls are recorded."""

    def __init__(self, patch: pytest.MonkeyPatch, config: EngineConfig, **engine: Any) -> None:
        self.recorder = EchoRecorder()
        made: list[preparing.Execution] = []

        def execution(config: EngineConfig, plan: DevicePlan) -> preparing.Execution:
            made.append(preparing.Execution(config, plan, self.recorder))
            return made[-1]

        with patch.context() as during:
            during.setattr(assembly, "Execution", execution)
            self.engine = Engine(config, **engine)
        graphs = made[0].graphs
        assert graphs is not None
        self.graphs: Graphs = graphs


def spoiled(value: Tensor) -> Tensor:
    """Values that differ by more than rounding, in one row alone."""
    return torch.cat([value[:1] * 1.1, value[1:]])
