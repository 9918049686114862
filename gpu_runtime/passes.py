"""A request as a chain of passes, each one run of a denoiser from its first to its last step.

Most requests have one. A refiner takes over the last steps in a second, with its own checkpoint and the same
latents. Hi-res fix is a last one with the first checkpoint at a larger size, begun from the enlarged result.
To every family a pass is an ordinary request with another start. Knows nothing about tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from gpu_runtime.batching.batch_key import BatchKey, batch_key
from gpu_runtime.batching.cost import row_cost
from gpu_runtime.batching.turns import ExtraNetwork
from gpu_runtime.messages import ControlRef, Enlarging, HiresFix, ImageRequest, IpAdapterRef, RefinerRef
from gpu_runtime.weights.family_facts import forward_rows, steps_from_picture


class Source(StrEnum):
    """What a pass begins from."""

    REQUEST = "request"
    """Noise, or the picture that the request brings."""
    LATENTS = "latents"
    """The latents of the pass before, as they are."""
    ENLARGED_LATENTS = "enlarged latents"
    """The latents of the pass before at this pass's size."""
    ENLARGED_IMAGE = "enlarged image"
    """The decoded image of the pass before at this pass's size."""
    RETURNED_IMAGE = "returned image"
    """The decoded image of the pass before, as somebody else enlarged it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One pass over every image of a request."""

    request: ImageRequest
    """What it is to the family: this pass's checkpoint, size, steps and strength, without further passes."""
    source: Source = Source.REQUEST
    is_nearest: bool = False
    """With an enlarged image: whether pixels are repeated, and not resampled."""
    begin_at: float | None = None
    """Share of the noise schedule that earlier passes have done; None where it does not go on with theirs."""
    end_at: float | None = None
    """Share of the noise schedule after which another pass goes on; None for one that ends it."""

    @property
    def key(self) -> BatchKey:
        """Under which its images look for company before they are encoded."""
        return batch_key(self.request)

    @property
    def steps(self) -> int:
        """Steps in the user's count that it does for one image; what is shown, off by one at most."""
        request = self.request
        has_picture = request.image is not None or self.source in _ENLARGED
        strength = request.strength if has_picture and self.begin_at is None else 1.0
        share = (self.end_at or 1.0) - (self.begin_at or 0.0)
        steps = steps_from_picture(request.checkpoint.family, request.steps, strength)
        return max(1, round(steps * share))

    @property
    def weights(self) -> tuple[str, ...]:
        """Digests of all that it needs on the device."""
        request = self.request
        digests = [request.checkpoint.digest, *(control.digest for control in request.controls)]
        for adapter in request.ip_adapters:
            digests += [adapter.digest, adapter.encoder_digest]
        if request.vae:
            digests.append(request.vae.digest)
        return tuple(digests)

    @property
    def networks(self) -> frozenset[ExtraNetwork]:
        """What its steps need on the device beside the checkpoint."""
        refs: list[ControlRef | IpAdapterRef] = [*self.request.controls, *self.request.ip_adapters]
        return frozenset(ExtraNetwork(digest=ref.digest, path=ref.path) for ref in refs)

    @property
    def forward_rows(self) -> int:
        """Denoiser rows that one image brings to a call."""
        return forward_rows(self.request)

    @property
    def row_cost(self) -> float:
        """What one step of one image costs its account, in TFLOP."""
        return row_cost(self.request)


def passes_of(request: ImageRequest) -> tuple[Pass, ...]:
    """The passes in their order: the request's own, the refiner's, that at the larger size."""
    own = replace(request, refiner=None, hires=None)
    passes = [Pass(request=own, end_at=request.refiner.switch_at if request.refiner else None)]
    if request.refiner:
        passes.append(_refining(own, request.refiner))
    if request.hires:
        passes.append(_enlarging(own, request.hires))
    return tuple(passes)


_SOURCES: Mapping[Enlarging, Source] = {
    Enlarging.LATENTS: Source.ENLARGED_LATENTS,
    Enlarging.LANCZOS: Source.ENLARGED_IMAGE,
    Enlarging.NEAREST: Source.ENLARGED_IMAGE,
    Enlarging.OPERATIONS: Source.RETURNED_IMAGE,
}

_ENLARGED = frozenset(_SOURCES.values())


def _refining(own: ImageRequest, refiner: RefinerRef) -> Pass:
    """Adapters and controls are made for the first checkpoint's networks and end with it."""
    request = replace(
        own,
        checkpoint=refiner.checkpoint,
        loras=(),
        embeddings=(),
        controls=(),
        ip_adapters=(),
        references=(),
        # What a mask keeps, it keeps to the end.
        image=own.image if own.mask else None,
        strength=1.0,
    )
    return Pass(request=request, source=Source.LATENTS, begin_at=refiner.switch_at)


def _enlarging(own: ImageRequest, hires: HiresFix) -> Pass:
    request = replace(
        own,
        width=hires.width,
        height=hires.height,
        steps=hires.steps,
        strength=hires.strength,
        prompt=own.prompt if hires.prompt is None else hires.prompt,
        negative_prompt=own.negative_prompt if hires.negative_prompt is None else hires.negative_prompt,
        sampler=hires.sampler or own.sampler,
        schedule=hires.schedule if hires.sampler else own.schedule,
        image=own.image if own.mask else None,
        # Its layout is that of the first pass.
        mix=None,
    )
    is_nearest = hires.enlarging is Enlarging.NEAREST
    return Pass(request=request, source=_SOURCES[hires.enlarging], is_nearest=is_nearest)
