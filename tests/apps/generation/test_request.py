from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.errors import InvalidField
from apps.generation.checkpoint_defaults import CheckpointDefaults
from apps.generation.choices import Kind
from apps.generation.request import MAX_SEED, GenerationRequest
from apps.generation.resolved import ResolvedRequest
from apps.generation.resolving import MAX_DRAWN_SEED, resolve
from apps.generation.sizes import denoised_size
from gpu_runtime.messages import Sampler

DEFAULTS = CheckpointDefaults(
    native_px=512,
    min_side_px=64,
    max_side_px=1024,
    max_native_side_px=512,
    steps=25,
    guidance_scale=4.0,
    sampler=Sampler.DPMPP_2M,
    negative_prompt="blurry",
)


def request(**fields: Any) -> GenerationRequest:
    return GenerationRequest(**({"checkpoint": "tiny", "prompt": "a cat"} | fields))


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "x"},
        {"prompt": "x" * 32_000},
        {"negative_prompt": ""},
        {"negative_prompt": "x" * 32_000},
        {"width": 64, "height": 2048},
        {"width": 2048, "height": 64},
        {"num_images": 1},
        {"num_images": 15},
        {"steps": 1},
        {"steps": 150},
        {"guidance_scale": 0.0},
        {"guidance_scale": 30.0},
        {"seed": 0},
        {"seed": 2**32 - 1},
    ],
)
def test_both_edges_of_every_range_are_accepted(fields: dict[str, Any]) -> None:
    accepted = request(**fields)
    assert {name: getattr(accepted, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": ""}, "prompt is required"),
        ({"prompt": " \n\t"}, "prompt is required"),
        ({"prompt": "x" * 32_001}, "prompt must be at most 32000 characters, not 32001"),
        ({"prompt": "a\0b"}, "prompt must not contain the character NUL (U+0000)"),
        ({"prompt": "half \ud83d"}, "prompt must not contain half of a surrogate pair"),
        ({"negative_prompt": "x" * 32_001}, "negative_prompt must be at most 32000 characters, not 32001"),
        ({"negative_prompt": "\0"}, "negative_prompt must not contain the character NUL (U+0000)"),
        ({"negative_prompt": "\udc00"}, "negative_prompt must not contain half of a surrogate pair"),
        ({"checkpoint": ""}, "checkpoint is required"),
        ({"checkpoint": "ti\0ny"}, "checkpoint must not contain the character NUL (U+0000)"),
        ({"checkpoint": "\ud800"}, "checkpoint must not contain half of a surrogate pair"),
        ({"width": 56}, "width must be 64 to 2048, not 56"),
        ({"width": 2056}, "width must be 64 to 2048, not 2056"),
        ({"width": 100}, "width must be a multiple of 8, not 100"),
        ({"height": 0}, "height must be 64 to 2048, not 0"),
        ({"height": 2049}, "height must be 64 to 2048, not 2049"),
        ({"height": 65}, "height must be a multiple of 8, not 65"),
        ({"num_images": 0}, "num_images must be 1 to 15, not 0"),
        ({"num_images": 16}, "num_images must be 1 to 15, not 16"),
        ({"steps": 0}, "steps must be 1 to 150, not 0"),
        ({"steps": 151}, "steps must be 1 to 150, not 151"),
        ({"guidance_scale": -0.1}, "guidance_scale must be 0.0 to 30.0, not -0.1"),
        ({"guidance_scale": 30.1}, "guidance_scale must be 0.0 to 30.0, not 30.1"),
        ({"guidance_scale": math.nan}, "guidance_scale must be 0.0 to 30.0, not nan"),
        ({"guidance_scale": math.inf}, "guidance_scale must be 0.0 to 30.0, not inf"),
        ({"seed": -1}, "seed must be 0 to 4294967295, not -1"),
        ({"seed": 2**32}, "seed must be 0 to 4294967295, not 4294967296"),
    ],
)
def test_beyond_the_edges_the_message_names_field_value_and_range(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidField) as refusal:
        request(**fields)
    assert str(refusal.value) == message
    assert refusal.value.field == next(iter(fields))


def test_a_silent_request_gets_the_checkpoints_defaults() -> None:
    resolved = resolve(request(seed=7), DEFAULTS)
    assert resolved == ResolvedRequest(
        kind=Kind.TXT2IMG,
        checkpoint="tiny",
        prompt="a cat",
        negative_prompt="blurry",
        width=512,
        height=512,
        denoised_width=512,
        denoised_height=512,
        num_images=1,
        steps=25,
        guidance_scale=4.0,
        seed=7,
        sampler=Sampler.DPMPP_2M,
    )


def test_what_the_request_says_wins_over_the_defaults_zero_and_empty_included() -> None:
    asked = request(
        negative_prompt="", width=128, height=64, steps=1, guidance_scale=0.0, seed=0, sampler=Sampler.EULER
    )
    resolved = resolve(asked, DEFAULTS)
    assert (resolved.negative_prompt, resolved.width, resolved.height) == ("", 128, 64)
    assert (resolved.steps, resolved.guidance_scale, resolved.seed) == (1, 0.0, 0)
    assert resolved.sampler is Sampler.EULER


