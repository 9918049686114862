"""GET and POST options: there the settings of one person's server, here those of one API key.

Only OPTIONS are kept, since only they do something here; others are accepted and forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from django.db import transaction

from apps.api.a1111.checkpoints import default_checkpoint, find_checkpoint, sha256_of, title_of
from apps.api.a1111.errors import CHECKPOINT_NOT_FOUND, RUNTIME_ERROR, BadField, Refusal
from apps.api.a1111.readers import Flag, Number, Whole
from apps.api.models import A1111Options
from apps.api.readers import BadValue, Reader, Text
from apps.apikeys.models import ApiKey
from apps.catalog.models import CatalogEntry
from apps.generation.request import MAX_CLIP_SKIP
from apps.generation.wishes import OutputWish

CHECKPOINT: Final = "sd_model_checkpoint"
VAE: Final = "sd_vae"
CLIP_LAYERS: Final = "CLIP_stop_at_last_layers"
NO_VAE: Final = frozenset({"", "automatic", "none"})
MEDIA_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
}
LOSSLESS: Final = 100


@dataclass(frozen=True, slots=True)
class Option:
    """One setting that has an effect."""

    read: Reader
    default: object


OPTIONS: Final[Mapping[str, Option]] = {
    CHECKPOINT: Option(Text(max_chars=300), ""),
    VAE: Option(Text(max_chars=300), "Automatic"),
    CLIP_LAYERS: Option(Whole(lowest=1, highest=MAX_CLIP_SKIP + 1), 1),
    "samples_format": Option(Text(max_chars=10), "png"),
    "jpeg_quality": Option(Whole(lowest=1, highest=100), 80),
    "webp_lossless": Option(Flag(), False),
    "face_restoration_model": Option(Text(max_chars=50), ""),
    "code_former_weight": Option(Number(lowest=0.0, highest=1.0), 0.5),
    "live_previews_enable": Option(Flag(), True),
}

FIXED: Final[Mapping[str, object]] = {
    "samples_save": True,
    "grid_save": False,
    "return_grid": False,
    "enable_pnginfo": True,
    "do_not_show_images": False,
    "send_seed": True,
    "add_model_hash_to_info": True,
    "add_model_name_to_info": True,
    "sd_checkpoint_cache": 0,
    "sd_checkpoints_limit": 1,
    "eta_noise_seed_delta": 0,
    "img2img_fix_steps": False,
    "img2img_color_correction": False,
    "inpainting_mask_weight": 1.0,
    "face_restoration": False,
    "show_progress_every_n_steps": 1,
    "live_preview_refresh_period": 500,
    "live_previews_image_format": "jpeg",
    "control_net_unit_count": 5,
}
"""Reported as they are here, for clients that look at them."""


def stored_values(key: ApiKey) -> dict[str, Any]:
    """The key's values of OPTIONS, defaults included. Any: as each is read."""
    row = A1111Options.objects.filter(api_key=key).first()
    changed = row.values if row is not None else {}
    return {name: changed.get(name, option.default) for name, option in OPTIONS.items()}


def shown_options(key: ApiKey) -> dict[str, object]:
    """What GET options answers."""
    values = stored_values(key)
    current = chosen_checkpoint(key, values)
    return {
        **FIXED,
        **values,
        CHECKPOINT: title_of(current) if current else None,
        "sd_checkpoint_hash": sha256_of(current) if current else "",
    }


def chosen_checkpoint(key: ApiKey, values: Mapping[str, Any]) -> CatalogEntry | None:
    """The checkpoint that requests without one mean; None where the key may use none at all."""
    named = find_checkpoint(values[CHECKPOINT], key) if values[CHECKPOINT] else None
    return named or default_checkpoint(key)


def change_options(key: ApiKey, fields: Mapping[str, object]) -> None:
    """Keep what is known of `fields`.

    Raises BadField for a value of the wrong type, Refusal for a checkpoint that is not to be found, as there.
    """
    changed = {name: read_option(name, value) for name, value in fields.items() if name in OPTIONS}
    if changed.get(CHECKPOINT):
        changed[CHECKPOINT] = _require_checkpoint(str(changed[CHECKPOINT]), key).name
    if not changed:
        return
    with transaction.atomic():
        A1111Options.objects.get_or_create(api_key=key)
        row = A1111Options.objects.select_for_update().get(api_key=key)
        row.values = {**row.values, **changed}
        row.save(update_fields=["values"])


def read_option(name: str, value: object) -> object:
    """One value of OPTIONS; null is its default. Raises BadField."""
    option = OPTIONS[name]
    if value is None:
        return option.default
    try:
        return option.read(value)
    except BadValue as error:
        raise BadField(name, str(error)) from None


def _require_checkpoint(name: str, key: ApiKey) -> CatalogEntry:
    found = find_checkpoint(name, key)
    if found is None:
        problem = f"model {name!r} not found"
        raise Refusal(
            HTTPStatus.INTERNAL_SERVER_ERROR, problem, code=CHECKPOINT_NOT_FOUND, error=RUNTIME_ERROR
        )
    return found


def output_of(values: Mapping[str, Any]) -> OutputWish:
    """The files that a key's requests come out as; an unknown format is PNG, as there."""
    media_type = MEDIA_TYPES.get(str(values["samples_format"]).lower(), "image/png")
    is_lossless = media_type == "image/webp" and values["webp_lossless"]
    return OutputWish(media_type=media_type, quality=LOSSLESS if is_lossless else values["jpeg_quality"])
