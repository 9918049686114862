"""What must be equal for two images to share one denoiser call. Knows nothing about tensors."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_runtime.messages import ImageRequest, Sampler, Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchKey:
    """Images with equal keys may share one denoiser call.

    What differs from row to row is not here: prompt, seed, step, step count, sampler, guidance scale,
    and whether a row is guided at all (an unguided row simply brings no unconditional row).
    """

    checkpoint: str
    """Digest of the weights: one set of weights is applied per call."""
    family: str
    """Implied by the checkpoint; here because measured times are shared by all checkpoints of a family."""
    width: int
    """Denoised width in pixels: the rows of a tensor have one shape."""
    height: int
    """Denoised height in pixels: the rows of a tensor have one shape."""
    tier: Tier = Tier.STANDARD
    """Rows of the exact tier need calls of a fixed number of rows, those of the fast one another network."""
    is_seamless: bool = False
    """What wraps around edges does so for all rows of a call."""
    shape: tuple[int, ...] = ()
    """What encoding adds: `Conditioning.shape`. Empty until a request is encoded."""
    isolated_request: str = ""
    """Id of a request that may share with nobody, else empty: it makes that request's key its own."""


AMPLIFYING = frozenset({Sampler.DPM_ADAPTIVE})
"""Samplers that make much of differences of rounding: step sizes follow from the latents, over sixty calls,
and images in company were 1.5e-5 from those made alone. Calls of a fixed number of rows leave none."""


def tier_of(request: ImageRequest) -> Tier:
    """The tier that a request can have.

    What acts on single rows inside the denoiser would meet fewer rows than it knows in calls of the fast one.
    """
    if request.sampler in AMPLIFYING:
        return Tier.EXACT
    acts_inside = request.loras or request.controls or request.ip_adapters or request.is_seamless
    return Tier.STANDARD if request.tier is Tier.FAST and acts_inside else request.tier


def batch_key(request: ImageRequest) -> BatchKey:
    """The key under which the images of this request look for company."""
    return BatchKey(
        checkpoint=request.checkpoint.digest,
        family=request.checkpoint.family,
        width=request.width,
        height=request.height,
        tier=tier_of(request),
        is_seamless=request.is_seamless,
        isolated_request=request.request_id if request.is_isolated else "",
    )
