"""Progress of a request in steps: those of its operations beside the denoising steps of its images.

An operation counts as many steps as the registry says, so that a bar does not stand still while a picture is
enlarged. Plain Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import floor

from gpu_runtime.operations.registry import ENTRIES
from gpu_runtime.passes import passes_of
from gpu_runtime.work import Operation, WorkRequest

ROUNDING = 1e-6
"""Shares add up to a whole number of steps but for this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Of one request."""

    before: int
    engine: int
    """Of all images together."""
    between: int = 0
    """Of one image."""
    after: int
    """Of one image."""
    images: int

    @property
    def total(self) -> int:
        """At least 1, so that there is an end to report."""
        return max(1, self.before + self.engine + (self.between + self.after) * self.images)

    def done(self, *, before: float, engine_share: float, after: float) -> int:
        """How many are done, of steps before, of the engine's part as a share, and of the others."""
        return min(floor(before + engine_share * self.engine + after + ROUNDING), self.total)


def steps_of(request: WorkRequest) -> Steps:
    """What a request counts as. Raises KeyError for operations that the registry does not know."""
    image = request.image
    images = len(image.seeds) if image else len(request.results)
    return Steps(
        before=steps_of_operations(request.before),
        engine=sum(each.steps for each in passes_of(image)) * images if image else 0,
        between=steps_of_operations(request.between),
        after=steps_of_operations(request.after),
        images=images,
    )


def steps_of_operations(operations: Iterable[Operation]) -> int:
    """What operations of the registry count as."""
    return sum(ENTRIES[operation.name].steps for operation in operations)
