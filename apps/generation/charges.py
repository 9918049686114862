"""What one job takes: of the day's quota and, delivered, on the ledger. Prices are times these figures.

Said before by estimates and afterwards by what was delivered; the two agree, for every kind.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from apps.artifacts.services import NewArtifact
from apps.generation.resolved import ResolvedRequest

CALLS: Final = 1
"""Of the day's quota, for any job. Nothing for one that is refused, fails or is canceled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Of one job that delivers all that was asked for; there are no partial deliveries."""

    calls: int
    """Of the day's quota, if it succeeds."""
    images: int
    """That would be charged; 0 for kinds whose result is words."""
    pixels: int
    """Of all images together."""


def foreseen(resolved: ResolvedRequest) -> Charge:
    """What the job will take."""
    width, height = resolved.delivered_size
    return Charge(calls=CALLS, images=resolved.num_images, pixels=width * height * resolved.num_images)


def delivered(artifacts: Collection[NewArtifact]) -> Charge:
    """What it took, by its files."""
    pixels = sum(image.width * image.height for image in artifacts)
    return Charge(calls=CALLS, images=len(artifacts), pixels=pixels)
