"""Upscalers by stable-diffusion-webui's names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from apps.accounts.models import Account
from apps.api.a1111.checkpoints import find_by_title
from apps.api.a1111.errors import UPSCALER_NOT_FOUND, Refusal
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import list_usable

NONE: Final = "None"
LANCZOS: Final = "Lanczos"
RESAMPLING: Final = "lanczos"
"""Ours."""

THEIR_NAMES: Final = {
    "realesrgan-x4plus": "R-ESRGAN 4x+",
    "realesrgan-x4plus-anime-6b": "R-ESRGAN 4x+ Anime6B",
}
"""By our names; every other entry goes by its own."""
_OURS: Final = {theirs.casefold(): ours for ours, theirs in THEIR_NAMES.items()} | {
    # What its own documentation and older versions call it.
    "realesrgan_x4plus": "realesrgan-x4plus",
}


def list_upscalers(account: Account) -> CatalogQuerySet:
    """Those with weights that the account may use, by name."""
    return list_usable(account=account).filter(kind=Kind.UPSCALER).order_by("name")


def title_of_upscaler(entry: CatalogEntry) -> str:
    """As lists name it."""
    return THEIR_NAMES.get(entry.name, entry.name)


def find_upscaler(name: str, account: Account) -> str:
    """Our name; "" for None, "lanczos" for resampling. Raises Refusal for one that is not there."""
    folded = name.strip().casefold()
    if folded in ("", NONE.casefold()):
        return ""
    if folded == RESAMPLING:
        return RESAMPLING
    entry = find_by_title(list_upscalers(account), _OURS.get(folded, name))
    if entry is None:
        problem = f"Invalid upscaler: {name[:200]}"
        raise Refusal(HTTPStatus.BAD_REQUEST, problem, code=UPSCALER_NOT_FOUND)
    return entry.name
