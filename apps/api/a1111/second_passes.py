"""What follows the first pass: hires fix, and a refiner."""

from __future__ import annotations

from typing import Final

from apps.api.a1111.asked import Asked
from apps.api.a1111.errors import BadField
from apps.generation.wishes import HiresWish, RefinerWish

LATENT: Final = "latent"
RESAMPLING: Final = "lanczos"
RESAMPLERS: Final = frozenset({"none", "lanczos", "nearest"})


def hires_wish(asked: Asked) -> HiresWish | None:
    """Raises InvalidField, and BadField for an upscaler with weights: finished images go through those."""
    if not asked.is_hires:
        return None
    wished = asked.hires_size
    return HiresWish(
        scale=2.0 if wished else asked.get("hr_scale"),
        width=wished[0] if wished else None,
        height=wished[1] if wished else None,
        steps=asked.get("hr_second_pass_steps") or None,
        strength=asked.get("denoising_strength"),
        upscaler=_upscaler(asked.get("hr_upscaler")),
    )


def _upscaler(name: str | None) -> str:
    """Latents by default, as there; every one of its six latent modes is one here."""
    folded = (name or LATENT).strip().casefold()
    if folded.startswith(LATENT):
        return LATENT
    if folded in RESAMPLERS:
        return RESAMPLING
    problem = (
        f"must be a latent mode, Lanczos or None, not {folded[:60]}: enlarge the result with extras instead"
    )
    raise BadField("hr_upscaler", problem)


def refiner_wish(asked: Asked) -> RefinerWish | None:
    """Without a share of the steps, and at the very end, there is nothing for it to do, as there."""
    name, switch_at = asked.refiner
    if not name or switch_at >= 1:
        return None
    return RefinerWish(checkpoint=name, switch_at=switch_at)
