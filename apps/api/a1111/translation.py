"""From what a request of this dialect says to our generation request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from apps.accounts.models import Account
from apps.api.a1111.asked import Asked
from apps.api.a1111.batches import batch_of
from apps.api.a1111.errors import PICTURE_MISSING, BadField, Refusal, bad_picture
from apps.api.a1111.faces import restored_faces
from apps.api.a1111.options import output_of
from apps.api.a1111.prompts import EMPTY, named_embeddings, require_readable
from apps.api.a1111.samplers import choose_sampler
from apps.api.a1111.second_passes import hires_wish, later_prompts, refiner_wish
from apps.api.a1111.units import control_wishes
from apps.core.errors import InvalidField
from apps.generation.choices import Fill, Kind, Resize
from apps.generation.picture_headers import BadPicture
from apps.generation.pictures import Brought, read_source, take_pictures
from apps.generation.request import MAX_IMAGES, MAX_SEED, GenerationRequest
from apps.generation.sizes import SIDE_MULTIPLE_PX
from apps.generation.wishes import MaskWish, StoredPicture, VariationWish
from gpu_runtime.batching.admission import READ_BY_CLIP
from gpu_runtime.messages import PromptStyle

RESIZES: Final = (Resize.STRETCH, Resize.CROP, Resize.PAD, Resize.STRETCH)
"""By number; the last stretches latents there, pixels here."""
FILLS: Final = (Fill.BLUR, Fill.ORIGINAL, Fill.NOISE, Fill.GREY)
NOT_FOUND: Final = "Init image not found"

THEIRS: Final[Mapping[str, str]] = {
    "num_images": "batch_size",
    "guidance_scale": "cfg_scale",
    "strength": "denoising_strength",
    "hires": "enable_hr",
    "hires_scale": "hr_scale",
    "hires_width": "hr_resize_x",
    "hires_height": "hr_resize_y",
    "hires_steps": "hr_second_pass_steps",
    "hires_strength": "denoising_strength",
    "hires_upscaler": "hr_upscaler",
    "hires_prompt": "hr_prompt",
    "hires_negative_prompt": "hr_negative_prompt",
    "refiner": "refiner_checkpoint",
    "checkpoint": "override_settings.sd_model_checkpoint",
    "vae": "override_settings.sd_vae",
    "clip_skip": "override_settings.CLIP_stop_at_last_layers",
    "loras": "prompt",
    "lora_scale": "prompt",
    "embeddings": "prompt",
    "faces": "restore_faces",
    "face_model": "override_settings.face_restoration_model",
    "is_seamless": "tiling",
    "variation": "subseed_strength",
    "variation_seed": "subseed",
    "variation_strength": "subseed_strength",
    "variation_from_width": "seed_resize_from_w",
    "variation_from_height": "seed_resize_from_h",
    "mask_blur_px": "mask_blur",
    "mask_padding_px": "inpaint_full_res_padding",
    "image": "init_images",
    "controls": "alwayson_scripts.ControlNet",
    "control_scale": "alwayson_scripts.ControlNet",
    "control_start": "alwayson_scripts.ControlNet",
    "control_end": "alwayson_scripts.ControlNet",
    "resolution": "alwayson_scripts.ControlNet",
    "sampler": "sampler_name",
    "schedule": "scheduler",
}
"""Our names to theirs, for refusals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The pictures of a request, stored."""

    images: Sequence[StoredPicture] = ()
    """What img2img begins from, one or several."""
    mask: StoredPicture | None = None
    controls: Sequence[StoredPicture] = ()
    """One for each unit."""

    @property
    def image(self) -> StoredPicture | None:
        """The first to begin from, at which units without a picture look."""
        return self.images[0] if self.images else None


def renamed(error: InvalidField) -> InvalidField:
    """The refusal with the dialect's name for the field."""
    return error.renamed(THEIRS.get(error.field, error.field))


def store_pictures(named: Sequence[tuple[str, str]], *, now: datetime) -> list[StoredPicture]:
    """Pictures as they were sent, under the names of their fields. Raises Refusal, as there a 500."""
    brought = []
    for field, text in named:
        try:
            brought.append(Brought(field, read_source(text)))
        except BadPicture as error:
            raise bad_picture(f"{field} {error}") from None
    try:
        return take_pictures(brought, now=now) if brought else []
    except InvalidField as error:
        raise bad_picture(str(error)) from None


def take_asked(asked: Asked, *, now: datetime) -> Taken:
    """Store its pictures. Raises Refusal for one that is missing or cannot be used."""
    begun_from = _init_images(asked) if asked.is_from_picture else []
    named = list(begun_from)
    if asked.get("mask"):
        named.append(("mask", asked.get("mask")))
    own = [(f"{unit.place}.image", unit.image) for unit in asked.units if unit.image]
    stored = store_pictures(named + own, now=now)
    images = stored[: len(begun_from)]
    of_units = iter(stored[len(named) :])
    first = images[0] if images else None
    return Taken(
        images=images,
        mask=stored[len(begun_from)] if asked.get("mask") else None,
        controls=[next(of_units) if unit.image else _shared(first, unit.place) for unit in asked.units],
    )


def _init_images(asked: Asked) -> list[tuple[str, str]]:
    """Under the names that refusals have for them."""
    images = asked.get("init_images") or []
    if not images or not all(images):
        raise Refusal(HTTPStatus.NOT_FOUND, NOT_FOUND, code=PICTURE_MISSING)
    for number, image in enumerate(images):
        if not isinstance(image, str):
            raise BadField(f"init_images.{number}", "must be a picture as base64")
    if len(images) == 1:
        return [("init_images", images[0])]
    return [(f"init_images.{number}", image) for number, image in enumerate(images)]


