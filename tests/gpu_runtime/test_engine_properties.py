"""What holds for any mixture of requests, cancellations and faults. The family computes next to nothing."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import OutOfMemory
from gpu_runtime.images import Pixels, encode_png
from gpu_runtime.messages import (
    CheckpointRef,
    Enlarging,
    Event,
    HiresFix,
    ImageDone,
    ImageInput,
    ImageRequest,
    Preview,
    Priority,
    Progress,
    RefinerRef,
    RequestCanceled,
    RequestDone,
    RequestFailed,
    Sampler,
    Tier,
)
from gpu_runtime.telemetry import TickKind
from tests.gpu_runtime import light_family
from tests.gpu_runtime.driving import Outcome, drive, image_request, run_all

ROUNDS = 1000

MAX_ROWS = 6

PICTURE = ImageInput(data=b"a picture", digest="picture")

END = RequestDone | RequestFailed | RequestCanceled


@pytest.fixture
def refs(checkpoint: CheckpointRef, v_checkpoint: CheckpointRef) -> list[CheckpointRef]:
    """Two checkpoints and a refiner; only their folders are looked at."""
    folders = {"one": checkpoint.path, "two": v_checkpoint.path, "refiner": v_checkpoint.path}
    return [CheckpointRef(name=n, family="sdxl", path=path, digest=n) for n, path in folders.items()]


def any_request(dice: random.Random, name: str, refs: list[CheckpointRef]) -> ImageRequest:
    one, two, refiner = refs
    side = dice.choice([16, 32])
    fault = dice.choice(light_family.FAULTS) if dice.random() < 0.15 else "a cat"
    fields: dict[str, Any] = {
        "prompt": f"{fault} on the roof" if dice.random() < 0.2 else fault,
        "width": side,
        "height": side,
        "seeds": tuple(range(dice.randint(1, 4))),
        "steps": dice.randint(2, 5),
        "guidance_scale": dice.choice([1.0, 4.0]),
        "sampler": dice.choice([Sampler.EULER, Sampler.UNIPC]),
        "account": dice.choice(["ada", "ben", "cleo"]),
        "tier": dice.choice(list(Tier)),
        "priority": dice.choice(list(Priority)),
        "deadline_s": dice.choice([None, 0.1, 100.0]),
        "is_isolated": dice.random() < 0.05,
        "wants_previews": dice.random() < 0.3,
    }
    if dice.random() < 0.2:
        fields |= {"image": PICTURE, "strength": 0.8, "mask": dice.choice([None, PICTURE])}
    if dice.random() < 0.25:
        fields["refiner"] = RefinerRef(checkpoint=refiner, switch_at=0.5)
    if dice.random() < 0.25:
        enlarging = dice.choice((Enlarging.LATENTS, Enlarging.LANCZOS, Enlarging.NEAREST))
        fields["hires"] = HiresFix(width=64, height=64, strength=0.7, steps=3, enlarging=enlarging)
    return image_request(name, dice.choice([one, one, two]), **fields)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr("gpu_runtime.previews.INTERVAL_S", 0.0)
    config = EngineConfig(check_invariants=True, max_rows=MAX_ROWS)
    engine = Engine(config, families={"sdxl": light_family.load})
    yield engine
    engine.close()


def test_anything_may_happen_for_a_thousand_rounds(engine: Engine, refs: list[CheckpointRef]) -> None:
    dice = random.Random(20261123)
    outcome, requests = Outcome(), dict[str, ImageRequest]()
    for turn in range(ROUNDS):
        if dice.random() < 0.3 and engine.free_rows():
            request = any_request(dice, f"r{turn}", refs)
            requests[request.request_id] = request
            engine.submit(request)
        if requests and dice.random() < 0.05:
            engine.cancel(dice.choice(list(requests)))
        outcome.events += engine.step()
    drive(engine, outcome)
    engine.check_invariants()
    by_request: dict[str, list[Event]] = {}
    for event in outcome.events:
        by_request.setdefault(event.request_id, []).append(event)
    assert set(by_request) == set(requests)
    for name, request in requests.items():
        assert_sound(request, by_request[name])
    seen = {type(event) for event in outcome.events}
    assert seen == {Progress, Preview, ImageDone, RequestDone, RequestFailed, RequestCanceled}


def assert_sound(request: ImageRequest, events: list[Event]) -> None:
    """One end, at the end; every image once if it succeeds; what asks for a fault does not succeed."""
    *before, last = events
    assert isinstance(last, END)
    assert not any(isinstance(event, END) for event in before)
    progress = [event for event in before if isinstance(event, Progress)]
    assert [event.step for event in progress] == sorted(event.step for event in progress)
    assert all(event.step <= event.total for event in progress)
    images = [event.index for event in before if isinstance(event, ImageDone)]
    assert len(images) == len(set(images))
    if isinstance(last, RequestDone):
        assert sorted(images) == list(range(len(request.seeds)))
        assert not any(fault in request.prompt for fault in light_family.FAULTS)
        assert progress[-1].step == progress[-1].total
    if isinstance(last, RequestFailed):
        assert any(fault in request.prompt for fault in light_family.FAULTS)


@pytest.mark.parametrize("place", ["register._enlarged", "finishing.to_pixels"])
def test_lack_of_memory_between_steps_fails_a_request_and_not_the_engine(
    place: str, engine: Engine, refs: list[CheckpointRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_big(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    larger = HiresFix(width=64, height=64, strength=1.0, steps=1, enlarging=Enlarging.LATENTS)
    with monkeypatch.context() as patched:
        patched.setattr(f"gpu_runtime.{place}", too_big)
        final = run_all(engine, [image_request("r", refs[0], steps=1, hires=larger)]).final("r")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, OutOfMemory)
    assert isinstance(run_all(engine, [image_request("next", refs[0])]).final("next"), RequestDone)


def test_images_of_one_step_do_not_pile_up_before_a_slow_encoder(
    engine: Engine, refs: list[CheckpointRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are queued: the engine takes no more while others keep the processor from its files."""
    may_encode = threading.Event()

    def encode_later(pixels: Pixels) -> bytes:
        assert may_encode.wait(timeout=10)
        return encode_png(pixels)

    monkeypatch.setattr("gpu_runtime.finishing.encode_png", encode_later)
    submitted = 0
    # Until the encoder alone has something to do: the next step would wait for it.
    while submitted < 100 and (engine.free_rows() or engine._batcher.rows()):
        for _ in range(engine.free_rows()):
            engine.submit(image_request(f"r{submitted}", refs[0], steps=1))
            submitted += 1
        engine.step()
    assert submitted <= 2 * MAX_ROWS
    may_encode.set()
    drive(engine, Outcome())
    assert engine.free_rows() == MAX_ROWS


def test_requests_of_one_shape_share_calls_and_others_wait_for_their_turn(
    engine: Engine, refs: list[CheckpointRef]
) -> None:
    """What encoding finds out, such as prompts of several chunks, divides rows that looked alike."""
    prompts = {"a": "one cat", "b": "two cats", "c": "a cat on the roof", "d": "two cats on roofs too"}
    prompts |= {"e": "three cats on a roof", "f": "four cats on a roof"}
    outcome = run_all(engine, [image_request(n, refs[0], prompt=p, steps=2) for n, p in prompts.items()])
    assert all(isinstance(outcome.final(name), RequestDone) for name in prompts)
    steps = [report.rows for report in engine.take_ticks() if report.kind is TickKind.STEPS]
    assert sorted(steps) == [2] * 2 + [4] * 2
