"""Engine runs that hold all cases of a checkpoint at once, with its extra networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gpu_runtime.messages import ImageRequest
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.rendering import Rendered, render

COMMON: Final = {"width": 64, "height": 64, "guidance_scale": 4.5, "steps": 3}

Fields = Callable[[Any], Mapping[str, Any]]
"""What a case adds to `COMMON`."""


class CaseRuns:
    """One engine run a checkpoint, with all of its cases; each has a seed of its own."""

    def __init__(
        self, checkpoints: FamilyCheckpoints, cases: Mapping[str, Mapping[str, Any]], fields: Fields
    ) -> None:
        self._checkpoints = checkpoints
        self._cases = cases
        self._fields = fields
        self._images: dict[str, dict[str, Rendered]] = {}

    def request(self, name: str, case: str) -> ImageRequest:
        """As the engine gets it."""
        seed = list(self._cases[name]).index(case)
        fields = {**COMMON, "seeds": (seed,), **self._fields(self._cases[name][case])}
        return image_request(case, self._checkpoints.plain(name), **fields)

    def image(self, name: str, case: str) -> Rendered:
        """From the run of all cases; the first call runs them."""
        if name not in self._images:
            self._images[name] = render(
                [self.request(name, each) for each in self._cases[name]], head_start=1
            )
        return self._images[name][f"{case}/0"]
