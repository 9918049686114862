"""The fake engine keeps the engine's contract and fails when the prompt says so."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault, UnsupportedCombination
from gpu_runtime.factory import build_engine
from gpu_runtime.fake import FakeEngine
from gpu_runtime.fake_faults import FaultCode, read_faults
from gpu_runtime.fake_images import fake_jpeg, fake_png
from gpu_runtime.messages import (
    HiresFix,
    Preview,
    Priority,
    Progress,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from tests.gpu_runtime.driving import drive, image_request, pixels, run_all

ROOT = Path(__file__).parents[2]


def fake_engine(*, step_ms: float = 0.0, max_rows: int = 16) -> FakeEngine:
    return FakeEngine(EngineConfig(runtime="fake", fake_step_ms=step_ms, max_rows=max_rows))


def test_factory_builds_the_fake_without_importing_torch() -> None:
    program = (
        "import sys\n"
        "from gpu_runtime.config import EngineConfig\n"
        "from gpu_runtime.factory import build_engine\n"
        "assert build_engine(EngineConfig(runtime='fake')).info().runtime == 'fake'\n"
        "heavy = {'torch', 'cv2', 'onnxruntime', 'diffusers', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=60)


def test_factory_builds_the_real_engine_by_default() -> None:
    assert build_engine(EngineConfig()).info().runtime == "torch"


def test_request_completes_in_one_step_when_steps_take_no_time() -> None:
    engine = fake_engine()
    engine.submit(image_request("r", seeds=(3, 4), steps=25))
    events = engine.step()
    assert events[0] == Progress(request_id="r", step=50, total=50)
    assert [type(event).__name__ for event in events] == ["Progress", "ImageDone", "ImageDone", "RequestDone"]
    assert not engine.has_work()


def test_every_step_is_reported_when_steps_take_time() -> None:
    outcome = run_all(fake_engine(step_ms=0.01), [image_request("r", steps=5)])
    assert [event.step for event in outcome.events if isinstance(event, Progress)] == [1, 2, 3, 4, 5]
    assert isinstance(outcome.final("r"), RequestDone)


def test_all_rows_share_one_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    run_all(fake_engine(step_ms=20), [image_request(str(n), steps=10) for n in range(8)])
    assert pauses == [0.02] * 10


def test_image_is_a_real_file_that_depends_on_prompt_and_seed_alone() -> None:
    image = run_all(fake_engine(), [image_request("r", output_width=40, output_height=24)]).images("r")[0]
    assert pixels(image.data).shape == (24, 40, 3)
    assert image.data == fake_png("a red apple", 7, width=40, height=24)
    others = {fake_png(p, s, width=40, height=24) for p in "ab" for s in range(4)}
    assert len(others) == 8


@pytest.mark.parametrize(("width", "height"), [(1, 1), (7, 3), (512, 512), (2048, 8)])
def test_image_of_any_size_decodes(width: int, height: int) -> None:
    decoded = pixels(fake_png("x", 1, width=width, height=height))
    assert decoded.shape == (height, width, 3)
    assert (decoded == decoded[0]).all()


def test_previews_are_real_files_and_come_where_they_are_wanted() -> None:
    requests = [image_request("a", seeds=(1, 2), steps=3, wants_previews=True), image_request("b", steps=3)]
    events = run_all(fake_engine(step_ms=0.01), requests).events
    previews = [event for event in events if isinstance(event, Preview)]
    assert [(p.request_id, p.index, p.step) for p in previews] == [
        ("a", index, step) for step in (1, 2) for index in (0, 1)
    ]
    assert pixels(previews[0].data).shape[:2] == (8, 8)
    assert len({fake_jpeg("x", seed) for seed in range(8)}) > 4


def test_progress_counts_every_pass() -> None:
    hires = HiresFix(width=64, height=64, strength=0.5, steps=6)
    outcome = run_all(fake_engine(step_ms=0.01), [image_request("r", steps=5, seeds=(1, 2), hires=hires)])
    progress = [event for event in outcome.events if isinstance(event, Progress)]
    assert [(event.step, event.total) for event in progress] == [(2 * step, 16) for step in range(1, 9)]


def test_forecast_names_who_is_done_next() -> None:
    engine = fake_engine(step_ms=10, max_rows=2)
    engine.submit(image_request("long", steps=30, account="ada"))
    engine.submit(image_request("short", steps=10, account="ben"))
    engine.submit(image_request("later", steps=5, account="cleo", priority=Priority.BACKGROUND))
    assert [(each.request_id, each.position) for each in engine.forecast()] == [
        ("short", 0),
        ("long", 1),
        ("later", 2),
    ]
    assert [each.seconds for each in engine.forecast()] == pytest.approx([0.1, 0.3, 0.35])


def test_background_waits_for_interactive_requests() -> None:
    engine = fake_engine(step_ms=0.01, max_rows=1)
    engine.submit(image_request("later", steps=1, priority=Priority.BACKGROUND))
    engine.submit(image_request("now", steps=1))
    assert [e.request_id for e in engine.step() if isinstance(e, RequestDone)] == ["now"]


def test_requests_wait_for_room_and_isolated_ones_run_alone() -> None:
    engine = fake_engine(step_ms=0.01, max_rows=2)
    for name in ("a", "b", "c"):
        engine.submit(image_request(name, steps=1))
    engine.submit(image_request("d", steps=1, is_isolated=True))
    assert engine.free_rows() == 0
    steps = [{e.request_id for e in engine.step() if isinstance(e, RequestDone)} for _ in range(3)]
    assert steps == [{"a", "b"}, {"c"}, {"d"}]


def test_cancel_and_drain_behave_as_in_the_real_engine() -> None:
    engine = fake_engine(step_ms=0.01)
    engine.submit(image_request("a"))
    engine.submit(image_request("b"))
    engine.step()
    engine.cancel("a")
    engine.cancel("nobody")
    engine.drain()
    with pytest.raises(RuntimeFault, match="draining"):
        engine.submit(image_request("c"))
    outcome = drive(engine)
    assert outcome.final("a") == RequestCanceled(request_id="a")
    assert isinstance(outcome.final("b"), RequestDone)


def test_impossible_request_is_refused_as_in_the_real_engine() -> None:
    with pytest.raises(UnsupportedCombination, match="multiple of 8"):
        fake_engine().submit(image_request("r", width=33))


@pytest.mark.parametrize(("code", "fault"), [("oom", OutOfMemory), ("nan", NumericFault)])
def test_fault_code_fails_its_request_only(code: str, fault: type[RuntimeFault]) -> None:
    outcome = run_all(
        fake_engine(), [image_request("bad", prompt=f"x [fault:{code}]"), image_request("good")]
    )
    final = outcome.final("bad")
    assert isinstance(final, RequestFailed)
    assert type(final.fault) is fault
    assert outcome.images("bad") == {}
    assert isinstance(outcome.final("good"), RequestDone)


def test_fault_strikes_at_its_step() -> None:
    outcome = run_all(fake_engine(step_ms=0.01), [image_request("r", prompt="[fault:oom@3]", steps=5)])
    assert [event.step for event in outcome.events if isinstance(event, Progress)] == [1, 2]


def test_slow_fault_stretches_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    run_all(fake_engine(step_ms=20), [image_request("r", prompt="[fault:slow@2]", steps=3)])
    assert pauses == [0.02, 0.2, 0.2]


def test_fault_codes_carry_step_and_probability() -> None:
    always, never = random.Random(), random.Random()
    always.random, never.random = lambda: 0.0, lambda: 0.99  # type: ignore[method-assign]
    prompt = "a [fault:crash@3] b [fault:nan@2%0.5] [fault:unknown]"
    assert read_faults(prompt, always) == (FaultCode("crash", 3), FaultCode("nan", 2))
    assert read_faults(prompt, never) == (FaultCode("crash", 3),)


def run_fault(code: str, *, timeout_s: float) -> subprocess.CompletedProcess[str]:
    program = (
        "from tests.gpu_runtime.driving import image_request\n"
        "from gpu_runtime.fake import FakeEngine\n"
        "from gpu_runtime.config import EngineConfig\n"
        "engine = FakeEngine(EngineConfig(runtime='fake'))\n"
        f"engine.submit(image_request('r', prompt='[fault:{code}]'))\n"
        "print('submitted', flush=True)\n"
        "engine.step()\n"
        "print('returned', flush=True)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        timeout=timeout_s,
        capture_output=True,
        text=True,
        check=False,
    )


def test_crash_fault_kills_the_process() -> None:
    finished = run_fault("crash", timeout_s=60)
    assert finished.returncode == -signal.SIGKILL
    assert finished.stdout == "submitted\n"


def test_hang_fault_never_returns_from_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waiting without a limit is the hang; an event that is never set is what it waits for."""
    waits: list[float | None] = []

    class Waited(Exception):
        pass

    def wait(_self: object, timeout: float | None = None) -> bool:
        waits.append(timeout)
        raise Waited

    monkeypatch.setattr("threading.Event.wait", wait)
    engine = fake_engine()
    engine.submit(image_request("r", prompt="[fault:hang]"))
    with pytest.raises(Waited):
        engine.step()
    assert waits == [None]
