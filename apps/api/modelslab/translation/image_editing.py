"""Work on a picture: cutting out, growing, repairing, describing; and faces and garments by adapters."""

from __future__ import annotations

from typing import Any, Final

from apps.api.modelslab.translation.asked import Asked
from apps.api.modelslab.translation.denoising import common, safety
from apps.api.modelslab.translation.ip_adapters import find_face_adapter
from apps.catalog.models import CatalogEntry
from apps.core.errors import InvalidField
from apps.generation.choices import Kind, Resize
from apps.generation.picture_fitting import fit_inside
from apps.generation.request import GenerationRequest
from apps.generation.wishes import (
    MAX_IP_SCALE,
    BackgroundWish,
    ExpandWish,
    IpAdapterWish,
    MixWish,
    StoredPicture,
)

CANVAS: Final = (1280, 720)
OUTPAINT_PROMPT: Final = "high quality"
OUTPAINT_NEGATIVE: Final = "low quality"
DEFAULT_OVERLAP_PX: Final = 10
BACKGROUND_SETTINGS: Final = (
    "only_mask",
    "inverse_mask",
    "post_process_mask",
    "alpha_matting",
    "alpha_matting_foreground_threshold",
    "alpha_matting_background_threshold",
    "alpha_matting_erode_size",
)
MIXED_SIDE_PX: Final = 768
MIXED_STEPS: Final = 20
KMAX: Final = 0.5
FACE_STYLES: Final = {
    "comic": "comic book drawing, inked outlines, flat bold colours",
    "chibi": "chibi drawing, large head, small body, round cheerful shapes",
    "3d": "3D render, smooth shading, soft studio light",
    "anime": "anime drawing, clean lines, cel shading",
    "realistic": "realistic photograph, natural skin, soft light",
}
HEAD_SHOT: Final = "professional head and shoulders portrait, plain background"


def remove_background(asked: Asked) -> GenerationRequest:
    """Any: flags and figures."""
    values = asked.values
    wish: dict[str, Any] = {name: values.by_name[name] for name in BACKGROUND_SETTINGS if values.has(name)}
    return GenerationRequest(
        kind=Kind.REMOVE_BACKGROUND,
        seed=values.get("seed", None),
        image=values.find("image", StoredPicture),
        background=BackgroundWish(**wish),
        safety=safety(values),
    )


def outpaint(asked: Asked) -> GenerationRequest:
    """The picture in the middle of the asked canvas; one that is larger is made smaller first."""
    values = asked.values
    canvas = (values.get("width", CANVAS[0]), values.get("height", CANVAS[1]))
    image = values.find("image", StoredPicture)
    assert image is not None
    image = fit_inside(image, canvas, now=asked.now)
    spare = (canvas[0] - image.width, canvas[1] - image.height)
    if not any(spare):
        problem = f"leaves nothing to add: the picture fills {canvas[0]} x {canvas[1]} already"
        raise InvalidField(field="width", problem=problem)
    parts = common(asked, prompt=OUTPAINT_PROMPT)
    # The canvas is what the picture grows to; the request has no size besides.
    parts |= {"width": None, "height": None}
    parts["negative_prompt"] = values.get("negative_prompt", OUTPAINT_NEGATIVE)
    return GenerationRequest(
        kind=Kind.OUTPAINT,
        image=image,
        expand=ExpandWish(
            left=spare[0] // 2,
            right=spare[0] - spare[0] // 2,
            top=spare[1] // 2,
            bottom=spare[1] - spare[1] // 2,
            overlap_px=values.get("overlap_px", DEFAULT_OVERLAP_PX),
        ),
        **parts,
    )


def remove_object(asked: Asked) -> GenerationRequest:
    """What the mask marks, else what `object_name` says. Raises InvalidField without either."""
    mask = asked.values.find("mask", StoredPicture)
    name: str = asked.values.get("object_name", "")
    if mask is None and not name.strip():
        raise InvalidField(field="mask_image", problem="is required, or object_name")
    return GenerationRequest(
        kind=Kind.OBJECT_REMOVAL,
        seed=asked.values.get("seed", None),
        image=asked.values.find("image", StoredPicture),
        mask=mask,
        text=name if mask is None else "",
    )


