"""Calls that are recorded once and replayed: which, when, at whose addresses, and what becomes of memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import DeviceLost
from gpu_runtime.execution import graphs, regions
from gpu_runtime.execution.calling import calling, eager
from gpu_runtime.execution.codes import State
from gpu_runtime.execution.graphs import CALLS_BEFORE, CHECKED_REPLAYS, MOST_GRAPHS, MOST_REFUSED, Graphs
from gpu_runtime.execution.preparing import Execution
from gpu_runtime.messages import Tier
from gpu_runtime.weights.slots import Prepared
from tests.gpu_runtime.recordings import SHARED_BYTES, EchoRecorder, spoiled
from tests.gpu_runtime.test_fp8 import WIDTH as FP8_WIDTH
from tests.gpu_runtime.test_fp8 import UNet2DConditionModel as Fp8Denoiser
from tests.gpu_runtime.weight_store import PLAN

WIDTH = 4

BUFFER_BYTES = 4 * (2 * WIDTH + 2)
"""Of a call of two rows: the sample and the timesteps, in float32."""


class ResnetBlock2D(nn.Module):
    """By its name, a block that is compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.layer(x))


class UNet2DConditionModel(nn.Module):
    """By its name, a denoiser."""

    def __init__(self) -> None:
        super().__init__()
        self.block = ResnetBlock2D()
        self.calls = 0
        """Calls that came to the network itself: all but replays, and the one that is recorded."""

    def forward(self, sample: Tensor, *, timestep: Tensor, scale: float = 1.0, **more: Any) -> tuple[Tensor]:
        self.calls += 1
        return (self.block(sample) * scale + timestep[:, None],)


class Bench:
    """A denoiser whose calls may be recorded."""

    def __init__(self, **config: Any) -> None:
        torch.manual_seed(0)
        self.network = UNet2DConditionModel().eval().requires_grad_(False)
        self.plain = UNet2DConditionModel().eval().requires_grad_(False)
        self.plain.load_state_dict(self.network.state_dict())
        self.recorder = EchoRecorder()
        self.recorder.networks.append(self.network)
        self.execution = Execution(EngineConfig(**{"compile": "off", **config}), PLAN, self.recorder)
        prepared = self.execution.prepare(self.network)
        assert prepared is not None
        self.prepared: Prepared = prepared
        self.prepared.filled()

    @property
    def graphs(self) -> Graphs:
        assert self.execution.graphs is not None
        return self.execution.graphs

    def arguments(self, rows: int = 2) -> dict[str, Tensor]:
        """Other values at each call."""
        return {"sample": torch.randn(rows, WIDTH), "timestep": torch.rand(rows) * 1000}

    def call(self, times: int = 1, *, rows: int = 2, **more: Any) -> None:
        """Each result must be that of the same network without anything around it."""
        for _ in range(times):
            with torch.inference_mode():
                arguments = {**self.arguments(rows), **more}
                (ours,), (theirs,) = self.network(**arguments), self.plain(**arguments)
            assert torch.equal(ours, theirs)

    def record(self, rows: int = 2) -> None:
        """Until the calls of so many rows are replayed and no longer compared."""
        self.call(CALLS_BEFORE + CHECKED_REPLAYS, rows=rows)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_equal_calls_are_recorded_after_a_while_and_replayed(bench: Bench) -> None:
    bench.call(CALLS_BEFORE - 1)
    assert bench.recorder.made == []
    bench.call()
    assert len(bench.recorder.alive) == 1
    bench.call(CHECKED_REPLAYS - 1)
    own = CALLS_BEFORE + CHECKED_REPLAYS - 1
    # The echo's recording and its replays are calls of the network as well.
    assert bench.network.calls == own + 1 + bench.recorder.replays
    bench.call(5)
    assert bench.recorder.replays == CHECKED_REPLAYS + 5
    assert bench.network.calls == own + 1 + bench.recorder.replays


