"""Images of the engine with their final latents, and the comparison with a reference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import ImageRequest
from tests.gpu_runtime.driving import Outcome, drive, pixels

LATENT_TOLERANCE = 1e-5
"""Of the largest reference value."""

PIXEL_TOLERANCE = 1


@dataclass
class Rendered:
    """One image."""

    latents: Tensor
    pixels: Any
    """int16 [H, W, 3], 0 to 255."""


def render(
    requests: list[ImageRequest], *, head_start: int = 0, max_rows: int = 16, exact_rows: int = 2
) -> dict[str, Rendered]:
    """Run requests on a fresh engine; all but the first get `head_start` steps before the first joins."""
    latents: dict[str, Tensor] = {}
    config = EngineConfig(check_invariants=True, max_rows=max_rows, exact_rows=exact_rows)
    engine = Engine(
        config, observe_latents=lambda name, index, value: latents.__setitem__(f"{name}/{index}", value)
    )
    outcome = Outcome()
    for request in requests[1:]:
        engine.submit(request)
    for _ in range(head_start):
        outcome.events += engine.step()
    engine.submit(requests[0])
    drive(engine, outcome)
    engine.close()
    return {
        f"{r.request_id}/{index}": Rendered(latents[f"{r.request_id}/{index}"], pixels(image.data))
        for r in requests
        for index, image in outcome.images(r.request_id).items()
    }


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference over the largest reference value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


def assert_equal(ours: Rendered, theirs: Rendered, tolerance: float = LATENT_TOLERANCE) -> None:
    """Fail unless latents and pixels are within their tolerances."""
    assert relative_error(ours.latents, theirs.latents) <= tolerance
    assert int(np.abs(ours.pixels - theirs.pixels).max()) <= PIXEL_TOLERANCE
