"""An estimate reserves nothing and says what a submit would later charge."""

from __future__ import annotations

from typing import Any

import pytest

from apps.billing.models import UsageEvent
from apps.core.errors import InvalidField
from apps.generation.choices import ControlType, Kind
from apps.generation.estimates import Estimate, estimate
from apps.generation.models import GpuWorker
from apps.generation.request import GenerationRequest
from apps.generation.wishes import DetectWish, UpscaleWish
from apps.generation.work_cost import work_tflop
from tests.apps.generation.studio import Studio, claim_one, finish, on_record
from tests.apps.generation.utilities import make_utilities, picture
from tests.clocks import FrozenClock


def estimated(studio: Studio, clock: FrozenClock, **fields: Any) -> Estimate:
    fields = {"checkpoint": "tiny", "prompt": "a cat", **fields}
    return estimate(
        account=studio.account, api_key=studio.key, request=GenerationRequest(**fields), now=clock.now()
    )


def test_it_says_what_is_charged_later_and_writes_nothing(studio: Studio, clock: FrozenClock) -> None:
    before = on_record()
    first = estimated(studio, clock, num_images=3, width=64, height=64)
    assert on_record() == before
    assert (first.calls, first.images, first.pixels) == (1, 3, 3 * 64 * 64)
    studio.submit(num_images=3, width=64, height=64)
    finish(claim_one())
    event = UsageEvent.objects.get()
    assert (event.calls, event.images) == (first.calls, first.images)


def test_a_kind_whose_result_is_words_charges_no_image(studio: Studio, clock: FrozenClock) -> None:
    make_utilities()
    check = estimated(studio, clock, kind=Kind.NSFW_CHECK, image=picture())
    assert (check.calls, check.images, check.pixels) == (1, 0, 0)


def test_pixels_are_those_of_the_file(studio: Studio, clock: FrozenClock) -> None:
    make_utilities()
    larger = estimated(studio, clock, kind=Kind.UPSCALE, image=picture(), upscale=UpscaleWish(factor=2))
    assert larger.pixels == 640 * 480


def test_time_grows_with_the_work_and_with_what_waits_before_it(studio: Studio, clock: FrozenClock) -> None:
    alone = estimated(studio, clock, steps=20).seconds
    assert estimated(studio, clock, steps=40).seconds > alone > 0
    studio.submit(steps=100)
    assert estimated(studio, clock, steps=20).seconds > alone


def test_a_measured_worker_makes_seconds_of_work(studio: Studio, clock: FrozenClock) -> None:
    moment = clock.now()
    GpuWorker.objects.create(
        name="w", host="h", pid=1, state="ready", tflop_per_s=2.0, started_at=moment, heartbeat_at=moment
    )
    work = work_tflop(studio.checkpoint, studio.submit(steps=50).resolved)
    claimed = claim_one()
    finish(claimed)
    assert estimated(studio, clock, steps=50).seconds == pytest.approx(0.3 + work / 2.0, abs=0.02)


def test_it_refuses_what_a_submit_would_refuse(studio: Studio, clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match=r"^width must be 64 to 1024 for model small, not 2048$"):
        studio.checkpoint.name, studio.checkpoint.max_side_px = "small", 1024
        studio.checkpoint.save()
        estimated(studio, clock, checkpoint="small", width=2048)


def test_an_upscale_by_a_model_is_dearer_than_by_resampling(studio: Studio) -> None:
    make_utilities()

    def work(**fields: Any) -> float:
        fields = {"kind": Kind.UPSCALE, "checkpoint": "", "image": picture(), **fields}
        return studio.submit(**fields).work_tflop

    plain = work(upscale=UpscaleWish(factor=2, upscaler="lanczos"))
    small = work(upscale=UpscaleWish(factor=2, upscaler="waifu2x-photo"))
    twice = work(upscale=UpscaleWish(factor=4, upscaler="waifu2x-photo"))
    large = work(upscale=UpscaleWish(factor=4))
    assert 0 < plain < small < twice < large
    # The second run begins with four times the pixels.
    assert twice == pytest.approx(5 * small)
    assert large == pytest.approx(320 * 240 * 36e6 / 1e12)
    assert (
        studio.submit(
            kind=Kind.DETECT, checkpoint="", image=picture(), detect=DetectWish(type=ControlType.CANNY)
        ).work_tflop
        > 0
    )