def _shared(image: StoredPicture | None, place: str) -> StoredPicture:
    """A unit without a picture looks at the one that img2img begins from."""
    if image is None:
        raise BadField(f"{place}.image", "is required")
    return image


def translate(asked: Asked, taken: Taken, *, account: Account) -> list[GenerationRequest]:
    """The request as services take it, in the order of its images: one, or one for each image of a batch.

    Raises InvalidField with the caller's names, BadField and Refusal.
    """
    try:
        request = _translate(asked, taken, account)
        return (
            [request] if len(taken.images) < 2 else batch_of(request, taken.images, turns=asked.get("n_iter"))
        )
    except InvalidField as error:
        raise renamed(error) from None


def _translate(asked: Asked, taken: Taken, account: Account) -> GenerationRequest:
    prompt, negative_prompt = asked.networks.prompt, asked.networks.negative_prompt
    sampler, schedule = choose_sampler(
        asked.get("sampler_name") or asked.get("sampler_index"), asked.get("scheduler") or ""
    )
    width, height = asked.first_size
    checkpoint = asked.checkpoint
    skipped = int(asked.options["CLIP_stop_at_last_layers"]) - 1
    hires = hires_wish(asked, account)
    texts = "\n".join([prompt, negative_prompt, *later_prompts(hires)])
    for field, text in (("prompt", prompt), ("negative_prompt", negative_prompt)):
        require_readable(field, text, checkpoint)
    return GenerationRequest(
        checkpoint=checkpoint.name,
        # Blanks and the commas between tags are no prompt.
        prompt=prompt if prompt.strip(" ,\n\t") else EMPTY,
        negative_prompt=negative_prompt,
        width=floored(width),
        height=floored(height),
        num_images=_num_images(asked) if len(taken.images) < 2 else 1,
        steps=asked.get("steps"),
        guidance_scale=asked.get("cfg_scale"),
        seed=_seed(asked.get("seed")),
        variation=_variation(asked),
        is_seamless=bool(asked.get("tiling")),
        sampler=sampler,
        schedule=schedule,
        clip_skip=skipped if skipped and checkpoint.family in READ_BY_CLIP else None,
        prompt_style=PromptStyle.WEIGHTED,
        wants_previews=bool(asked.options["live_previews_enable"]),
        loras=asked.networks.loras,
        embeddings=named_embeddings(texts, account=account, checkpoint=checkpoint),
        vae=asked.vae,
        controls=control_wishes(asked.units, taken.controls, account=account, short_side=min(width, height)),
        refiner=refiner_wish(asked),
        hires=hires,
        faces=restored_faces(asked),
        output=output_of(asked.options),
        **_with_pictures(asked, taken),
    )


def floored(side: int) -> int:
    """To whole latent pixels, as there."""
    return side - side % SIDE_MULTIPLE_PX


def _num_images(asked: Asked) -> int:
    count = int(asked.get("n_iter") * asked.get("batch_size"))
    if count > MAX_IMAGES:
        problem = f"times n_iter must be at most {MAX_IMAGES}, not {count}: send several requests"
        raise BadField("batch_size", problem)
    return count


def _seed(seed: int) -> int | None:
    """Below 0 is any. Larger ones are those of torch's generators there, of 32 bits here."""
    return None if seed < 0 else seed % (MAX_SEED + 1)


def _variation(asked: Asked) -> VariationWish | None:
    """A second seed with a share in the noise, and the size that the noise is of, where it has both sides."""
    strength = asked.get("subseed_strength")
    sides = asked.get("seed_resize_from_w"), asked.get("seed_resize_from_h")
    is_resized = all(side > 0 for side in sides)
    if not strength and not is_resized:
        return None
    width, height = sides if is_resized else (None, None)
    return VariationWish(
        seed=_seed(asked.get("subseed")), strength=strength, from_width=width, from_height=height
    )


def _with_pictures(asked: Asked, taken: Taken) -> dict[str, Any]:
    """Kind and pictures of the request. Any: fields of several types."""
    if taken.image is None:
        resize = RESIZES[asked.units[0].values["resize_mode"]] if asked.units else None
        return {"kind": Kind.TXT2IMG, "resize": resize}
    common: dict[str, Any] = {
        "kind": Kind.IMG2IMG,
        "image": taken.image,
        "resize": RESIZES[asked.get("resize_mode")],
        "strength": asked.get("denoising_strength"),
    }
    if taken.mask is None:
        return common
    return common | {"kind": Kind.INPAINT, "mask": taken.mask, "mask_options": _mask_wish(asked)}


def _mask_wish(asked: Asked) -> MaskWish:
    blur = asked.get("mask_blur")
    sides = {asked.get("mask_blur_x"), asked.get("mask_blur_y")} if blur is None else {blur}
    if len(sides) > 1:
        raise BadField(
            "mask_blur_y", "must be equal to mask_blur_x: masks are softened alike in both directions"
        )
    return MaskWish(
        is_inverted=asked.get("inpainting_mask_invert") == 1,
        blur_px=sides.pop(),
        fill=FILLS[asked.get("inpainting_fill")],
        is_only_masked=asked.get("inpaint_full_res"),
        padding_px=asked.get("inpaint_full_res_padding"),
    )
