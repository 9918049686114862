"""Catalogue rows of the weights that operations use, without files: what ships, and what people import."""

from __future__ import annotations

from apps.catalog.models import CatalogEntry
from apps.generation.wishes import StoredPicture
from tests.factories import make_adapter

SHIPPED = (
    ("realesrgan-x4plus", "upscaler", "rrdbnet", {"scale": 4}),
    ("waifu2x-photo", "upscaler", "upconv7", {"scale": 2}),
    ("hed", "preprocessor", "softedge", {}),
    ("mediapipe-pose", "preprocessor", "openpose", {}),
    ("mediapipe-selfie-segmentation", "background_removal", "person", {}),
    ("mediapipe-face-detection", "face", "detection", {}),
    ("mediapipe-face-mesh", "face", "landmarks", {}),
    ("open-nsfw", "safety", "image", {}),
)
IMPORTED = (
    ("blip", "preprocessor", "caption", {}),
    ("clipseg", "preprocessor", "text_mask", {}),
    ("midas", "preprocessor", "depth", {}),
)


def make_utilities(*, is_complete: bool = False) -> dict[str, CatalogEntry]:
    """By name. `is_complete` adds what does not ship."""
    rows = (*SHIPPED, *IMPORTED) if is_complete else SHIPPED
    return {
        name: make_adapter(name, kind=kind, family="", variant=variant, details=details)
        for name, kind, variant, details in rows
    }


def picture(
    number: int = 0, *, width: int = 320, height: int = 240, has_alpha: bool = False
) -> StoredPicture:
    """One that nobody has stored: for plans, which look at no pixels."""
    return StoredPicture(
        digest=f"{number:064x}",
        width=width,
        height=height,
        has_alpha=has_alpha,
        size_bytes=1000,
        media_type="image/png",
    )
