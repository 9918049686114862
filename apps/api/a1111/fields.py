"""The fields of txt2img and img2img: one table for reading, echoing, refusing, documenting and testing.

FIELDS are read. NEUTRAL ones mean something that this server cannot do, and are refused unless they have a
value that changes nothing, because clients send every field with its default. Others are ignored, as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.api.a1111.errors import BadField
from apps.api.a1111.readers import ANY_NUMBER, Flag, Items, Named, Number, Object, Picture, Whole
from apps.api.a1111.samplers import READ_BY, reads
from apps.api.bodies import JsonObject
from apps.api.readers import USUAL_PROMPT_CHARS, BadValue, JsonSchema, Reader, Text, shown
from apps.generation.request import MAX_GUIDANCE_SCALE, MAX_IMAGES, MAX_STEPS
from apps.generation.sizes import MAX_SIDE_PX, MIN_SIDE_PX
from apps.generation.wishes import MAX_FEATHER_PX, MAX_HIRES_SCALE, MAX_NOISE_PX

TXT2IMG: Final = "txt2img"
IMG2IMG: Final = "img2img"
BOTH: Final = frozenset({TXT2IMG, IMG2IMG})
NAME_CHARS: Final = 300
LARGEST_SEED: Final = 2**63 - 1

PROMPT: Final = Text(max_chars=USUAL_PROMPT_CHARS)
NAME: Final = Text(max_chars=NAME_CHARS)
SIDE: Final = Whole(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX + 7)
"""Of images; what is over a multiple of 8 is cut off, as there."""
LATER_SIDE: Final = Whole(lowest=0, highest=MAX_SIDE_PX + 7)
"""0 is none."""
SEED: Final = Whole(lowest=-LARGEST_SEED, highest=LARGEST_SEED)
SHARE: Final = Number(lowest=0.0, highest=1.0)
FEATHER: Final = Whole(lowest=0, highest=MAX_FEATHER_PX)
FLAG: Final = Flag()

RESIZE_MODES: Final = ("Just resize", "Crop and resize", "Resize and fill", "Just resize (latent upscale)")
FILLS: Final = ("fill", "original", "latent noise", "latent nothing")


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table."""

    name: str
    read: Reader
    default: object
    """What an unset field is echoed as, and means."""
    endpoints: frozenset[str] = BOTH


_TXT: Final = frozenset({TXT2IMG})
_IMG: Final = frozenset({IMG2IMG})

FIELDS: Final = (
    Field("prompt", PROMPT, ""),
    Field("negative_prompt", PROMPT, ""),
    Field("styles", Items(most=100), None),
    Field("seed", SEED, -1),
    Field("subseed", SEED, -1),
    Field("subseed_strength", SHARE, 0),
    Field("seed_resize_from_h", Whole(lowest=-1, highest=MAX_NOISE_PX), -1),
    Field("seed_resize_from_w", Whole(lowest=-1, highest=MAX_NOISE_PX), -1),
    Field("sampler_name", NAME, None),
    Field("sampler_index", NAME, "Euler"),
    Field("scheduler", NAME, None),
    Field("batch_size", Whole(lowest=1, highest=MAX_IMAGES), 1),
    Field("n_iter", Whole(lowest=1, highest=MAX_IMAGES), 1),
    Field("steps", Whole(lowest=1, highest=MAX_STEPS), 50),
    Field("cfg_scale", Number(lowest=0.0, highest=MAX_GUIDANCE_SCALE), 7.0),
    Field("width", SIDE, 512),
    Field("height", SIDE, 512),
    Field("restore_faces", FLAG, None),
    Field("tiling", FLAG, None),
    Field("do_not_save_samples", FLAG, False),
    Field("do_not_save_grid", FLAG, False),
    Field("eta", ANY_NUMBER, None),
    Field("denoising_strength", SHARE, 0.75),
    Field("s_min_uncond", ANY_NUMBER, None),
    Field("s_churn", ANY_NUMBER, None),
    Field("s_tmax", ANY_NUMBER, None),
    Field("s_tmin", ANY_NUMBER, None),
    Field("s_noise", ANY_NUMBER, None),
    Field("override_settings", Object(), None),
    Field("override_settings_restore_afterwards", FLAG, True),
    Field("refiner_checkpoint", NAME, None),
    Field("refiner_switch_at", SHARE, None),
    Field("disable_extra_networks", FLAG, False),
    Field("firstpass_image", Picture(), None),
    Field("comments", Object(), None),
    Field("enable_hr", FLAG, False, _TXT),
    Field("firstphase_width", LATER_SIDE, 0, _TXT),
    Field("firstphase_height", LATER_SIDE, 0, _TXT),
    Field("hr_scale", Number(lowest=0.0, highest=MAX_HIRES_SCALE), 2.0, _TXT),
    Field("hr_upscaler", NAME, None, _TXT),
    Field("hr_second_pass_steps", Whole(lowest=0, highest=MAX_STEPS), 0, _TXT),
    Field("hr_resize_x", LATER_SIDE, 0, _TXT),
    Field("hr_resize_y", LATER_SIDE, 0, _TXT),
    Field("hr_checkpoint_name", NAME, None, _TXT),
    Field("hr_sampler_name", NAME, None, _TXT),
    Field("hr_scheduler", NAME, None, _TXT),
    Field("hr_prompt", PROMPT, "", _TXT),
    Field("hr_negative_prompt", PROMPT, "", _TXT),
    Field("init_images", Items(most=10), None, _IMG),
    Field("resize_mode", Named(RESIZE_MODES), 0, _IMG),
    Field("image_cfg_scale", ANY_NUMBER, None, _IMG),
    Field("mask", Picture(), None, _IMG),
    Field("mask_blur_x", FEATHER, 4, _IMG),
    Field("mask_blur_y", FEATHER, 4, _IMG),
    Field("mask_blur", FEATHER, None, _IMG),
    Field("mask_round", FLAG, True, _IMG),
    Field("inpainting_fill", Named(FILLS), 0, _IMG),
    Field("inpaint_full_res", FLAG, True, _IMG),
    Field("inpaint_full_res_padding", FEATHER, 0, _IMG),
    Field("inpainting_mask_invert", Whole(lowest=0, highest=1), 0, _IMG),
    Field("initial_noise_multiplier", ANY_NUMBER, None, _IMG),
    Field("include_init_images", FLAG, False, _IMG),
    Field("force_task_id", NAME, None),
    Field("script_name", NAME, None),
    Field("script_args", Items(most=200), []),
    Field("send_images", FLAG, True),
    Field("save_images", FLAG, False),
    Field("alwayson_scripts", Object(), {}),
    Field("infotext", Text(max_chars=100_000), None),
)

