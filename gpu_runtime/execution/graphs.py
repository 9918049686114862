"""Whole denoiser calls replayed as CUDA graphs: one launch in the place of thousands.

A graph holds addresses. Its inputs are buffers into which each call's arguments are copied; its result is
copied out before anything else is replayed, so what a caller gets is the caller's own; and its weights stay
where they are while a slot is filled over and over. When the slot is emptied, or filled at other addresses,
its graphs are dropped: `filled` and `emptied` say so, and without the first of them nothing is recorded.

A shape is recorded when CALLS_BEFORE equal calls found all of their compiled code ready, at a moment when
nothing is being compiled. The first replays are compared with the same calls run as they were before,
whose results are used. What differs, or cannot be recorded, is never tried again.

All graphs of an engine work in the same memory (`recording.Recorder`). It is spare: counted by the budget of
weights, and given up before any of those leave. Single-threaded.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any
from weakref import WeakSet

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gpu_runtime.device_faults import is_out_of_memory, release_cached_memory
from gpu_runtime.execution.codes import Blank, Code, State
from gpu_runtime.execution.recording import Recorder, Recording
from gpu_runtime.execution.regions import RegionCompiler
from gpu_runtime.execution.replies import are_alike, owned
from gpu_runtime.execution.signatures import signature

log = logging.getLogger(__name__)

CALLS_BEFORE = 8
"""Equal calls after which a shape is recorded: within the first image of most samplers, so that a size
that comes once costs nothing but that."""

CHECKED_REPLAYS = 2
"""Replays that are compared: the first with the arguments of the recording, the next with others."""

MOST_GRAPHS = 8
"""Of one network: the least recently used gives way."""

MOST_REFUSED = 3
"""Shapes that came to nothing, after which a network is not recorded any more: the cause is its own."""

MOST_COUNTED = 128
"""Shapes of one network whose calls are counted at a time."""

PAUSE_CALLS = 2000
"""Calls for which nothing is recorded after graphs were given up for lack of memory: at once they would be
there again, and memory run out again."""

Run = Callable[[tuple[Any, ...], dict[str, Any]], Any]
"""A network's call. Any: diffusers' networks are untyped."""


@dataclass(slots=True, kw_only=True)
class Graph:
    """One recorded call of one shape."""

    recording: Recording
    inputs: list[Any]
    """Buffers, and what is no tensor as it is."""
    result: Any
    """As the network returned it while it was recorded; written by each replay."""
    codes: Sequence[Code | None]
    """Kept alive: the recording launches what they loaded."""
    checks: int = 0
    """Replays that were compared so far."""

    @property
    def input_bytes(self) -> int:
        """Bytes of the buffers."""
        return sum(each.nbytes for each in self.inputs if isinstance(each, Tensor))

    def replay(self, arguments: Sequence[Any]) -> Any:
        """The result for these arguments, in tensors of its own."""
        for buffer, argument in zip(self.inputs, arguments, strict=True):
            if isinstance(buffer, Tensor):
                buffer.copy_(argument)
        self.recording.replay()
        return owned(self.result)


class Graphs:
    """All graphs of one engine."""

    def __init__(self, recorder: Recorder, compiler: RegionCompiler) -> None:
        """`compiler` is that of the networks' regions."""
        self.recorder = recorder
        self.compiler = compiler
        self._networks: WeakSet[NetworkGraphs] = WeakSet()
        self._shared_bytes = 0
        self._calls = 0
        self._paused_until = 0

    @property
    def size_bytes(self) -> int:
        """Bytes on the device for graphs alone: the memory in which they work, and their buffers."""
        return self._shared_bytes + sum(network.input_bytes for network in self._networks)

    def of(self, network: nn.Module) -> NetworkGraphs:
        """Those of one more network; they live as long as what is returned."""
        graphs = NetworkGraphs(network, self)
        self._networks.add(graphs)
        return graphs

    def drop(self) -> int:
        """Give all of them up, for a while. Returns the bytes freed."""
        freed = self.size_bytes
        self._paused_until = self._calls + PAUSE_CALLS
        if freed:
            log.info("CUDA graphs are given up for room: %d MB", freed >> 20)
        for network in self._networks:
            network.forget()
        # A first recording that failed leaves memory behind without any graph.
        self.note_forgotten()
        return freed

    def may_record(self) -> bool:
        """Whether now is the time. Counts calls: to be asked at each that is not replayed."""
        self._calls += 1
        # A thread that compiles waits for the whole device, which ends a recording.
        return self._calls > self._paused_until and self.compiler.is_idle()

    def note_recorded(self) -> None:
        """One more was recorded."""
        self._shared_bytes = self.recorder.measured_bytes()

    def note_forgotten(self) -> None:
        """Some were forgotten: with the last one goes the memory that they shared."""
        if not any(network.count for network in self._networks):
            self.recorder.release()
            self._shared_bytes = 0


