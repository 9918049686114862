"""Every refusal of the runtime, each from a request that differs from a valid one in one field."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_runtime.batching.admission import Admitted, Limits, Rejected, admit
from gpu_runtime.messages import CheckpointRef, Sampler
from tests.gpu_runtime.driving import image_request

LIMITS = Limits(families=frozenset({"sd15"}), max_steps={Sampler.LCM: 50})
FLUX = CheckpointRef(name="flux", family="flux", path="/nonexistent", digest="f")


def test_valid_request_is_admitted() -> None:
    assert admit(image_request("r"), LIMITS) == Admitted()


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"width": 36}, "width must be a multiple of 8, not 36"),
    ({"height": 100}, "height must be a multiple of 8, not 100"),
    ({"width": 8}, "width must be 16 to 2048 pixels, not 8"),
    ({"height": 2056}, "height must be 16 to 2048 pixels, not 2056"),
    ({"output_width": 0}, "output_width must be 1 to 8192 pixels, not 0"),
    ({"output_height": 9000}, "output_height must be 1 to 8192 pixels, not 9000"),
    ({"steps": 0}, "sampler euler takes 1 to 150 steps, not 0"),
    ({"steps": 151}, "sampler euler takes 1 to 150 steps, not 151"),
    ({"steps": 51, "sampler": Sampler.LCM}, "sampler lcm takes 1 to 50 steps, not 51"),
    ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, not nan"),
    ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number, not inf"),
    ({"seeds": ()}, "a request has 1 to 64 images, not 0"),
    ({"seeds": tuple(range(65))}, "a request has 1 to 64 images, not 65"),
    ({"seeds": (-1,)}, "a seed must be 0 to 4294967295, not -1"),
    ({"seeds": (2**32,)}, "a seed must be 0 to 4294967295, not 4294967296"),
    ({"prompt": "x" * 10_001}, "prompt must have at most 10000 characters, not 10001"),
    ({"negative_prompt": "x" * 10_001}, "negative_prompt must have at most 10000 characters, not 10001"),
    ({"weight": 0.0}, "weight must be a finite number above 0, not 0.0"),
    ({"weight": float("inf")}, "weight must be a finite number above 0, not inf"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSALS, ids=lambda value: str(value)[:40])
def test_request_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert admit(image_request("r", **changes), LIMITS) == Rejected(reason)


def test_unknown_family_is_refused_by_name() -> None:
    decision = admit(image_request("r", FLUX), LIMITS)
    assert decision == Rejected("family 'flux' has no step-batched pipeline here; known families: sd15")


def test_any_family_is_admitted_where_weights_are_never_read() -> None:
    assert admit(image_request("r", FLUX), Limits()) == Admitted()