def create_mask(asked: Asked) -> GenerationRequest:
    """Where in the picture the named thing is."""
    return GenerationRequest(
        kind=Kind.MASK,
        seed=asked.values.get("seed", None),
        image=asked.values.find("image", StoredPicture),
        text=asked.values.get("text", ""),
    )


def caption(asked: Asked) -> GenerationRequest:
    """What the picture shows, in words."""
    return GenerationRequest(
        kind=Kind.CAPTION,
        seed=asked.values.get("seed", None),
        image=asked.values.find("image", StoredPicture),
        text=asked.values.get("length", "normal"),
    )


def check_picture(asked: Asked) -> GenerationRequest:
    """How unsuitable a picture is."""
    return GenerationRequest(
        kind=Kind.NSFW_CHECK,
        seed=asked.values.get("seed", None),
        image=asked.values.find("image", StoredPicture),
    )


def face_gen(asked: Asked) -> GenerationRequest:
    """A new image of the person in `face_image`, in one of a few styles."""
    style = FACE_STYLES[asked.values.get("face_style", "realistic")]
    return _with_face(asked, find_face_adapter(asked), style)


def head_shot(asked: Asked) -> GenerationRequest:
    """A portrait of the person in `face_image`."""
    return _with_face(asked, find_face_adapter(asked), HEAD_SHOT)


def flux_head_shot(asked: Asked) -> GenerationRequest:
    """The same by FLUX."""
    return _with_face(asked, find_face_adapter(asked, family="flux"), HEAD_SHOT)


def _with_face(asked: Asked, adapter: CatalogEntry, style: str) -> GenerationRequest:
    face = asked.values.find("face", StoredPicture)
    assert face is not None
    parts = common(asked)
    parts["prompt"] = f"{parts['prompt']}, {style}"
    scale = min(MAX_IP_SCALE, asked.values.get("face_scale", 1.0))
    parts["ip_adapters"] = (IpAdapterWish(name=adapter.name, pictures=(face,), scale=scale),)
    return GenerationRequest(kind=Kind.TXT2IMG, **parts)


def magic_mix(asked: Asked) -> GenerationRequest:
    """A new thing in the layout of the picture."""
    values, parts = asked.values, common(asked)
    side = min(MIXED_SIDE_PX, asked.checkpoint.max_side_px)
    parts["width"], parts["height"] = values.get("width", side), values.get("height", side)
    parts["steps"] = values.get("steps", MIXED_STEPS)
    usual = MixWish()
    mix = MixWish(share=values.get("mix_share", usual.share), until=values.get("mix_until", usual.until))
    strength = values.get("strength", KMAX)
    if mix.until > strength:
        raise InvalidField(
            field="mix_until", problem=f"must be at most kmax, {strength:g}, not {mix.until:g}"
        )
    return GenerationRequest(
        kind=Kind.IMG2IMG,
        image=values.find("image", StoredPicture),
        strength=strength,
        mix=mix,
        resize=Resize.CROP,
        **parts,
    )


def fashion(asked: Asked) -> GenerationRequest:
    """The person of the first picture in the garment of the second, by a model that edits."""
    garment: str = asked.values.get("garment", "")
    wanted = (
        f"Dress the person of the first picture in the garment of the second picture ({garment}); keep the"
        " person, the pose and the background as they are."
    )
    said: str = asked.values.get("prompt", "")
    parts = common(asked)
    parts["prompt"] = f"{wanted} {said}".strip()
    cloth = asked.values.find("cloth", StoredPicture)
    assert cloth is not None
    return GenerationRequest(
        kind=Kind.EDIT,
        image=asked.values.find("image", StoredPicture),
        references=(cloth,),
        resize=Resize.CROP,
        **parts,
    )
