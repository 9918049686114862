"""A job's denoising as the runtime takes it: the ImageRequest, whose pictures go by names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from apps.catalog.models import CatalogEntry
from apps.generation.adapters import WEIGHTS_FILE, embedding_refs, lora_refs, vae_ref
from apps.generation.lifecycle import Lease, lease_of
from apps.generation.model_policies import checkpoint_ref
from apps.generation.models import GenerationJob
from apps.generation.resolved import ResolvedRequest
from apps.generation.sizes import Size
from apps.generation.used import UsedIpAdapter
from gpu_runtime.messages import (
    ControlBalance,
    ControlRef,
    HiresFix,
    ImageInput,
    ImageRequest,
    IpAdapterRef,
    PictureMix,
    Priority,
    RefinerRef,
    SeedVariation,
)
from gpu_runtime.work import Made

Entries = Mapping[int, CatalogEntry]
"""Every entry that a request names, its checkpoint included, by primary key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Under which names the pictures of an image request are to be found; "" is none."""

    image: str = ""
    mask: str = ""
    references: tuple[str, ...] = ()
    controls: tuple[str, ...] = ()
    ip_adapters: tuple[tuple[str, ...], ...] = ()
    output: Size = (0, 0)
    """Of the image as the engine hands it over, pixels."""


def request_id_of(lease: Lease) -> str:
    """The engine's name for one claim of a job.

    Another claim has another name: the engine outlives sessions, and what it still has to say of an
    earlier claim, such as that it was stopped, must never be taken for the present one.
    """
    return f"{lease.job_id}.{lease.fence}"


def runtime_priority(job: GenerationJob) -> Priority:
    """The engine's class of a row's priority: 0 and above is interactive, -1 background, less is training."""
    return Priority(min(max(-job.priority, Priority.INTERACTIVE), Priority.TRAINING))


def image_request(
    job: GenerationJob, resolved: ResolvedRequest, entries: Entries, places: Places
) -> ImageRequest:
    """The job's denoising; `job` has a checkpoint."""
    assert job.checkpoint_id is not None
    return ImageRequest(
        request_id=request_id_of(lease_of(job)),
        checkpoint=checkpoint_ref(entries[job.checkpoint_id]),
        prompt=resolved.prompt,
        negative_prompt=resolved.negative_prompt,
        width=resolved.denoised_width,
        height=resolved.denoised_height,
        output_width=places.output[0],
        output_height=places.output[1],
        steps=resolved.steps,
        guidance_scale=resolved.guidance_scale,
        true_guidance_scale=resolved.true_guidance_scale,
        seeds=resolved.seeds,
        variation=_variation(resolved),
        sampler=resolved.sampler,
        schedule=resolved.schedule,
        account=str(job.account_id),
        weight=job.weight,
        priority=runtime_priority(job),
        is_isolated=job.crashes > 0,
        loras=lora_refs(resolved.adapters, entries),
        embeddings=embedding_refs(resolved, entries),
        vae=vae_ref(resolved.adapters, entries),
        image=_made(places.image),
        strength=resolved.strength if places.image else 1.0,
        mask=_made(places.mask),
        mix=_mix(resolved) if places.image else None,
        references=tuple(Made(name=name) for name in places.references),
        controls=_controls(resolved, entries, places),
        ip_adapters=tuple(
            _ip_adapter(used, entries, names)
            for used, names in zip(resolved.ip_adapters, places.ip_adapters, strict=True)
        ),
        clip_skip=resolved.clip_skip,
        refiner=_refiner(resolved, entries),
        hires=_hires(resolved),
        is_seamless=resolved.is_seamless,
        prompt_style=resolved.prompt_style,
        tier=resolved.tier,
        wants_previews=resolved.wants_previews,
    )


def _made(name: str) -> ImageInput | None:
    return Made(name=name) if name else None


def _controls(resolved: ResolvedRequest, entries: Entries, places: Places) -> tuple[ControlRef, ...]:
    refs = []
    for control, place in zip(resolved.controls, places.controls, strict=True):
        entry = entries[control.network.entry_id]
        refs.append(
            ControlRef(
                name=entry.name,
                path=entry.path,
                digest=entry.digest,
                image=Made(name=place),
                scale=control.scale,
                start=control.start,
                end=control.end,
                mode=control.mode,
                balance=ControlBalance(control.balance.value),
            )
        )
    return tuple(refs)


def _ip_adapter(used: UsedIpAdapter, entries: Entries, names: tuple[str, ...]) -> IpAdapterRef:
    adapter, encoder = entries[used.adapter.entry_id], entries[used.encoder.entry_id]
    return IpAdapterRef(
        name=adapter.name,
        path=str(Path(adapter.path) / WEIGHTS_FILE),
        digest=adapter.digest,
        encoder_path=encoder.path,
        encoder_digest=encoder.digest,
        images=tuple(Made(name=name) for name in names),
        scale=used.scale,
    )


def _refiner(resolved: ResolvedRequest, entries: Entries) -> RefinerRef | None:
    used = resolved.refiner
    if used is None:
        return None
    return RefinerRef(checkpoint=checkpoint_ref(entries[used.checkpoint.entry_id]), switch_at=used.switch_at)


def _hires(resolved: ResolvedRequest) -> HiresFix | None:
    used = resolved.hires
    if used is None:
        return None
    return HiresFix(
        width=used.width,
        height=used.height,
        strength=used.strength,
        steps=used.steps,
        enlarging=used.enlarging,
        prompt=used.prompt,
        negative_prompt=used.negative_prompt,
        sampler=used.sampler,
        schedule=used.schedule,
    )


def _mix(resolved: ResolvedRequest) -> PictureMix | None:
    wish = resolved.mix
    return PictureMix(share=wish.share, until=wish.until) if wish is not None else None


def _variation(resolved: ResolvedRequest) -> SeedVariation | None:
    wish = resolved.variation
    if wish is None:
        return None
    size = (wish.from_width, wish.from_height) if wish.from_width and wish.from_height else None
    # A second seed without a part in the noise may be any.
    seeds = resolved.variation_seeds or resolved.seeds
    return SeedVariation(seeds=seeds, strength=wish.strength, size=size)
