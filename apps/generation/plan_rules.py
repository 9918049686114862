"""What an account's plan says of one request: kinds, models, numbers and sizes of images."""

from __future__ import annotations

from apps.catalog.models import CatalogEntry
from apps.core.errors import InvalidField
from apps.generation.choices import DENOISING_KINDS, Kind
from apps.generation.errors import TooManyImages
from apps.generation.request import GenerationRequest
from apps.generation.resolved import ResolvedRequest
from apps.plans.entitlements import Entitlements, Unlimited
from gpu_runtime.messages import Enlarging


def require_entitled(
    entitlements: Entitlements, request: GenerationRequest, checkpoint: CatalogEntry | None
) -> None:
    """Raises KindNotInPlan, ModelNotInPlan, TooManyImages."""
    if checkpoint is not None:
        entitlements.require_model(checkpoint.name)
    for kind in kinds_in(request):
        entitlements.require_kind(kind)
    if request.num_images > entitlements.max_samples:
        raise TooManyImages(
            plan=entitlements.plan_code, limit=entitlements.max_samples, asked=request.num_images
        )


def kinds_in(request: GenerationRequest) -> list[Kind]:
    """Its own kind, and those of its parts that are kinds by themselves: a plan must include them all."""
    parts = {
        Kind.CONTROLNET: request.controls,
        # Restored faces came with upscaling before they could be asked for by themselves.
        Kind.UPSCALE: request.upscale or request.faces or _is_enlarged_by_model(request),
        Kind.REMOVE_BACKGROUND: request.background,
    }
    return [request.kind, *(kind for kind, part in parts.items() if part and kind != request.kind)]


def _is_enlarged_by_model(request: GenerationRequest) -> bool:
    """Whether a network, and no resampling, enlarges for the second pass."""
    return request.hires is not None and request.hires.enlarging is Enlarging.OPERATIONS


def require_side(entitlements: Entitlements, resolved: ResolvedRequest) -> None:
    """Of what is denoised: enlarging by a factor is limited by its own rules. Raises InvalidField."""
    limit = entitlements.max_side
    if isinstance(limit, Unlimited) or resolved.kind not in DENOISING_KINDS:
        return
    sides = {"width": resolved.width, "height": resolved.height}
    if resolved.hires is not None:
        sides = {"width": resolved.hires.output_width, "height": resolved.hires.output_height}
    for field, side in sides.items():
        if side > limit:
            raise InvalidField(
                field=field,
                problem=f"must be at most {limit} pixels in the plan {entitlements.plan_code}, not {side}",
            )


def parallel_of(entitlements: Entitlements) -> int | None:
    """For the job's row: how many of the account's jobs may run at once; None is any number."""
    limit = entitlements.max_parallel
    return None if isinstance(limit, Unlimited) else limit
