"""Short ways to make requests and to run an engine to its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from gpu_runtime.messages import (
    CheckpointRef,
    EngineProtocol,
    Event,
    ImageDone,
    ImageEngine,
    ImageRequest,
    RequestCanceled,
    RequestDone,
    RequestFailed,
    Sampler,
    Stepping,
)

NO_CHECKPOINT = CheckpointRef(name="none", family="sd15", path="/nonexistent", digest="none")


def image_request(request_id: str, checkpoint: CheckpointRef = NO_CHECKPOINT, **changes: Any) -> ImageRequest:
    """A small valid request; `changes` replace single fields."""
    fields: dict[str, Any] = {
        "prompt": "a red apple",
        "negative_prompt": "blurry",
        "width": 32,
        "height": 32,
        "output_width": changes.get("width", 32),
        "output_height": changes.get("height", 32),
        "steps": 4,
        "guidance_scale": 5.0,
        "seeds": (7,),
        "sampler": Sampler.EULER,
        "account": "ada",
    }
    return ImageRequest(request_id=request_id, checkpoint=checkpoint, **{**fields, **changes})


@dataclass
class Outcome:
    """Everything that an engine reported, sorted by kind."""

    events: list[Event] = field(default_factory=list)

    def images(self, request_id: str) -> dict[int, ImageDone]:
        """Images of one request by index; an index delivered twice is an error."""
        found: dict[int, ImageDone] = {}
        for event in self.events:
            if isinstance(event, ImageDone) and event.request_id == request_id:
                assert event.index not in found, f"image {event.index} of {request_id} came twice"
                found[event.index] = event
        return found

    def final(self, request_id: str) -> RequestDone | RequestFailed | RequestCanceled:
        """The one final event of a request."""
        finals = [
            event
            for event in self.events
            if isinstance(event, RequestDone | RequestFailed | RequestCanceled)
            and event.request_id == request_id
        ]
        assert len(finals) == 1, f"{request_id} has {len(finals)} final events"
        return finals[0]


def drive(engine: Stepping, outcome: Outcome | None = None, *, most_steps: int = 5000) -> Outcome:
    """Step until there is no work."""
    outcome = outcome or Outcome()
    for _ in range(most_steps):
        if not engine.has_work():
            return outcome
        outcome.events += engine.step()
    raise AssertionError(f"still busy after {most_steps} steps")


def run_all(engine: ImageEngine | EngineProtocol, requests: Iterable[ImageRequest]) -> Outcome:
    """Submit, then step until there is no work."""
    for request in requests:
        engine.submit(request)
    return drive(engine)


def pixels(data: bytes) -> np.ndarray[Any, np.dtype[np.int16]]:
    """Pixels of an image file as int16, so that differences do not wrap."""
    return np.asarray(Image.open(BytesIO(data)).convert("RGB")).astype(np.int16)
