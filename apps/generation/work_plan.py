"""A claimed job as the runtime takes it: its pictures, what is done before and after, and the image between.

    before   canvas.fit or canvas.expand, mask.prepare, mask.fill, mask.crop, detectors
    image    denoising, for kinds that denoise; else `results` names the picture to go on with
    between  upscale, for the second pass of a hi-res fix
    after    mask.paste, safety.check, faces.restore, upscale, faces.restore, background.remove

The check comes first of what follows the paste: what it replaces is then never enlarged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Final

from apps.catalog.models import CatalogEntry
from apps.generation.choices import DENOISING_KINDS, Kind
from apps.generation.image_requests import Entries, image_request, request_id_of, runtime_priority
from apps.generation.infotext import texts_of
from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob
from apps.generation.picture_store import picture_bytes
from apps.generation.preparing import (
    MASK,
    SOURCE,
    Preparation,
    assets_of,
    detector_settings,
    prepare_denoising,
    prepare_mask,
)
from apps.generation.resolved import ResolvedRequest
from apps.generation.safety_policy import UNSUITABLE
from apps.generation.used import UsedBackground, UsedCheck, UsedFaces, UsedUpscale
from apps.generation.wishes import StoredPicture
from gpu_runtime.errors import PictureUnusable
from gpu_runtime.messages import ImageInput
from gpu_runtime.work import COMPOSITE, GENERATED, RESULT, Encoding, Operation, WorkRequest

FOUND_GROWTH: Final = 64
"""A mask that was found by name grows by this part of the longer side: edges left over would show."""


def work_request(job: GenerationJob, entries: Entries) -> WorkRequest:
    """Raises PictureUnusable when a picture of the request is not in the store any more."""
    resolved = job.resolved
    plan = (
        prepare_denoising(resolved, entries)
        if resolved.kind in DENOISING_KINDS
        else _without_denoising(resolved, entries)
    )
    after = (*plan.after, *_finishing(resolved, entries, plan))
    checkpoint = entries[job.checkpoint_id] if job.checkpoint_id is not None else None
    return WorkRequest(
        request_id=request_id_of(lease_of(job)),
        account=str(job.account_id),
        weight=job.weight,
        priority=runtime_priority(job),
        is_isolated=job.crashes > 0,
        pictures={name: _picture(stored) for name, stored in plan.pictures.items()},
        before=tuple(plan.before),
        image=image_request(job, resolved, entries, plan.places) if plan.places else None,
        between=_between(resolved, entries) if plan.places else (),
        after=after,
        results=plan.results,
        encoding=_encoding(resolved, checkpoint, entries),
        wants_previews=resolved.wants_previews,
        seed=resolved.seed,
    )


def _picture(stored: StoredPicture) -> ImageInput:
    try:
        return ImageInput(data=picture_bytes(stored.digest), digest=stored.digest)
    except FileNotFoundError:
        problem = "A picture of this request is not stored any more; send the request again."
        raise PictureUnusable(problem, code="picture_gone") from None


def _without_denoising(resolved: ResolvedRequest, entries: Entries) -> Preparation:
    """Kinds that work on a picture alone: what is done with it, and what of it is delivered."""
    if resolved.image is None:
        assert resolved.kind is Kind.NSFW_CHECK
        # Its prompt was judged at submit: nothing is left to do.
        return Preparation(pictures={})
    plan = Preparation(pictures={SOURCE: resolved.image})
    make = _MAKERS.get(resolved.kind)
    plan.results = (SOURCE,) if make is None else make(plan, resolved, entries)
    return plan


def _swap(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> tuple[str, ...]:
    used = resolved.face_swap
    assert used is not None
    inputs = {"target": SOURCE, "source": "face"}
    plan.pictures["face"] = used.wish.source
    if used.wish.reference is not None:
        plan.pictures["reference"] = used.wish.reference
        inputs["reference"] = "reference"
    settings = {"which": used.wish.which.value}
    return (plan.do("faces.swap", inputs, "swapped", settings, assets_of(used.assets, entries)),)


def _erase(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> tuple[str, ...]:
    assert resolved.image is not None
    size = (resolved.image.width, resolved.image.height)
    if resolved.mask is None:
        found = _found(plan, resolved, entries)
        settings = {"width": size[0], "height": size[1], "grow": max(size) // FOUND_GROWTH}
        plan.do("mask.prepare", {"mask": found}, MASK, settings, output="mask")
    else:
        prepare_mask(plan, resolved, size)
    return (plan.do("mask.erase", {"image": SOURCE, "mask": MASK}, "erased"),)


def _detect(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> tuple[str, ...]:
    used = resolved.detect
    assert used is not None
    inputs = {"image": SOURCE}
    if resolved.mask is not None:
        plan.pictures["marks"] = resolved.mask
        inputs["mask"] = "marks"
    assets = assets_of(used.assets, entries)
    return (plan.do(f"detect.{used.wish.type.value}", inputs, "map", detector_settings(used.wish), assets),)


def _caption(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> tuple[str, ...]:
    assets = assets_of(resolved.reader, entries)
    settings = {"length": resolved.text} if resolved.text else {}
    plan.before.append(
        Operation(name="picture.caption", inputs={"image": SOURCE}, settings=settings, assets=assets)
    )
    return ()


def _mask_from_text(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> tuple[str, ...]:
    return (_found(plan, resolved, entries),)


def _found(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> str:
    """The name of a mask of what the request's text names."""
    assets = assets_of(resolved.reader, entries)
    settings = {"text": resolved.text}
    return plan.do("mask.from_text", {"image": SOURCE}, "found", settings, assets, output="mask")