NOTHING: Final = (None, 0, 1)
"""Of factors of noise: at 0 and 1 they are as if they were not there, or belong to what is not."""

NEUTRAL: Final[Mapping[str, tuple[tuple[object, ...], str]]] = {
    "eta": (NOTHING, "is not supported with this sampler, which runs with its own: leave it out"),
    "s_min_uncond": ((None, 0), "is not supported: every step is guided; leave it out"),
    "s_churn": ((None, 0), "is not supported with this sampler: leave it out"),
    "s_noise": (NOTHING, "is not supported with this sampler: leave it out"),
    "initial_noise_multiplier": (NOTHING, "is not supported: leave it out"),
    "firstpass_image": ((None,), "is not supported: use img2img to begin from a picture"),
    "hr_checkpoint_name": (
        (None, "", "Use same checkpoint"),
        "is not supported: the second pass has the checkpoint of the first",
    ),
}
"""Values that change nothing, and what is said about others."""

IGNORED: Final[Mapping[str, str]] = {
    "s_tmin": "a beginning of the churn that s_churn would begin",
    "s_tmax": "an end of the churn that s_churn would begin",
    "image_cfg_scale": "counts for InstructPix2Pix checkpoints, which interfaces send it without",
    "mask_round": "masks are soft where they are blurred, and hard where they are not",
    "styles": "this server keeps no prompt styles; unknown names are ignored there as well",
    "comments": "what an interface notes for itself",
    "script_args": "there are no scripts to give them to",
    "save_images": "results are kept as long as the server's settings say, asked or not",
    "do_not_save_samples": "see save_images",
    "do_not_save_grid": "there are no grids",
}
"""Read, echoed and without effect: why."""


def fields_of(endpoint: str) -> tuple[Field, ...]:
    """The rows that count at one endpoint."""
    return tuple(field for field in FIELDS if endpoint in field.endpoints)


def read_values(fields: JsonObject, endpoint: str) -> dict[str, Any]:
    """Every field of the endpoint, those that are not set with their defaults. Any: by each field's reader.

    Raises BadField for the first that is wrong, or means what this server cannot do.
    """
    values = {field.name: _read(field, fields.get(field.name)) for field in fields_of(endpoint)}
    for name, (allowed, problem) in NEUTRAL.items():
        value = values.get(name, allowed[0])
        if value not in allowed and _counts(name, values):
            raise BadField(name, problem)
    return values


def _counts(name: str, values: Mapping[str, Any]) -> bool:
    """Fields of the second pass do when there is one; those of samplers with samplers that read them."""
    if name in READ_BY:
        samplers = [values["sampler_name"] or values["sampler_index"]]
        if values.get("enable_hr") and values["hr_sampler_name"]:
            samplers.append(values["hr_sampler_name"])
        return any(reads(sampler, name) for sampler in samplers)
    return not name.startswith("hr_") or values.get("enable_hr") is True


def _read(field: Field, value: object) -> object:
    if value is None:
        return field.default
    try:
        return field.read(value)
    except BadValue as error:
        raise BadField(field.name, str(error)) from None


def describe() -> Mapping[str, JsonSchema]:
    """The table for documentation: endpoint -> JSON Schema of its body."""
    return {endpoint: _body_schema(fields_of(endpoint)) for endpoint in (TXT2IMG, IMG2IMG)}


def _body_schema(fields: tuple[Field, ...]) -> JsonSchema:
    properties: dict[str, JsonSchema] = {}
    for field in fields:
        said = [f"{field.read.allowed}; default: {shown(field.default)}"]
        if field.name in NEUTRAL:
            said.append(f"anything else {NEUTRAL[field.name][1]}")
        if field.name in IGNORED:
            said.append(f"ignored: {IGNORED[field.name]}")
        properties[field.name] = field.read.schema | {"description": "; ".join(said)}
    required = [field.name for field in fields if field.name == "init_images"]
    # Other names are ignored, as there.
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": True,
    }
