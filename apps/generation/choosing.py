"""Every catalogue entry that a request will use: chosen at submit, where what is missing is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from apps.accounts.models import Account
from apps.catalog.choices import Kind as EntryKind
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import (
    access_checkpoint,
    access_entry,
    find_entry,
    list_usable,
    require_compatible,
)
from apps.core.errors import InvalidField
from apps.generation.adapters import choose_adapters
from apps.generation.choices import ControlType, Kind
from apps.generation.controls import choose_controls, detector_assets
from apps.generation.errors import ModelNotInstalled
from apps.generation.faces import choose_faces
from apps.generation.finding import asset_of, require_of
from apps.generation.import_examples import import_hint
from apps.generation.request import GenerationRequest
from apps.generation.safety_policy import choose_check
from apps.generation.used import (
    NO_UPSCALER,
    Assets,
    Chosen,
    UsedBackground,
    UsedDetect,
    UsedEntry,
    UsedFaceSwap,
    UsedIpAdapter,
    UsedRefiner,
    UsedUpscaler,
)
from apps.generation.wishes import LANCZOS, IpAdapterWish
from gpu_runtime.messages import Enlarging
from gpu_runtime.weights.family_facts import STEP_BATCHED, UNETS
from gpu_runtime.weights.identification.ip_adapters import is_fitting, wanted_encoder
from gpu_runtime.weights.identification.picture_networks import IMAGE_ENCODER

DEFAULT_UPSCALER: Final = "realesrgan-x4plus"
DEFAULT_SCALE: Final = 4
REFINED_FAMILY: Final = "sdxl"


def choose_entries(
    *, account: Account, request: GenerationRequest, checkpoint: CatalogEntry | None
) -> Chosen:
    """Raises EntryNotFound, EntryDisabled, FamilyMismatch, ModelNotInstalled and InvalidField."""
    chosen = Chosen(
        background=_background(account, request),
        face_swap=_face_swap(account, request),
        detect=_detect(account, request),
        reader=_reader(account, request),
        check=choose_check(account=account, request=request),
    )
    if request.upscale is not None and request.upscale.upscaler.lower() != LANCZOS:
        chosen = replace(chosen, upscaler=_upscaler(account, request.upscale.upscaler))
    chosen = replace(chosen, faces=choose_faces(account=account, request=request))
    if checkpoint is None:
        return chosen
    return _with_denoising(chosen, account, request, checkpoint)


def _with_denoising(
    chosen: Chosen, account: Account, request: GenerationRequest, checkpoint: CatalogEntry
) -> Chosen:
    _require_step_batched(request, checkpoint)
    _require_unet(request, checkpoint)
    return replace(
        chosen,
        adapters=choose_adapters(account=account, request=request, checkpoint=checkpoint),
        controls=choose_controls(account=account, request=request, checkpoint=checkpoint),
        ip_adapters=tuple(_ip_adapter(account, wish, checkpoint) for wish in request.ip_adapters),
        refiner=_refiner(account, request, checkpoint),
        hires_upscaler=_hires_upscaler(account, request),
    )


def _require_unet(request: GenerationRequest, checkpoint: CatalogEntry) -> None:
    """What is done to convolutions has no counterpart in transformers, and mixing is not tried with them."""
    for field in ("is_seamless", "mix"):
        if getattr(request, field) and checkpoint.family not in UNETS:
            problem = f"cannot be combined with the model {checkpoint.name} ({checkpoint.family})"
            raise InvalidField(field=field, problem=problem)


def _require_step_batched(request: GenerationRequest, checkpoint: CatalogEntry) -> None:
    """Other families run through pipelines that have no place for these."""
    if checkpoint.family in STEP_BATCHED:
        return
    for field in ("controls", "ip_adapters", "hires", "variation"):
        if getattr(request, field):
            problem = f"cannot be combined with the model {checkpoint.name} ({checkpoint.family})"
            raise InvalidField(field=field, problem=problem)


def _ip_adapter(account: Account, wish: IpAdapterWish, checkpoint: CatalogEntry) -> UsedIpAdapter:
    adapter = access_entry(account=account, name=wish.name, kind=EntryKind.IP_ADAPTER)
    require_compatible(entry=adapter, checkpoint=checkpoint)
    return UsedIpAdapter(
        adapter=_used(adapter),
        encoder=_used(_encoder(account, adapter)),
        pictures=wish.pictures,
        scale=wish.scale,
    )


def _encoder(account: Account, adapter: CatalogEntry) -> CatalogEntry:
    """The model that sees for an IP-adapter: the one that came with it, else the most used that fits it.

    Encoders have several widths. The one that came with it may have been removed since.
    """
    encoders = list_usable(account=account).filter(kind=EntryKind.PREPROCESSOR, variant=IMAGE_ENCODER)
    named = adapter.details.get("encoder")
    linked = find_entry(encoders, named) if isinstance(named, str) else None
    if linked is not None:
        return linked
    for found in encoders.order_by("-use_count", "pk"):
        if is_fitting(adapter.details, found.details):
            return found
    raise ModelNotInstalled(
        kind=f"encoder of pictures for IP-adapter {adapter.name}",
        hint=f"{import_hint(EntryKind.PREPROCESSOR, (IMAGE_ENCODER,))}: {wanted_encoder(adapter.details)}",
    )


def _refiner(account: Account, request: GenerationRequest, checkpoint: CatalogEntry) -> UsedRefiner | None:
    wish = request.refiner
    if wish is None:
        return None
    second = access_checkpoint(account=account, name=wish.checkpoint)
    for entry in (checkpoint, second):
        if entry.family != REFINED_FAMILY:
            problem = f"goes with models of family {REFINED_FAMILY}; {entry.name} is {entry.family}"
            raise InvalidField(field="refiner", problem=problem)
    return UsedRefiner(checkpoint=_used(second), switch_at=wish.switch_at)


def _upscaler(account: Account, name: str) -> UsedUpscaler:
    entry = _upscaling_entry(account, name)
    return UsedUpscaler(
        assets=(asset_of(entry, role="model"),),
        scale=int(entry.details.get("scale", DEFAULT_SCALE)),
        variant=entry.variant,
    )


def _hires_upscaler(account: Account, request: GenerationRequest) -> UsedUpscaler:
    if request.hires is None or request.hires.enlarging is not Enlarging.OPERATIONS:
        return NO_UPSCALER
    return _upscaler(account, request.hires.upscaler)


def _upscaling_entry(account: Account, name: str) -> CatalogEntry:
    if name:
        return access_entry(account=account, name=name, kind=EntryKind.UPSCALER)
    usable = list_usable(account=account).filter(kind=EntryKind.UPSCALER)
    # The default may have been removed; then whatever people use.
    found = find_entry(usable, DEFAULT_UPSCALER) or usable.order_by("-use_count", "pk").first()
    if found is None:
        raise ModelNotInstalled(kind="upscaler", hint=import_hint(EntryKind.UPSCALER, ()))
    return found


def _background(account: Account, request: GenerationRequest) -> UsedBackground | None:
    """By a network for anything where one was imported, else by the one for people that ships."""
    if request.background is None:
        return None
    kind = EntryKind.BACKGROUND_REMOVAL
    model = require_of(
        account=account, role="model", kind=kind, variants=BACKGROUND_VARIANTS, title="background remover"
    )
    return UsedBackground(wish=request.background, assets=(model,))


BACKGROUND_VARIANTS: Final = ("general", "birefnet", "isnet", "u2net", "", "person")


def _face_swap(account: Account, request: GenerationRequest) -> UsedFaceSwap | None:
    if request.face_swap is None:
        return None
    return UsedFaceSwap(
        wish=request.face_swap, assets=detector_assets(account=account, type=ControlType.FACE)
    )


def _detect(account: Account, request: GenerationRequest) -> UsedDetect | None:
    if request.detect is None:
        return None
    if request.detect.type is ControlType.INPAINT and request.mask is None:
        raise InvalidField(field="mask", problem="is required for a map of type inpaint")
    return UsedDetect(wish=request.detect, assets=detector_assets(account=account, type=request.detect.type))


FINDER: Final = (("text_mask",), "model that finds what a text names")
READERS: Final = {
    Kind.CAPTION: (("caption",), "caption model"),
    Kind.MASK: FINDER,
    Kind.OBJECT_REMOVAL: FINDER,
}


def _reader(account: Account, request: GenerationRequest) -> Assets:
    # A mask says where the thing is; without one, what it is called must do.
    if request.kind not in READERS or request.mask is not None:
        return ()
    variants, title = READERS[request.kind]
    kind = EntryKind.PREPROCESSOR
    return (require_of(account=account, role="model", kind=kind, variants=variants, title=title),)


def _used(entry: CatalogEntry) -> UsedEntry:
    return UsedEntry(entry_id=entry.pk, name=entry.name)