def _check_alone(plan: Preparation, resolved: ResolvedRequest, entries: Entries) -> tuple[str, ...]:
    assert resolved.check is not None
    plan.before.append(_check(resolved.check, entries, SOURCE, "checked"))
    return ()


_MAKERS: Final[Mapping[Kind, Callable[[Preparation, ResolvedRequest, Entries], tuple[str, ...]]]] = {
    Kind.FACE_SWAP: _swap,
    Kind.OBJECT_REMOVAL: _erase,
    Kind.DETECT: _detect,
    Kind.CAPTION: _caption,
    Kind.MASK: _mask_from_text,
    Kind.NSFW_CHECK: _check_alone,
}
"""Names of what is delivered. Other kinds deliver the picture after what follows in any case."""


def _check(check: UsedCheck, entries: Entries, image: str, result: str) -> Operation:
    return Operation(
        name="safety.check",
        inputs={"image": image},
        outputs={"image": result},
        settings={
            "threshold": UNSUITABLE,
            "replacement": check.replacement.value,
            "is_blocking": check.is_blocking,
        },
        assets=assets_of(check.assets, entries),
    )


def _finishing(resolved: ResolvedRequest, entries: Entries, plan: Preparation) -> list[Operation]:
    """What every image goes through that is delivered."""
    operations = []
    if resolved.check is not None and resolved.kind is not Kind.NSFW_CHECK:
        operations.append(_check(resolved.check, entries, RESULT, RESULT))
    operations += [_restored(used, entries) for used in resolved.faces if not used.wish.is_after_upscale]
    if resolved.upscale is not None:
        operations.append(_upscale(resolved.upscale, entries))
    operations += [_restored(used, entries) for used in resolved.faces if used.wish.is_after_upscale]
    if resolved.background is not None:
        operations.append(_remove_background(resolved.background, entries, plan))
    return operations


def _between(resolved: ResolvedRequest, entries: Entries) -> tuple[Operation, ...]:
    """What enlarges each image for its second pass, where a model does."""
    hires = resolved.hires
    if hires is None or not hires.assets:
        return ()
    return (_upscale(UsedUpscale(width=hires.width, height=hires.height, assets=hires.assets), entries),)


def _restored(used: UsedFaces, entries: Entries) -> Operation:
    return Operation(
        name="faces.restore",
        inputs={"image": RESULT},
        outputs={"image": RESULT},
        settings={"visibility": used.wish.visibility, "weight": used.wish.weight},
        assets=assets_of(used.assets, entries),
    )


def _upscale(used: UsedUpscale, entries: Entries) -> Operation:
    return Operation(
        name="upscale",
        inputs={"image": RESULT},
        outputs={"image": RESULT},
        settings={"width": used.width, "height": used.height},
        assets=assets_of(used.assets, entries),
    )


def _remove_background(used: UsedBackground, entries: Entries, plan: Preparation) -> Operation:
    inputs = {"image": RESULT}
    if used.wish.picture is not None:
        plan.pictures["backdrop"] = used.wish.picture
        inputs["background"] = "backdrop"
    settings = {name: value for name, value in asdict(used.wish).items() if name != "picture"}
    return Operation(
        name="background.remove",
        inputs=inputs,
        outputs={"image": RESULT},
        settings=settings,
        assets=assets_of(used.assets, entries),
    )


def _encoding(resolved: ResolvedRequest, checkpoint: CatalogEntry | None, entries: Entries) -> Encoding:
    is_from_picture = resolved.image is not None or bool(resolved.references)
    return Encoding(
        media_type=resolved.output.media_type,
        quality=resolved.output.quality,
        texts=texts_of(resolved, checkpoint, entries),
        is_marked=resolved.output.is_marked,
        source_type=COMPOSITE if is_from_picture else GENERATED,
    )