def test_a_missing_seed_is_drawn_from_what_signed_clients_can_send_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def largest(exclusive: int) -> int:
        asked.append(exclusive)
        return exclusive - 1

    monkeypatch.setattr("apps.generation.resolving.secrets.randbelow", largest)
    assert resolve(request(), DEFAULTS).seed == MAX_DRAWN_SEED == 2**31 - 1
    assert asked == [2**31]


def test_seeds_count_up_and_wrap_at_the_end_of_the_range() -> None:
    resolved = resolve(request(seed=MAX_SEED - 1, num_images=4), DEFAULTS)
    assert resolved.seeds == (4294967294, 4294967295, 0, 1)


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (512, 512)),
        ({"width": 256}, (256, 256)),
        ({"height": 128}, (128, 128)),
        ({"aspect_ratio": (16, 9)}, (680, 384)),
        ({"aspect_ratio": (9, 16)}, (384, 680)),
        ({"aspect_ratio": (1, 1)}, (512, 512)),
        ({"width": 512, "aspect_ratio": (2, 1)}, (512, 256)),
        ({"height": 512, "aspect_ratio": (2, 1)}, (1024, 512)),
        ({"width": 64, "height": 128, "aspect_ratio": (16, 9)}, (64, 128)),
    ],
)
def test_missing_sides_follow_the_aspect_ratio(fields: dict[str, Any], size: tuple[int, int]) -> None:
    resolved = resolve(request(**fields), DEFAULTS)
    assert (resolved.width, resolved.height) == size


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 1032, "height": 64}, "width must be 64 to 1024 for model tiny, not 1032"),
        ({"width": 64, "height": 1032}, "height must be 64 to 1024 for model tiny, not 1032"),
        ({"width": 1024, "aspect_ratio": (1, 2)}, "height must be 64 to 1024 for model tiny, not 2048"),
        ({"width": 512, "aspect_ratio": (100, 1)}, "height must be 64 to 1024 for model tiny, not 8"),
    ],
)
def test_sizes_the_checkpoint_cannot_make_are_refused_by_name(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        resolve(request(**fields), DEFAULTS)
    assert str(refusal.value) == message


def test_the_checkpoints_own_edges_are_accepted() -> None:
    resolved = resolve(request(width=64, height=1024), DEFAULTS)
    assert (resolved.width, resolved.height) == (64, 1024)
    assert (resolved.denoised_width, resolved.denoised_height) == (32, 512)


def test_a_resolved_request_survives_the_job_row() -> None:
    resolved = resolve(request(seed=1, sampler=Sampler.LCM, num_images=3), DEFAULTS)
    assert ResolvedRequest.from_json(resolved.to_json()) == resolved


def test_a_stored_request_with_an_unknown_field_is_refused() -> None:
    stored = resolve(request(), DEFAULTS).to_json() | {"hue": 1}
    with pytest.raises(TypeError, match="hue"):
        ResolvedRequest.from_json(stored)


sides = st.integers(min_value=8, max_value=256).map(lambda count: count * 8)


@given(width=sides, height=sides, longest_px=st.integers(min_value=64, max_value=2048))
def test_the_denoised_size_fits_keeps_multiples_of_8_and_proportions(
    width: int, height: int, longest_px: int
) -> None:
    denoised = denoised_size(width, height, longest_px=longest_px)
    assert all(side % 8 == 0 and side >= 16 for side in denoised)
    assert max(denoised) <= longest_px
    if max(width, height) <= longest_px:
        assert denoised == (width, height)
        return
    scale = max(denoised) / max(width, height)
    # Off by no more than half a step of 8 pixels, save for the smallest side there is.
    assert abs(min(denoised) - min(width, height) * scale) <= 4 or min(denoised) == 16
    assert (denoised[0] >= denoised[1]) == (width >= height) or denoised[0] == denoised[1]


@given(
    ratio=st.tuples(st.integers(min_value=1, max_value=8), st.integers(min_value=1, max_value=8)),
    native_px=st.sampled_from([64, 256, 512, 1024]),
)
def test_an_aspect_ratio_alone_keeps_about_the_native_number_of_pixels(
    ratio: tuple[int, int], native_px: int
) -> None:
    wide = CheckpointDefaults(
        native_px=native_px,
        min_side_px=8,
        max_side_px=8192,
        max_native_side_px=8192,
        steps=1,
        guidance_scale=1.0,
        sampler=Sampler.EULER,
    )
    resolved = resolve(request(aspect_ratio=ratio), wide)
    exact_width = native_px * math.sqrt(ratio[0] / ratio[1])
    exact_height = native_px * math.sqrt(ratio[1] / ratio[0])
    assert abs(resolved.width - exact_width) <= 4
    assert abs(resolved.height - exact_height) <= 4
