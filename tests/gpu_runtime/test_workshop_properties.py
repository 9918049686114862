"""Any mixture of requests, cancellations and faults: each request ends once, and nothing stays held."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpu_runtime.errors import PictureUnusable, RuntimeFault
from gpu_runtime.messages import (
    Enlarging,
    HiresFix,
    ImageDone,
    ImageRequest,
    Priority,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.operations.context import Context
from gpu_runtime.work import Made, WorkRequest
from tests.gpu_runtime.driving import Outcome, drive, image_request
from tests.gpu_runtime.workshop_driving import fit, picture_file, scripted, steps_of, upscale, work_request

FAULTS = (PictureUnusable("no face", code="no_face"), MemoryError("no room"), ValueError("bug"))

requests = st.fixed_dictionaries(
    {
        "before": st.integers(0, 2),
        "between": st.integers(0, 2),
        "after": st.integers(0, 2),
        "images": st.integers(0, 3),
        "prompt": st.sampled_from(["a fox", "a fox", "[fault:nan@2]"]),
        "account": st.sampled_from(["ada", "ben"]),
        "priority": st.sampled_from([Priority.INTERACTIVE, Priority.BACKGROUND]),
        "is_plain": st.booleans(),
    }
)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), requests),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
        st.tuples(st.just("step"), st.integers(1, 12)),
    ),
    max_size=30,
)


def request_of(name: str, wanted: dict[str, object]) -> ImageRequest | WorkRequest:
    images = int(str(wanted["images"]))
    common = {"account": wanted["account"], "priority": wanted["priority"]}
    image = {"prompt": wanted["prompt"], "steps": 3, "seeds": tuple(range(max(1, images))), **common}
    if wanted["is_plain"]:
        return image_request(name, **image)
    before = tuple(fit() for _ in range(int(str(wanted["before"]))))
    source = "fitted" if before else "photo"
    between = tuple(fit("image", "image", width=64, height=48) for _ in range(int(str(wanted["between"]))))
    hires = HiresFix(width=64, height=48, strength=0.5, steps=2, enlarging=Enlarging.OPERATIONS)
    if between:
        image["hires"] = hires
    made = image_request(name, **image, image=Made(name=source), strength=0.7) if images else None
    return work_request(
        name,
        before=before,
        between=between if made else (),
        after=tuple(upscale() for _ in range(int(str(wanted["after"])))),
        image=made,
        results=() if made else (source,),
        pictures={"photo": picture_file(8, 8)},
        **common,
    )


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(acts, st.lists(st.sampled_from([None, None, None, *FAULTS]), max_size=40), st.integers(0, 3))
def test_every_request_ends_once(
    plan: list[tuple[str, object]], faults: list[Exception | None], slices: int
) -> None:
    waiting = list(faults)

    def ending(context: Context) -> None:
        fault = waiting.pop() if waiting else None
        if fault is not None:
            raise fault

    workshop, engine, _ = scripted(slices=slices, ending=ending)
    outcome, submitted = Outcome(), {}
    for act, detail in plan:
        if act == "submit":
            name = f"r{len(submitted)}"
            assert isinstance(detail, dict)
            submitted[name] = request_of(name, detail)
            workshop.submit(submitted[name])
        elif act == "cancel":
            workshop.cancel(f"r{detail}")
        else:
            for _ in range(int(str(detail))):
                outcome.events += workshop.step()
    drive(workshop, outcome)
    for name, request in submitted.items():
        require_whole(outcome, name, request)
    assert not engine.has_work()
    assert workshop.free_rows() == engine.config.max_rows
    assert workshop.forecast() == []
    assert workshop.expected_step_s() == 0.0


def require_whole(outcome: Outcome, name: str, request: ImageRequest | WorkRequest) -> None:
    final = outcome.final(name)
    steps = steps_of(outcome, name)
    assert [step for step, _ in steps] == sorted({step for step, _ in steps})
    assert len({total for _, total in steps}) <= 1
    counts = Counter(event.index for event in outcome.events if of_image(event, name))
    assert set(counts.values()) <= {1}
    if isinstance(final, RequestDone):
        assert steps[-1][0] == steps[-1][1]
        image = request.image if isinstance(request, WorkRequest) else request
        assert len(counts) == (len(image.seeds) if image else len(request.results))
        assert outcome.events[-1].request_id != name or outcome.events[-1] is final
    elif isinstance(final, RequestFailed):
        assert isinstance(final.fault, RuntimeFault)
    else:
        assert isinstance(final, RequestCanceled)
    after = outcome.events[outcome.events.index(final) + 1 :]
    assert all(event.request_id != name for event in after)


def of_image(event: object, name: str) -> bool:
    return isinstance(event, ImageDone) and event.request_id == name
