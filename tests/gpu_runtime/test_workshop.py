"""A request for work on its way from its pictures over its image to its files."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from gpu_runtime.errors import OutOfMemory, PictureUnusable, RuntimeFault, UnsupportedCombination
from gpu_runtime.fake_tools import fake_tools
from gpu_runtime.messages import (
    ControlRef,
    ImageInput,
    IpAdapterRef,
    Preview,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.operations.context import Context
from gpu_runtime.work import Encoding, Made, Operation
from gpu_runtime.workshop.workshop import Workshop
from tests.gpu_runtime.driving import drive, image_request, run_all
from tests.gpu_runtime.workshop_driving import (
    SteppingEngine,
    fit,
    picture_file,
    scripted,
    steps_of,
    upscale,
    with_image,
    work_request,
)


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(BytesIO(data)).size


def test_plain_image_request_is_the_engines_own() -> None:
    workshop, engine, _ = scripted()
    outcome = run_all(workshop, [image_request("r", seeds=(3, 4))])
    assert sorted(outcome.images("r")) == [0, 1]
    assert isinstance(outcome.final("r"), RequestDone)
    assert [request.request_id for request in engine.received] == ["r"]


def test_pictures_are_prepared_the_image_made_and_results_worked_on() -> None:
    workshop, engine, script = scripted()
    request = with_image(
        "r",
        {"image": Made(name="fitted"), "strength": 0.5, "seeds": (3, 4)},
        before=(fit(),),
        after=(upscale(2),),
    )
    outcome = run_all(workshop, [request])
    images = outcome.images("r")
    assert {index: (image.width, image.height) for index, image in images.items()} == {
        0: (64, 64),
        1: (64, 64),
    }
    assert all(size_of(image.data) == (64, 64) for image in images.values())
    # Whichever is finished first.
    assert {index: image.seed for index, image in images.items()} == {0: 3, 1: 4}
    (received,) = engine.received
    assert received.image is not None and not isinstance(received.image, Made) and received.image.data
    assert script.log == ["canvas.fit", "upscale", "upscale"]


def test_names_stand_wherever_a_picture_may() -> None:
    workshop, engine, _ = scripted()
    control = ControlRef(name="c", path="/c", digest="c", image=Made(name="fitted"))
    adapter = IpAdapterRef(
        name="a",
        path="/a",
        digest="a",
        encoder_path="/e",
        encoder_digest="e",
        images=(Made(name="photo"), Made(name="fitted")),
    )
    image = {
        "image": Made(name="fitted"),
        "strength": 0.9,
        "mask": Made(name="photo"),
        "controls": (control,),
        "ip_adapters": (adapter,),
    }
    request = with_image("r", image, before=(fit(),))
    run_all(workshop, [request])
    (received,) = engine.received
    assert received.mask == request.pictures["photo"]
    assert received.controls[0].image == received.image
    assert received.ip_adapters[0].images == (request.pictures["photo"], received.image)
    assert "Made" not in repr(received)


@pytest.mark.parametrize(("deadline_s", "left_s"), [(10.0, 7.0), (2.0, 0.001), (None, None)])
def test_deadline_counts_from_the_beginning(deadline_s: float | None, left_s: float | None) -> None:
    workshop, engine, _ = scripted(slices=3)
    run_all(workshop, [with_image("r", {"deadline_s": deadline_s}, before=(fit(),))])
    assert engine.received[0].deadline_s == left_s


def test_results_are_delivered_without_an_image_request() -> None:
    workshop, engine, _ = scripted()
    request = work_request(
        "r", before=(fit(width=8, height=8),), results=("fitted", "photo"), after=(upscale(4),), seed=5
    )
    outcome = run_all(workshop, [request])
    images = outcome.images("r")
    assert [(image.index, image.seed, image.width) for image in images.values()] == [(0, 5, 32), (1, 6, 96)]
    assert not engine.received


def test_text_results_come_with_the_final_event_and_findings_with_their_image() -> None:
    workshop, _, _ = scripted()
    caption = Operation(name="picture.caption", inputs={"image": "photo"})
    check = Operation(name="safety.check", inputs={"image": "image"}, outputs={"image": "image"})
    outcome = run_all(
        workshop,
        [work_request("text", before=(caption,)), with_image("image", before=(caption,), after=(check,))],
    )
    done = outcome.final("text")
    assert isinstance(done, RequestDone) and done.notes == {"caption": "a test card"}
    assert not outcome.images("text")
    assert outcome.images("image")[0].notes == {"nsfw": 0.0, "is_nsfw": False, "is_replaced": False}


@pytest.mark.parametrize("media_type", ["image/png", "image/jpeg", "image/webp"])
def test_files_are_of_the_wanted_type_with_their_texts(media_type: str) -> None:
    workshop, _, _ = scripted()
    texts = ({"parameters": "first"}, {"parameters": "second"})
    request = with_image("r", {"seeds": (1, 2)}, encoding=Encoding(media_type=media_type, texts=texts))
    outcome = run_all(workshop, [request])
    for index, text in enumerate(("first", "second")):
        image = outcome.images("r")[index]
        assert image.media_type == media_type
        assert Image.open(BytesIO(image.data)).get_format_mimetype() == media_type
        assert text in image.data.decode("latin-1").replace("\0", "")


def test_same_request_gives_the_same_bytes() -> None:
    def files() -> list[bytes]:
        workshop, _, _ = scripted()
        request = with_image("r", {"seeds": (1, 2)}, before=(fit(),), after=(upscale(),))
        images = run_all(workshop, [request]).images("r")
        # Files are made beside each other, and either may be ready first.
        return [images[index].data for index in (0, 1)]

    first = files()
    assert first == files()
    assert first[0] != first[1]


def test_progress_counts_operations_and_ends_at_its_total() -> None:
    workshop, _, _ = scripted(slices=4)
    request = with_image(
        "r", {"image": Made(name="fitted"), "seeds": (1, 2)}, before=(fit(),), after=(upscale(),)
    )
    steps = steps_of(run_all(workshop, [request]), "r")
    # One of canvas.fit, 4 steps and 10 of the upscale for each of two images.
    assert {total for _, total in steps} == {29}
    done = [step for step, _ in steps]
    assert done == sorted(set(done))
    assert done[-1] == 29
    assert {1, 5, 9} <= set(done)


def test_previews_are_the_engines() -> None:
    workshop, _, _ = scripted()
    outcome = run_all(workshop, [with_image("r", wants_previews=True)])
    assert any(isinstance(event, Preview) for event in outcome.events)


def test_timings_are_parts_of_the_whole() -> None:
    workshop, _, _ = scripted(slices=3, slice_s=2.0)
    outcome = run_all(workshop, [with_image("r", before=(fit(),), after=(upscale(),))])
    done = outcome.final("r")
    assert isinstance(done, RequestDone)
    timings = done.timings
    assert timings.before_s == 6.0
    assert timings.after_s == 6.0
    assert timings.total_s == 16.0
    assert timings.queued_s < 1e-3 + timings.total_s


REFUSALS: dict[str, tuple[Any, str]] = {
    "unknown operation": (work_request("r", before=(Operation(name="canvas.turn"),)), "canvas.turn"),
    "unknown name": (work_request("r", before=(fit("phot"),)), "'phot'"),
    "made later": (work_request("r", before=(fit("second"), fit(result="second"))), "'second'"),
    "no input": (work_request("r", before=(Operation(name="canvas.fit"),)), "needs the input 'image'"),
    "other input": (
        work_request("r", before=(Operation(name="canvas.fit", inputs={"image": "photo", "x": "photo"}),)),
        "no input 'x'",
    ),
    "other output": (
        work_request(
            "r", before=(Operation(name="canvas.fit", inputs={"image": "photo"}, outputs={"mask": "m"}),)
        ),
        "no output 'mask'",
    ),
    "unknown result": (work_request("r", results=("fitted",)), "'fitted'"),
    "results beside an image": (with_image("r", results=("photo",)), "without an image request"),
    "unmade picture": (with_image("r", {"image": Made(name="fitted")}), "'fitted'"),
    "another id": (work_request("r", image=image_request("s")), "'s'"),
    "unfit image": (with_image("r", {"width": 33}, before=(fit(),)), "multiple of 8"),
    "no weight": (work_request("r", weight=0.0), "weight"),
    "too many": (work_request("r", before=(fit(),) * 65), "at most 64"),
    "plain with a name": (image_request("r", image=Made(name="fitted")), "'fitted'"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_can_never_run_is_refused_at_once(case: str) -> None:
    request, words = REFUSALS[case]
    workshop, engine, _ = scripted()
    with pytest.raises(UnsupportedCombination, match=words):
        workshop.submit(request)
    assert not workshop.has_work()
    assert not engine.received
    assert workshop.step() == []


def test_an_id_is_held_once() -> None:
    workshop, _, _ = scripted()
    workshop.submit(work_request("work", before=(fit(),)))
    workshop.submit(image_request("plain"))
    for request in (work_request("plain"), image_request("work"), work_request("work")):
        with pytest.raises(UnsupportedCombination, match="already held"):
            workshop.submit(request)


def test_damaged_picture_fails_its_request_by_name() -> None:
    workshop, _, _ = scripted()
    broken = {"photo": ImageInput(data=b"<html>", digest="x")}
    outcome = run_all(workshop, [work_request("r", pictures=broken, before=(fit(),)), with_image("other")])
    final = outcome.final("r")
    assert isinstance(final, RequestFailed) and isinstance(final.fault, PictureUnusable)
    assert final.fault.code == "picture_unreadable" and "photo" in str(final.fault)
    assert isinstance(outcome.final("other"), RequestDone)


def raising(error: Exception, *, only: str = "upscale") -> Any:
    def ending(context: Context) -> None:
        if context.operation == only:
            raise error

    return ending


@pytest.mark.parametrize("error", [PictureUnusable("no face was found", code="no_face"), ValueError("bug")])
def test_failed_operation_fails_one_request(error: Exception) -> None:
    workshop, engine, _ = scripted(ending=raising(error))
    failing = with_image("r", {"seeds": (1, 2, 3), "steps": 2}, after=(upscale(),))
    outcome = run_all(workshop, [failing, with_image("other", {"steps": 30}, before=(fit(),))])
    final = outcome.final("r")
    assert isinstance(final, RequestFailed)
    if isinstance(error, RuntimeFault):
        assert final.fault is error
    else:
        assert str(error) in str(final.fault)
    assert isinstance(outcome.final("other"), RequestDone)
    assert not engine.has_work()


def test_operation_that_leaves_no_result_is_a_fault() -> None:
    idle = replace(fake_tools(), run_of=lambda name: lambda context: iter(()))
    workshop = Workshop(SteppingEngine(), idle)
    mask = Operation(name="mask.crop", inputs={"image": "photo", "mask": "photo"}, outputs={"box": "box"})
    final = run_all(workshop, [work_request("r", before=(mask,))]).final("r")
    assert isinstance(final, RequestFailed) and "without its result 'box'" in str(final.fault)


def test_value_that_is_no_picture_cannot_stand_for_one() -> None:
    workshop, _, _ = scripted()
    crop = Operation(name="mask.crop", inputs={"image": "photo", "mask": "photo"}, outputs={"box": "box"})
    final = run_all(workshop, [with_image("r", {"image": Made(name="box")}, before=(crop,))]).final("r")
    assert isinstance(final, RequestFailed) and "no picture" in str(final.fault)


@pytest.mark.parametrize("steps_before", range(1, 16))
def test_cancel_at_any_time_ends_it_once(steps_before: int) -> None:
    workshop, engine, _ = scripted(slices=2)
    request = with_image("r", {"image": Made(name="fitted")}, before=(fit(),), after=(upscale(),))
    workshop.submit(request)
    before = [event for _ in range(steps_before) for event in workshop.step()]
    is_done = any(isinstance(event, RequestDone) for event in before)
    workshop.cancel("r")
    outcome = drive(workshop)
    finals = [RequestCanceled(request_id="r")] if not is_done else []
    assert outcome.events == finals
    assert not engine.has_work()


def test_canceled_request_may_come_again_at_once() -> None:
    workshop, _, _ = scripted()
    for steps_before in range(1, 12):
        workshop.submit(with_image("r", before=(fit(),), after=(upscale(),)))
        for _ in range(steps_before):
            workshop.step()
        workshop.cancel("r")
    outcome = run_all(workshop, [with_image("r", before=(fit(),))])
    assert isinstance(outcome.final("r"), RequestDone)
    assert list(outcome.images("r")) == [0]


def lacking(times: int) -> Any:
    left = [times]

    def ending(context: Context) -> None:
        if left[0]:
            left[0] -= 1
            raise MemoryError("no room")

    return ending


@pytest.mark.parametrize(
    ("name", "device", "is_cramped"), [("mask.erase", "cpu", False), ("upscale", "fake", True)]
)
def test_lack_of_memory_is_met_once_with_less(name: str, device: str, is_cramped: bool) -> None:
    inputs = {"image": "photo", "mask": "photo"} if name == "mask.erase" else {"image": "photo"}
    operation = Operation(name=name, inputs=inputs, outputs={"image": "better"})
    workshop, engine, script = scripted(ending=lacking(1))
    outcome = run_all(workshop, [work_request("r", before=(operation,), results=("better",))])
    assert isinstance(outcome.final("r"), RequestDone)
    first, second = script.contexts
    assert (first.device, first.is_cramped) == ("fake", False)
    assert (second.device, second.is_cramped) == (device, is_cramped)
    assert engine.unloads == 1


@pytest.mark.parametrize(("operation", "tries"), [(fit(), 1), (upscale(), 2)])
def test_lasting_lack_of_memory_fails_the_request(operation: Operation, tries: int) -> None:
    workshop, _, script = scripted(ending=lacking(9))
    pictures = {"photo": picture_file(), "image": picture_file()}
    final = run_all(workshop, [work_request("r", pictures=pictures, before=(operation,))]).final("r")
    assert isinstance(final, RequestFailed) and isinstance(final.fault, OutOfMemory)
    assert len(script.contexts) == tries