class NetworkGraphs:
    """The graphs of one network. Implements `weights.slots.Prepared`."""

    def __init__(self, network: nn.Module, graphs: Graphs) -> None:
        """Nothing is recorded before `filled`."""
        self._network = network
        self._all = graphs
        self._graphs: OrderedDict[Hashable, Graph] = OrderedDict()
        """The least recently used first."""
        self._seen: OrderedDict[Hashable, int] = OrderedDict()
        """Calls since all of their code is ready, by shape; the latest shape last."""
        self._refused: set[Hashable] = set()
        self._addresses: tuple[int, ...] | None = None
        """Of the network's tensors since it was filled; None while it is empty."""

    @property
    def size_bytes(self) -> int:
        """0: graphs do not come with the weights, and are counted once they are there."""
        return 0

    @property
    def input_bytes(self) -> int:
        """Bytes of all buffers."""
        return sum(graph.input_bytes for graph in self._graphs.values())

    @property
    def count(self) -> int:
        """Graphs now."""
        return len(self._graphs)

    def filled(self) -> None:
        """Graphs stay if the new values are where the last ones were."""
        addresses = _addresses(self._network)
        if addresses != self._addresses:
            self.forget()
        self._addresses = addresses

    def emptied(self) -> None:
        """What graphs read from is gone."""
        self.forget()
        self._addresses = None

    def forget(self) -> None:
        """Drop all graphs; shapes are counted anew."""
        for shape in list(self._graphs):
            self._forget(shape)
        self._seen.clear()

    def call(self, run: Run, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The result of `run`, which has no side effect: by a graph where there is one for the arguments.

        Raises what `run` raises.
        """
        if self._addresses is None or len(self._refused) >= MOST_REFUSED:
            return run(args, kwargs)
        values, spec = pytree.tree_flatten((args, kwargs))
        shape = signature(values, spec, kwargs)
        if shape is None or shape in self._refused:
            return run(args, kwargs)
        graph = self._graphs.get(shape)
        if graph is None:
            return self._counted(shape, values, spec, run)
        self._graphs.move_to_end(shape)
        if graph.checks < CHECKED_REPLAYS:
            return self._checked(shape, graph, values, run(args, kwargs))
        return graph.replay(values)

    def _counted(self, shape: Hashable, values: Sequence[Any], spec: Any, run: Run) -> Any:
        """Run; then record if this was the last of enough equal calls."""
        may_record = self._all.may_record()
        with self._all.compiler.noting() as codes:
            result = run(*pytree.tree_unflatten(values, spec))
        calls = self._seen.pop(shape, 0) + 1
        if not _are_final(codes):
            return result
        self._seen[shape] = calls
        if len(self._seen) > MOST_COUNTED:
            self._seen.popitem(last=False)
        if not may_record or calls < CALLS_BEFORE:
            return result
        graph = self._recorded(shape, values, spec, run)
        return result if graph is None else self._checked(shape, graph, values, result)

    def _recorded(self, shape: Hashable, values: Sequence[Any], spec: Any, run: Run) -> Graph | None:
        """A new graph; None where there could be none. Raises DeviceLost."""
        del self._seen[shape]
        try:
            graph = self._record(values, spec, run)
        except RuntimeError as error:
            is_full, reason = is_out_of_memory(error), str(error)
        else:
            self._graphs[shape] = graph
            if len(self._graphs) > MOST_GRAPHS:
                self._forget(next(iter(self._graphs)))
            self._all.note_recorded()
            return graph
        # Outside the handler: the traceback would keep the failed call's tensors alive. All of them, because
        # memory is short, or because torch takes up no recording again in memory where one went wrong.
        self._all.drop()
        release_cached_memory()
        if not is_full:
            self._refuse(shape, f"it cannot be recorded: {reason}")
        return None

    def _record(self, values: Sequence[Any], spec: Any, run: Run) -> Graph:
        # Of zeros, so that a replay which does not read its buffers is found out.
        inputs = [blank.tensor() if isinstance(blank, Blank) else blank for blank in map(Blank.of, values)]
        with self._all.compiler.noting() as codes:
            recording, result = self._all.recorder.record(lambda: run(*pytree.tree_unflatten(inputs, spec)))
        return Graph(recording=recording, inputs=inputs, result=result, codes=codes)

    def _checked(self, shape: Hashable, graph: Graph, values: Sequence[Any], expected: Any) -> Any:
        """Compare a replay with what the same call gave, which is returned."""
        are_equal = are_alike(graph.replay(values), expected)
        if are_equal:
            graph.checks += 1
        elif are_equal is False:
            self._refuse(shape, "its replay differs from the call")
        return expected

    def _refuse(self, shape: Hashable, reason: str) -> None:
        name = type(self._network).__name__
        log.warning("a shape of a %s runs without a CUDA graph from now on: %s", name, reason)
        self._refused.add(shape)
        self._forget(shape)
        if len(self._refused) >= MOST_REFUSED:
            log.warning("a %s runs without CUDA graphs from now on", name)
            self.forget()

    def _forget(self, shape: Hashable) -> None:
        graph = self._graphs.pop(shape, None)
        if graph is not None:
            graph.recording.reset()
        self._all.note_forgotten()


def _addresses(network: nn.Module) -> tuple[int, ...]:
    """Where each of the network's tensors is."""
    return tuple(each.data_ptr() for each in chain(network.parameters(), network.buffers()))


def _are_final(codes: Sequence[Code | None]) -> bool:
    """Whether blocks will run by no other code than these."""
    return all(code is not None and code.state is not State.WAITING for code in codes)
