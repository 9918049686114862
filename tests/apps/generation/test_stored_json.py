"""Requests outlive the version that wrote them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

import pytest

from apps.generation.choices import ControlType, Kind
from apps.generation.resolved import DIGESTS, ResolvedRequest
from apps.generation.stored_json import from_json, to_json
from apps.generation.wishes import ControlWish, ExpandWish, HiresWish, MaskWish, UpscaleWish
from tests.apps.generation.studio import Studio, reread
from tests.apps.generation.utilities import make_utilities, picture
from tests.factories import make_adapter


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    number: float
    colours: tuple[Colour, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    options: Inner = field(default_factory=lambda: Inner(number=1.0))


def test_what_was_written_is_read_back() -> None:
    outer = Outer(
        name="a", inner=Inner(number=2.0, colours=(Colour.RED,)), many=(Inner(number=1.0), Inner(number=3.5))
    )
    stored = json.loads(json.dumps(to_json(outer)))
    read = from_json(Outer, stored)
    assert read == outer
    assert read.inner is not None and read.inner.colours[0] is Colour.RED


def test_defaults_are_not_written_and_are_read() -> None:
    assert to_json(Outer(name="a")) == {"name": "a"}
    assert from_json(Outer, {"name": "a"}) == Outer(name="a")
    # JSON has one kind of number.
    assert from_json(Inner, {"number": 2}).number == 2.0


def test_fields_of_a_later_version_are_refused() -> None:
    with pytest.raises(TypeError, match=r"^Outer has no field later$"):
        from_json(Outer, {"name": "a", "later": 1})


def test_a_whole_request_survives_the_database(studio: Studio) -> None:
    make_utilities()
    make_adapter("edges", kind="controlnet", variant="softedge")
    job = studio.submit(
        kind=Kind.INPAINT,
        image=picture(1),
        mask=picture(2),
        mask_options=MaskWish(blur_px=3),
        controls=(ControlWish(picture=picture(3), type=ControlType.SOFTEDGE),),
    )
    row = reread(job)
    assert row.resolved == job.resolved
    assert row.resolved.controls[0].picture == picture(3)
    assert row.request[DIGESTS] == [picture(number).digest for number in (1, 2, 3)]


def test_rows_of_the_first_version_are_read(studio: Studio) -> None:
    stored = {
        "kind": "txt2img",
        "checkpoint": "tiny",
        "prompt": "a cat",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "denoised_width": 64,
        "denoised_height": 64,
        "num_images": 1,
        "steps": 25,
        "guidance_scale": 4.0,
        "seed": 1,
        "sampler": "dpmpp_2m_karras",
    }
    resolved = ResolvedRequest.from_json(stored)
    assert (resolved.sampler.value, resolved.schedule.value) == ("dpmpp_2m", "karras")
    assert (resolved.strength, resolved.controls, resolved.image) == (1.0, (), None)


def test_a_picture_in_any_part_of_a_request_is_found(studio: Studio) -> None:
    job = studio.submit(kind=Kind.OUTPAINT, image=picture(9), expand=ExpandWish(left=8))
    assert list(job.resolved.pictures) == [picture(9).digest]
    assert studio.submit().resolved.pictures == {}


def test_a_new_field_that_nobody_uses_is_not_written_at_any_depth(studio: Studio) -> None:
    """A worker of the version before refuses fields that it does not know."""
    make_utilities()
    job = studio.submit(hires=HiresWish(), upscale=UpscaleWish(upscaler="lanczos", factor=2))
    assert job.request["hires"].keys() == {
        "width",
        "height",
        "steps",
        "strength",
        "enlarges_latents",
        "output_width",
        "output_height",
    }
    assert job.request["upscale"].keys() == {"width", "height"}