def test_results_stay_as_they_are_while_others_are_computed(bench: Bench) -> None:
    bench.record()
    bench.record(rows=3)
    with torch.inference_mode():
        arguments = bench.arguments()
        (kept,), (expected,) = bench.network(**arguments), bench.plain(**arguments)
    bench.call(2)
    bench.call(2, rows=3)
    assert torch.equal(kept, expected)


def test_shapes_and_settings_have_recordings_of_their_own(bench: Bench) -> None:
    bench.record()
    bench.record(rows=3)
    bench.call(CALLS_BEFORE, scale=2.0)
    with torch.inference_mode():
        for _ in range(CALLS_BEFORE):
            transposed = torch.randn(WIDTH, 2).t()
            (ours,) = bench.network(sample=transposed, timestep=torch.zeros(2))
            assert torch.equal(ours, bench.plain(sample=transposed, timestep=torch.zeros(2))[0])
    assert len(bench.recorder.alive) == 4


def test_shapes_that_hardly_come_are_never_recorded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "MOST_COUNTED", 4)
    for _ in range(2 * CALLS_BEFORE):
        for rows in range(1, 6):
            bench.call(rows=rows)
    assert bench.recorder.made == []


@pytest.mark.parametrize(
    "controls",
    ["down_block_additional_residuals", "mid_block_additional_residual", "controlnet_block_samples"],
)
def test_calls_with_controls_are_not_recorded(bench: Bench, controls: str) -> None:
    with_controls: dict[str, Any] = {controls: torch.zeros(2)}
    bench.call(2 * CALLS_BEFORE, **with_controls)
    assert bench.recorder.made == []


def test_exact_rows_and_calls_with_hooks_are_not_recorded(bench: Bench) -> None:
    with calling(Tier.EXACT):
        bench.call(2 * CALLS_BEFORE)
    with eager():
        bench.call(2 * CALLS_BEFORE)
    assert bench.recorder.made == []
    bench.record()
    replays = bench.recorder.replays
    with calling(Tier.EXACT):
        bench.call(2)
    with eager():
        bench.call(2)
    assert bench.recorder.replays == replays


def test_what_no_buffer_can_hold_is_not_recorded(bench: Bench) -> None:
    with torch.inference_mode():
        for _ in range(2 * CALLS_BEFORE):
            bench.network(sample=torch.ones(1, WIDTH).expand(2, WIDTH), timestep=torch.zeros(2))
            bench.network(sample=torch.ones(2, WIDTH), timestep=torch.zeros(2), more=object())
            bench.network(
                sample=torch.ones(2, WIDTH), timestep=torch.zeros(2), more=torch.ones(1, device="meta")
            )
    with torch.no_grad():
        for _ in range(2 * CALLS_BEFORE):
            bench.network(**bench.arguments())
    assert bench.recorder.made == []


def test_rows_are_filled_up_before_they_are_recorded() -> None:
    """Five rows run as six, so that a recording serves both."""
    bench = Bench(compile="regional")
    bench.execution.regions = regions.RegionCompiler()
    for block in bench.network.modules():
        block._compiled_call_impl = block._compiled_call_impl if block is bench.network else None
    bench.record(rows=6)
    bench.call(3, rows=5)
    assert len(bench.recorder.made) == 1
    assert bench.recorder.replays == CHECKED_REPLAYS + 1 + 3


# Addresses ------------------------------------------------------------------------------------------


def test_filling_in_place_keeps_recordings(bench: Bench) -> None:
    bench.record()
    for network in (bench.network, bench.plain):
        network.block.layer.weight.mul_(2)
    bench.prepared.filled()
    replays = bench.recorder.replays
    bench.call(3)
    assert bench.recorder.replays == replays + 3


def test_filling_elsewhere_drops_recordings(bench: Bench) -> None:
    bench.record()
    bench.network.block.layer.bias.data = bench.network.block.layer.bias.clone()
    bench.prepared.filled()
    assert bench.recorder.alive == []
    bench.record()
    assert len(bench.recorder.alive) == 1


def test_emptied_network_keeps_no_recording_and_gets_none(bench: Bench) -> None:
    bench.record()
    bench.prepared.emptied()
    assert bench.recorder.alive == []
    assert bench.graphs.size_bytes == 0
    bench.record()
    assert bench.recorder.alive == []
    bench.prepared.filled()
    bench.record()
    assert len(bench.recorder.alive) == 1


