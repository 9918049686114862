"""What restores faces: which entry, and what finds them."""

from __future__ import annotations

from typing import Final

from apps.accounts.models import Account
from apps.catalog.choices import Kind
from apps.catalog.selectors import access_entry
from apps.core.errors import InvalidField
from apps.generation.choices import ControlType
from apps.generation.controls import detector_assets
from apps.generation.finding import asset_of, require_of
from apps.generation.request import GenerationRequest
from apps.generation.used import UsedAsset, UsedFaces
from apps.generation.wishes import FaceWish

RESTORATION_VARIANTS: Final = ("gfpgan", "codeformer", "restoreformer")
"""As identification stores them."""


def choose_faces(*, account: Account, request: GenerationRequest) -> tuple[UsedFaces, ...]:
    """Raises EntryNotFound, EntryDisabled, InvalidField and ModelNotInstalled."""
    return tuple(_choose(account, wish) for wish in _wishes(request) if wish.visibility > 0)


def _wishes(request: GenerationRequest) -> tuple[FaceWish, ...]:
    if request.upscale is None or not request.upscale.is_face_enhanced:
        return request.faces
    return (*request.faces, FaceWish(is_after_upscale=True))


def _choose(account: Account, wish: FaceWish) -> UsedFaces:
    model = _model(account, wish.model)
    return UsedFaces(wish=wish, assets=(model, *detector_assets(account=account, type=ControlType.FACE)))


def _model(account: Account, name: str) -> UsedAsset:
    if name and name.lower() not in RESTORATION_VARIANTS:
        entry = access_entry(account=account, name=name, kind=Kind.FACE)
        if entry.variant not in RESTORATION_VARIANTS:
            raise InvalidField(
                field="faces", problem=f"{entry.name} restores no faces: it is for {entry.variant}"
            )
        return asset_of(entry, role="model")
    variants = (name.lower(),) if name else RESTORATION_VARIANTS
    title = "face restoration model"
    return require_of(account=account, role="model", kind=Kind.FACE, variants=variants, title=title)
