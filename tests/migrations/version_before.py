"""What workers of the version before could read of a row's JSON: frozen, of commit 7ff8c7f.

A release replaces all of it by what it reads itself, and nothing else ever changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The keys that a reader takes of one object."""

    required: str = ""
    """Names with spaces between them; without one of these it fails."""
    optional: str = ""
    """Any other name makes it fail."""
    inner: Mapping[str, str] = field(default_factory=dict)
    """Shapes of what lies under a key, or of each in the list there."""


SHAPES: Final[Mapping[str, Shape]] = {
    "request": Shape(
        required="kind checkpoint prompt negative_prompt width height denoised_width denoised_height"
        " num_images steps guidance_scale seed sampler",
        optional="schedule adapters true_guidance_scale clip_skip prompt_style tier wants_previews image mask"
        " mask_options references strength resize expand controls ip_adapters refiner hires upscale"
        " background face_swap detect reader text check output picture_digests",
        inner={
            "adapters": "adapters",
            "image": "picture",
            "mask": "picture",
            "mask_options": "mask",
            "references": "picture",
            "expand": "expand",
            "controls": "control",
            "ip_adapters": "ip_adapter",
            "refiner": "refiner",
            "hires": "hires",
            "upscale": "upscale",
            "background": "background",
            "face_swap": "face_swap",
            "detect": "detect",
            "reader": "asset",
            "check": "check",
            "output": "output",
        },
    ),
    # Required of the record of use: see usage_rollup.
    "adapters": Shape(
        required="loras embeddings vae", inner={"loras": "lora", "embeddings": "entry", "vae": "entry"}
    ),
    "entry": Shape(required="entry_id name"),
    "lora": Shape(required="entry_id name scale"),
    "asset": Shape(required="role entry_id name"),
    "picture": Shape(required="digest width height has_alpha size_bytes media_type"),
    "mask": Shape(optional="is_inverted blur_px grow_px from_alpha fill is_only_masked padding_px"),
    "expand": Shape(optional="left right top bottom overlap_px"),
    "control": Shape(
        required="network picture type is_hint scale start end resolution_px threshold_a threshold_b",
        optional="mode assets",
        inner={"network": "entry", "picture": "picture", "assets": "asset"},
    ),
    "ip_adapter": Shape(
        required="adapter encoder pictures scale",
        inner={"adapter": "entry", "encoder": "entry", "pictures": "picture"},
    ),
    "refiner": Shape(required="checkpoint switch_at", inner={"checkpoint": "entry"}),
    "hires": Shape(required="width height steps strength enlarges_latents output_width output_height"),
    "upscale": Shape(required="width height", optional="assets scale variant", inner={"assets": "asset"}),
    "background": Shape(required="wish assets", inner={"wish": "background_wish", "assets": "asset"}),
    "background_wish": Shape(
        optional="picture colour only_mask inverse_mask post_process_mask alpha_matting"
        " alpha_matting_foreground_threshold alpha_matting_background_threshold alpha_matting_erode_size",
        inner={"picture": "picture"},
    ),
    "face_swap": Shape(required="wish assets", inner={"wish": "face_swap_wish", "assets": "asset"}),
    "face_swap_wish": Shape(
        required="source", optional="reference which", inner={"source": "picture", "reference": "picture"}
    ),
    "detect": Shape(required="wish assets", inner={"wish": "detect_wish", "assets": "asset"}),
    "detect_wish": Shape(required="type", optional="resolution_px threshold_a threshold_b"),
    "check": Shape(required="assets", optional="replacement is_blocking", inner={"assets": "asset"}),
    "output": Shape(optional="media_type quality is_marked"),
    "import": Shape(
        required="source address visibility",
        optional="name aliases title description kind_hint family_hint revision file file_patterns"
        " expected_sha256 precision licence is_commercial_use_allowed tags trigger_words defaults details"
        " token_parameter uses_server_tokens force is_anywhere is_watched",
    ),
}


def problems(stored: Mapping[str, Any], name: str, path: str = "") -> Iterator[str]:
    """Why the reader of this shape would fail at such JSON (Any), by path; nothing where it would not."""
    shape = SHAPES[name]
    required = set(shape.required.split())
    for key in sorted(stored.keys() - required - set(shape.optional.split())):
        yield f"{path}{key} is unknown"
    for key in sorted(required - stored.keys()):
        yield f"{path}{key} is missing"
    for key, inner in shape.inner.items():
        found = stored.get(key)
        for each in found if isinstance(found, list | tuple) else [found] if found is not None else []:
            yield from problems(each, inner, f"{path}{key}.")