def test_filling_in_place_keeps_recordings_of_fp8_products() -> None:
    """Second weights are made anew at each filling, where the last ones were."""
    torch.manual_seed(0)
    network = Fp8Denoiser().eval().requires_grad_(False)
    recorder = EchoRecorder()
    recorder.networks.append(network)
    prepared = Execution(EngineConfig(fp8=True, compile="off"), PLAN, recorder).prepare(network)
    assert prepared is not None
    prepared.filled()

    def call() -> Tensor:
        result: Tensor = network(torch.randn(2, 9, FP8_WIDTH), torch.randn(2, 5, FP8_WIDTH))
        return result

    with torch.inference_mode(), calling(Tier.FAST):
        for _ in range(CALLS_BEFORE + CHECKED_REPLAYS):
            call()
    for parameter in network.parameters():
        parameter.mul_(-0.5)
    prepared.filled()
    replays = recorder.replays
    with torch.inference_mode(), calling(Tier.FAST):
        torch.manual_seed(1)
        ours = call()
        torch.manual_seed(1)
        with eager():
            assert torch.equal(ours, call())
    assert recorder.replays == replays + 1


# Whether a recording is right -----------------------------------------------------------------------


def test_recording_that_differs_is_given_up(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.recorder.distort = spoiled
    bench.call(3 * CALLS_BEFORE)
    assert (len(bench.recorder.made), bench.recorder.alive) == (1, [])
    assert "its replay differs from the call" in caplog.text
    bench.recorder.distort = lambda value: value
    bench.record(rows=3)
    assert len(bench.recorder.alive) == 1


def test_recording_that_keeps_its_first_arguments_is_found_out(bench: Bench) -> None:
    """Its second replay is compared as well, with other values."""
    first: list[Tensor] = []

    def stale(value: Tensor) -> Tensor:
        first.append(value.clone())
        return first[0]

    bench.recorder.distort = stale
    bench.call(2 * CALLS_BEFORE)
    assert bench.recorder.alive == []
    assert bench.recorder.replays == CHECKED_REPLAYS


def test_values_that_are_not_finite_decide_nothing(bench: Bench) -> None:
    with torch.inference_mode():
        bad = torch.full((2, WIDTH), float("nan"))
        for _ in range(CALLS_BEFORE + CHECKED_REPLAYS):
            (result,) = bench.network(sample=bad, timestep=torch.zeros(2))
            assert result.isnan().all()
    assert len(bench.recorder.alive) == 1
    replays = bench.recorder.replays
    own = bench.network.calls - replays
    bench.call(CHECKED_REPLAYS)
    assert bench.network.calls - bench.recorder.replays == own + CHECKED_REPLAYS, "compared before it is used"
    bench.call(4)
    assert bench.network.calls - bench.recorder.replays == own + CHECKED_REPLAYS


def test_call_that_cannot_be_recorded_is_not_tried_again(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "PAUSE_CALLS", 0)
    bench.recorder.fault = RuntimeError("operation not permitted when stream is capturing")
    bench.call(CALLS_BEFORE)
    assert "cannot be recorded: operation not permitted" in caplog.text
    bench.recorder.fault = None
    bench.call(3 * CALLS_BEFORE)
    assert bench.recorder.made == []
    bench.record(rows=3)
    assert len(bench.recorder.made) == 1


def test_network_of_which_nothing_can_be_recorded_is_left_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "PAUSE_CALLS", 0)
    bench.recorder.fault = RuntimeError("a wait for the device")
    for rows in range(1, MOST_REFUSED + 3):
        bench.call(CALLS_BEFORE, rows=rows)
    assert caplog.text.count("cannot be recorded") == MOST_REFUSED
    assert "runs without CUDA graphs from now on" in caplog.text


def test_lost_device_is_no_matter_of_recordings(bench: Bench) -> None:
    bench.call(CALLS_BEFORE - 1)
    bench.recorder.fault = DeviceLost("the device failed")
    with pytest.raises(DeviceLost):
        bench.call()


