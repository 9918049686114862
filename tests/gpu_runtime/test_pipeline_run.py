"""A call that stops after every step: who runs when, how it ends, what is left of it."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Iterator

import pytest
import torch

from gpu_runtime.errors import DeviceLost, RuntimeFault
from gpu_runtime.families.pipeline_run import Call, OnStep, PipelineRun

CPU = torch.device("cpu")
IMAGE = torch.ones(1, 3, 2, 2)


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    yield
    assert "pipeline-run" not in [thread.name for thread in threading.enumerate()]


def call_of(steps: int, log: list[str] | None = None) -> Call:
    """Steps whose latents are their number."""

    def call(on_step: OnStep) -> torch.Tensor:
        for step in range(steps):
            if log is not None:
                log.append(f"step {step}")
            on_step(torch.tensor(float(step)))
        return IMAGE

    return call


def test_each_advance_is_one_step_and_the_last_brings_the_image() -> None:
    log: list[str] = []
    run = PipelineRun(call_of(2, log), CPU)
    assert log == []
    run.advance()
    assert (log, run.position, run.latents) == (["step 0"], 1, torch.tensor(0.0))
    run.advance()
    assert (log, run.position, run.latents) == (["step 0", "step 1"], 2, torch.tensor(1.0))
    assert not run.is_finished
    run.advance()
    assert run.is_finished
    assert run.image is IMAGE
    assert run.position == 3


def test_runs_take_turns() -> None:
    log: list[str] = []

    def named(name: str) -> Call:
        def call(on_step: OnStep) -> torch.Tensor:
            for step in range(2):
                log.append(f"{name}{step}")
                on_step(IMAGE)
            return IMAGE

        return call

    first, second = PipelineRun(named("a"), CPU), PipelineRun(named("b"), CPU)
    for run in (first, second, second, first, first, second):
        run.advance()
    assert log == ["a0", "b0", "b1", "a1"]
    assert first.is_finished
    assert second.is_finished


def test_the_call_runs_in_inference_mode() -> None:
    seen = []

    def call(on_step: OnStep) -> torch.Tensor:
        seen.append(torch.is_inference_mode_enabled())
        return IMAGE

    PipelineRun(call, CPU).advance()
    assert seen == [True]
    assert not torch.is_inference_mode_enabled()


def test_stop_unwinds_the_call_and_ends_its_thread() -> None:
    ended = []

    def call(on_step: OnStep) -> torch.Tensor:
        try:
            on_step(IMAGE)
        finally:
            ended.append(threading.current_thread().name)
        return IMAGE

    run = PipelineRun(call, CPU)
    run.advance()
    run.stop()
    assert ended == ["pipeline-run"]
    assert not run.is_finished
    run.stop()
    with pytest.raises(RuntimeError, match="over"):
        run.advance()


def test_handlers_for_errors_inside_the_call_do_not_keep_it_running() -> None:
    def call(on_step: OnStep) -> torch.Tensor:
        for _ in range(3):
            try:
                on_step(IMAGE)
            except Exception:  # noqa: BLE001 - as a careless pipeline might
                continue
        return IMAGE

    run = PipelineRun(call, CPU)
    run.advance()
    run.stop()
    assert not run.is_finished


def test_stop_before_the_first_step_starts_nothing() -> None:
    log: list[str] = []
    run = PipelineRun(call_of(1, log), CPU)
    run.stop()
    assert log == []


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (torch.OutOfMemoryError("full"), torch.OutOfMemoryError),
        (RuntimeError("CUDA error: launch failure"), DeviceLost),
        (KeyError("full"), RuntimeFault),
    ],
)
def test_error_surfaces_at_its_step_and_at_every_later_try(error: Exception, raised: type[Exception]) -> None:
    def call(on_step: OnStep) -> torch.Tensor:
        on_step(IMAGE)
        raise error

    run = PipelineRun(call, CPU)
    run.advance()
    for _ in range(2):
        with pytest.raises(raised) as caught:
            run.advance()
        assert type(caught.value) is raised
        assert str(error) in str(caught.value)
    assert run.position == 1


def test_failed_run_keeps_nothing_of_the_call_alive(caplog: pytest.LogCaptureFixture) -> None:
    # The fixture would keep the traceback of the log's record.
    caplog.set_level(logging.WARNING, logger="gpu_runtime.families.pipeline_run")

    class Network:
        pass

    network = Network()
    gone = weakref.ref(network)

    def call(on_step: OnStep, network: Network = network) -> torch.Tensor:
        raise ValueError(f"{network} is broken")

    run = PipelineRun(call, CPU)
    with pytest.raises(RuntimeFault):
        run.advance()
    del network, call
    assert gone() is None
    with pytest.raises(RuntimeFault):
        run.advance()


def test_finished_run_refuses_to_go_on() -> None:
    run = PipelineRun(call_of(0), CPU)
    run.advance()
    with pytest.raises(RuntimeError, match="over"):
        run.advance()
