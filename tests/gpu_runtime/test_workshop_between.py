"""Operations between two passes of an image: the second one goes on from what they made of the first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.messages import (
    CheckpointRef,
    Enlarging,
    HiresFix,
    ImageRequest,
    Progress,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.operations.context import Context, Run
from gpu_runtime.operations.upscale import upscale as real_upscale
from gpu_runtime.work import Operation, WorkRequest
from gpu_runtime.workshop.torch_tools import torch_tools
from gpu_runtime.workshop.workshop import Workshop
from tests.gpu_runtime.driving import Outcome, drive, image_request, pixels
from tests.gpu_runtime.workshop_driving import scripted, upscale

SIDE, LARGE = 32, 64


def hires(how: Enlarging = Enlarging.OPERATIONS) -> HiresFix:
    return HiresFix(width=LARGE, height=LARGE, strength=0.6, steps=4, enlarging=how)


def asked(request_id: str, checkpoint: CheckpointRef, how: Enlarging, **changes: Any) -> ImageRequest:
    fields = {"output_width": LARGE, "output_height": LARGE, **changes}
    return image_request(request_id, checkpoint, hires=hires(how), **fields)


def work(image: ImageRequest, *between: Operation, **changes: Any) -> WorkRequest:
    return WorkRequest(
        request_id=image.request_id, account=image.account, image=image, between=between, **changes
    )


def resample(context: Context, how: Image.Resampling) -> Iterator[float]:
    yield 0.5
    resized = Image.fromarray(context.picture("image")).resize((LARGE, LARGE), how)
    context.put("image", np.asarray(resized))


def lanczos(context: Context) -> Iterator[float]:
    return resample(context, Image.Resampling.LANCZOS)


def nearest(context: Context) -> Iterator[float]:
    return resample(context, Image.Resampling.NEAREST)


def fail(context: Context) -> Iterator[float]:
    yield 0.5
    raise PictureUnusable("too small to enlarge", code="result_too_large")


RUNS: Mapping[str, Run] = {
    "upscale": lanczos,
    "canvas.fit": nearest,
    "detect.gray": fail,
    "background.remove": real_upscale,
}


def workshop_of() -> Workshop:
    engine = Engine(EngineConfig(device="cpu", check_invariants=True))
    return Workshop(engine, replace(torch_tools("cpu"), run_of=lambda name: RUNS[name]))


def run_through(*requests: ImageRequest | WorkRequest) -> Outcome:
    workshop = workshop_of()
    for request in requests:
        workshop.submit(request)
    return drive(workshop)


def step_named(name: str, **settings: int) -> Operation:
    return Operation(name=name, inputs={"image": "image"}, outputs={"image": "image"}, settings=settings)


@pytest.mark.parametrize(
    ("how", "operation"), [(Enlarging.LANCZOS, "upscale"), (Enlarging.NEAREST, "canvas.fit")]
)
def test_second_pass_from_operations_equals_the_engines_own(
    how: Enlarging, operation: str, checkpoint: CheckpointRef
) -> None:
    own = asked("own", checkpoint, how, seeds=(3, 4))
    through = work(asked("through", checkpoint, Enlarging.OPERATIONS, seeds=(3, 4)), step_named(operation))
    outcome = run_through(own, through)
    for index in (0, 1):
        ours, theirs = (pixels(outcome.images(name)[index].data) for name in ("through", "own"))
        assert ours.shape == (LARGE, LARGE, 3)
        assert np.abs(ours - theirs).max() <= 1


def test_ways_to_enlarge_give_different_images(checkpoint: CheckpointRef) -> None:
    """The control of the one before."""
    ways = (Enlarging.LANCZOS, Enlarging.NEAREST, Enlarging.LATENTS)
    outcome = run_through(*(asked(way.value, checkpoint, way) for way in ways))
    images = [pixels(outcome.images(way.value)[0].data) for way in ways]
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(images[first] - images[second]).max() > 1


def test_upscale_operation_makes_the_size_of_the_second_pass(checkpoint: CheckpointRef) -> None:
    operation = step_named("background.remove", width=LARGE, height=LARGE)
    request = work(asked("r", checkpoint, Enlarging.OPERATIONS), operation)
    outcome = run_through(request)
    assert isinstance(outcome.final("r"), RequestDone)
    assert pixels(outcome.images("r")[0].data).shape == (LARGE, LARGE, 3)


def test_failing_operation_fails_its_request_alone(checkpoint: CheckpointRef) -> None:
    broken = work(asked("broken", checkpoint, Enlarging.OPERATIONS, seeds=(1, 2)), step_named("detect.gray"))
    whole = work(asked("whole", checkpoint, Enlarging.OPERATIONS), step_named("upscale"))
    outcome = run_through(broken, whole)
    final = outcome.final("broken")
    assert isinstance(final, RequestFailed)
    assert str(final.fault) == "too small to enlarge"
    assert isinstance(outcome.final("whole"), RequestDone)


def test_image_of_another_size_is_refused_when_it_comes_back(checkpoint: CheckpointRef) -> None:
    operation = step_named("background.remove", width=LARGE, height=LARGE - 8)
    outcome = run_through(work(asked("r", checkpoint, Enlarging.OPERATIONS), operation))
    final = outcome.final("r")
    assert isinstance(final, RequestFailed)
    assert str(final.fault) == "the second pass takes 64 x 64 x 3 pixels, and 56 x 64 x 3 came back"


def test_canceled_while_its_image_is_away_it_leaves_nothing(checkpoint: CheckpointRef) -> None:
    workshop = workshop_of()
    workshop.submit(work(asked("r", checkpoint, Enlarging.OPERATIONS), step_named("upscale")))
    outcome = drive_until_away(workshop)
    workshop.cancel("r")
    drive(workshop, outcome)
    assert isinstance(outcome.final("r"), RequestCanceled)
    assert not workshop.has_work()


def drive_until_away(workshop: Workshop) -> Outcome:
    outcome = Outcome()
    while not any(held.courses for held in workshop._works.held.values()):
        outcome.events += workshop.step()
    return outcome


def test_engine_takes_no_request_that_nobody_would_enlarge(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig())
    with pytest.raises(UnsupportedCombination, match="nobody enlarges the image between the passes"):
        engine.submit(asked("r", checkpoint, Enlarging.OPERATIONS))
    engine.close()


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (work(image_request("r"), step_named("upscale")), "are for requests whose image they enlarge"),
        (work(image_request("r", hires=hires())), "which need some"),
        (
            WorkRequest(request_id="r", account="ada", between=(step_named("upscale"),)),
            "operations between two passes need an image request",
        ),
    ],
)
def test_unsound_requests_are_refused(request_: WorkRequest, reason: str) -> None:
    workshop, _, _ = scripted()
    with pytest.raises(UnsupportedCombination, match=reason):
        workshop.submit(request_)


def test_stand_in_hands_images_out_and_goes_on_when_all_are_back() -> None:
    workshop, _, script = scripted()
    image = image_request("r", seeds=(1, 2), hires=hires(), output_width=LARGE, output_height=LARGE)
    workshop.submit(work(image, upscale(2), after=(upscale(2),)))
    outcome = drive(workshop)
    assert isinstance(outcome.final("r"), RequestDone)
    assert script.log == ["upscale"] * 4
    assert [(done.width, done.height) for done in outcome.images("r").values()] == [(128, 128)] * 2
    steps = [event for event in outcome.events if isinstance(event, Progress)]
    assert [event.step for event in steps] == sorted({event.step for event in steps})
    assert steps[-1].step == steps[-1].total == 2 * (4 + 2 + 10 + 10)


def test_operations_between_passes_share_the_device_with_other_requests() -> None:
    """While an image is away the engine has nothing of it, and must not be asked for turns in vain."""
    workshop, engine, script = scripted(slices=4)
    image = image_request("r", hires=hires(), output_width=LARGE, output_height=LARGE)
    workshop.submit(work(image, upscale(2)))
    outcome = drive(workshop, most_steps=40)
    assert isinstance(outcome.final("r"), RequestDone)
    assert len(script.log) == 4
    assert not engine.has_work()