# Memory ---------------------------------------------------------------------------------------------


def test_memory_is_counted_while_there_are_recordings(bench: Bench) -> None:
    assert bench.graphs.size_bytes == 0
    bench.record()
    assert bench.graphs.size_bytes == SHARED_BYTES + BUFFER_BYTES
    bench.record(rows=4)
    assert bench.graphs.size_bytes == SHARED_BYTES + 3 * BUFFER_BYTES
    assert bench.prepared.size_bytes == 0, "they do not come with the weights"
    assert bench.graphs.drop() == SHARED_BYTES + 3 * BUFFER_BYTES
    assert bench.graphs.drop() == bench.graphs.size_bytes == 0
    assert bench.recorder.released


def test_nothing_is_recorded_for_a_while_after_graphs_were_given_up(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "PAUSE_CALLS", 3 * CALLS_BEFORE)
    bench.record()
    bench.graphs.drop()
    bench.call(3 * CALLS_BEFORE)
    assert bench.recorder.alive == []
    bench.call()
    assert len(bench.recorder.alive) == 1


def test_lack_of_memory_while_recording_gives_all_up_for_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "PAUSE_CALLS", CALLS_BEFORE)
    bench.record()
    bench.recorder.fault = torch.OutOfMemoryError("out of memory")
    bench.call(CALLS_BEFORE, rows=3)
    assert bench.recorder.alive == []
    bench.recorder.fault = None
    bench.call(CALLS_BEFORE, rows=3)
    assert bench.recorder.alive == []
    bench.call(rows=3)
    assert len(bench.recorder.alive) == 1


def test_first_recording_that_fails_leaves_no_memory(bench: Bench) -> None:
    """torch takes no recording into memory that nobody uses any more."""
    bench.recorder.fault = torch.OutOfMemoryError("out of memory")
    bench.call(CALLS_BEFORE)
    assert bench.recorder.released == 1


def test_least_recently_used_recording_gives_way(bench: Bench) -> None:
    for rows in range(1, MOST_GRAPHS + 1):
        bench.record(rows)
    bench.call()
    bench.record(MOST_GRAPHS + 1)
    assert len(bench.recorder.alive) == MOST_GRAPHS
    gone = [echo for echo in bench.recorder.made if echo not in bench.recorder.alive]
    assert gone == [bench.recorder.made[0]], "that of one row; two came again meanwhile"
    bench.call(2)


# Compiled code --------------------------------------------------------------------------------------


def test_calls_are_recorded_when_their_code_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "BACKEND", "eager")
    bench = Bench(compile="regional")
    compiler = bench.execution.regions
    with monkeypatch.context() as waiting:
        waiting.setattr(compiler, "_enqueue", lambda *job: None)
        bench.call(2 * CALLS_BEFORE)
    assert compiler.count(State.WAITING) == 1
    assert bench.recorder.made == []
    compiler._codes.clear()
    bench.call()
    compiler.wait()
    assert compiler.count(State.READY) == 1
    bench.call(CALLS_BEFORE - 1)
    assert bench.recorder.made == []
    bench.call()
    assert len(bench.recorder.alive) == 1
    (own,) = bench.graphs._networks
    (graph,) = own._graphs.values()
    assert [code.state for code in graph.codes if code] == [State.READY], "what it launches stays loaded"


def test_nothing_is_recorded_while_other_code_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "BACKEND", "eager")
    bench = Bench(compile="regional")
    bench.call()
    bench.execution.regions.wait()
    monkeypatch.setattr(bench.execution.regions, "is_idle", lambda: False)
    bench.call(2 * CALLS_BEFORE)
    assert bench.recorder.made == []
    monkeypatch.undo()
    bench.call()
    assert len(bench.recorder.made) == 1


def test_block_that_does_not_compile_is_recorded_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(regions, "BACKEND", broken)
    bench = Bench(compile="regional")
    bench.call()
    bench.execution.regions.wait()
    bench.record()
    assert len(bench.recorder.alive) == 1
