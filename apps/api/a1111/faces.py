"""Networks that restore faces, by stable-diffusion-webui's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apps.accounts.models import Account
from apps.api.a1111.asked import Asked
from apps.catalog.choices import Kind
from apps.catalog.selectors import list_usable
from apps.generation.wishes import FaceWish

RESTORERS: Final[Mapping[str, str]] = {
    "gfpgan": "GFPGAN",
    "codeformer": "CodeFormer",
    "restoreformer": "RestoreFormer",
}
"""Our variants, and their names, in the order of lists."""
NO_RESTORER: Final = frozenset({"", "none"})
"""Settings that leave the choice open."""


def list_restorers(account: Account) -> list[str]:
    """Names of those that are installed."""
    entries = list_usable(account=account).filter(kind=Kind.FACE, variant__in=RESTORERS)
    installed = set(entries.values_list("variant", flat=True))
    return [name for variant, name in RESTORERS.items() if variant in installed]


def restored_faces(asked: Asked) -> tuple[FaceWish, ...]:
    """What `restore_faces` means with the settings of the key; an open choice is the most used network."""
    if not asked.get("restore_faces"):
        return ()
    named = str(asked.options["face_restoration_model"]).strip().lower()
    model = "" if named in NO_RESTORER else named
    return (FaceWish(model=model, weight=asked.options["code_former_weight"]),)


def faces_of_extras(values: Mapping[str, Any]) -> tuple[FaceWish, ...]:
    """What extras does with faces, in their order. Any: by each field's reader."""
    asked: Sequence[tuple[str, float]] = (
        ("gfpgan", values["gfpgan_visibility"]),
        ("codeformer", values["codeformer_visibility"]),
    )
    return tuple(
        FaceWish(
            model=model,
            visibility=visibility,
            weight=values["codeformer_weight"],
            is_after_upscale=values["upscale_first"],
        )
        for model, visibility in asked
        if visibility
    )
