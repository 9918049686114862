"""From the fields of a ModelsLab text-to-image request to our generation request. Names stop here.

Three tables say everything: FIELDS are read, REFUSED would change the picture in a way this version cannot
and are refused once they mean something, IGNORED are accepted without effect, each with its reason. Any other
name belongs to some other endpoint and is ignored as well, as the hosted service does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypedDict, TypeVar, cast

from apps.api.bodies import JsonObject
from apps.api.modelslab.readers import (
    BadValue,
    Flag,
    Names,
    Number,
    Numbers,
    Ratio,
    Reader,
    Seed,
    Size,
    Text,
    Track,
    Whole,
    is_unset,
    shown,
)
from apps.api.modelslab.schedulers import Algorithm, NamedScheduler, SchedulerName, choose_sampler
from apps.core.errors import InvalidField
from apps.generation.request import (
    MAX_EMBEDDINGS,
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_LORA_SCALE,
    MAX_LORAS,
    MAX_PROMPT_CHARS,
    MAX_SEED,
    MAX_SIDE_PX,
    MAX_STEPS,
    MIN_SIDE_PX,
    SIDE_MULTIPLE_PX,
    GenerationRequest,
    LoraWish,
)
from gpu_runtime.messages import Sampler, SigmaSchedule

T = TypeVar("T")

MAX_NAME_CHARS = 200
LORA_STRENGTHS = Numbers(number=Number(lowest=-MAX_LORA_SCALE, highest=MAX_LORA_SCALE), max_numbers=MAX_LORAS)
EMBEDDING_NAMES = Names(max_names=MAX_EMBEDDINGS, max_chars=MAX_NAME_CHARS)
SIDE = Whole(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX, multiple_of=SIDE_MULTIPLE_PX)


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table."""

    theirs: str
    ours: str
    """The name in GenerationRequest, or of what `translate` makes of it."""
    read: Reader
    default: str
    """What an unset field means, in words."""
    since: str
    """First version of their API that has it; every version here reads it."""
    alias: str = ""


FIELDS: Final = (
    Field("prompt", "prompt", Text(max_chars=MAX_PROMPT_CHARS), "required", "v6"),
    Field("model_id", "checkpoint", Text(max_chars=MAX_NAME_CHARS), "required", "v6", alias="model"),
    Field("negative_prompt", "negative_prompt", Text(max_chars=MAX_PROMPT_CHARS), "the model's own", "v6"),
    Field("width", "width", SIDE, "as height, else the model's native size", "v6"),
    Field("height", "height", SIDE, "as width, else the model's native size", "v6"),
    Field("aspect_ratio", "aspect_ratio", Ratio(), "1:1; width and height win where given", "v7"),
    Field("size", "size", Size(side=SIDE), "width and height", "v7"),
    Field("samples", "num_images", Whole(lowest=1, highest=MAX_IMAGES), "1", "v6"),
    Field(
        "num_inference_steps",
        "steps",
        Whole(lowest=1, highest=MAX_STEPS),
        "the model's own",
        "v6",
        alias="steps",
    ),
    Field(
        "guidance_scale",
        "guidance_scale",
        Number(lowest=0.0, highest=MAX_GUIDANCE_SCALE),
        "the model's own",
        "v6",
    ),
    Field("seed", "seed", Seed(highest=MAX_SEED), "random", "v6"),
    Field("scheduler", "sampler", SchedulerName(), "the model's own", "v6"),
    Field("use_karras_sigmas", "use_karras_sigmas", Flag(), "yes", "v6"),
    Field("algorithm_type", "algorithm_type", Algorithm(), "none", "v6"),
    Field("base64", "base64", Flag(), "no", "v6"),
    Field("temp", "temp", Flag(), "no", "v6"),
    Field("instant_response", "instant_response", Flag(), "no", "v6"),
    Field("track_id", "track_id", Track(), "none", "v6"),
    Field("lora_model", "lora_names", Names(max_names=MAX_LORAS, max_chars=MAX_NAME_CHARS), "none", "v6"),
    Field("lora_strength", "lora_scales", LORA_STRENGTHS, "1 for each", "v6"),
    Field("embeddings_model", "embeddings", EMBEDDING_NAMES, "none", "v6", alias="embeddings"),
    Field("vae", "vae", Text(max_chars=MAX_NAME_CHARS), "the model's own", "v6"),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that is fine while it means nothing."""

    advice: str
    """What the caller should do, as the end of the message."""
    harmless: frozenset[str] = frozenset()
    """Values, in lower case, that mean what this version does anyway; beside the unset ones and "no"."""


_LEAVE_OUT = "leave it out"
REFUSED: Final = {
    "webhook": Refused("leave it out and poll fetch_result"),
    "webhook_url": Refused("leave it out and poll fetch_result"),
    "controlnet_model": Refused(_LEAVE_OUT),
    "controlnet_type": Refused(_LEAVE_OUT),
    "control_image": Refused(_LEAVE_OUT),
    "init_image": Refused(_LEAVE_OUT),
    "mask_image": Refused(_LEAVE_OUT),
    "ip_adapter_id": Refused(_LEAVE_OUT),
    "ip_adapter_image": Refused(_LEAVE_OUT),
    "enhance_style": Refused("write the style into the prompt"),
    "upscale": Refused("ask for a larger width and height"),
    "highres_fix": Refused("ask for a larger width and height"),
    "panorama": Refused(_LEAVE_OUT),
    "self_attention": Refused(_LEAVE_OUT),
    "multi_lingual": Refused(_LEAVE_OUT),
    "watermark": Refused(_LEAVE_OUT),
    # 1 and 2 are the documented defaults, which clients send without meaning anything by it.
    "clip_skip": Refused(_LEAVE_OUT, harmless=frozenset({"1", "2"})),
}

IGNORED: Final = {
    "key": "the credential, read before anything else",
    "enhance_prompt": "on by default there; prompts are used as written here, and meta says so",
    "safety_checker": "no check runs with this version; nsfw_content_detected is always false",
    "safety_checker_type": "only counts with safety_checker",
    "tomesd": "a speed-up of the hosted service that does not concern the caller",
    "loadbalancer": "work is shared between this appliance's devices anyway",
    "ip_adapter_scale": "only counts with ip_adapter_id",
    "strength": "only counts with init_image",
    "controlnet_conditioning_scale": "only counts with controlnet_model",
    "guess_mode": "only counts with controlnet_model",
    "auto_hint": "only counts with controlnet_model",
    "injected_noise_alpha": "only counts with flux models",
    "sigma_threshold": "only counts with flux models",
    "true_cfg_scale": "only counts with flux models",
    "use_cfg_zero_star": "only counts with flux models",
    "use_zero_init": "only counts with flux models",
    "zero_steps": "only counts with flux models",
}

MEANINGLESS: Final = frozenset({"", "no", "none", "null", "false", "0", "off"})


class ClientOptions(TypedDict):
    """What rendering the result needs to know of the request again; stored with the job."""

    version: str
    base64: bool
    temp: bool
    instant_response: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TextToImage:
    """A translated request."""

    request: GenerationRequest
    options: ClientOptions
    track_id: str | int | None
    names: Mapping[str, str]
    """Our names to the caller's own, for refusals that come later."""


def translate(fields: JsonObject, *, version: str) -> TextToImage:
    """Read every known field. Raises InvalidField with the caller's own name for the first that is wrong."""
    values, names = _read(fields)
    _refuse_meaningful(fields)
    _apply_size(values, names)
    sampler, schedule = _sampler(values)
    try:
        request = GenerationRequest(
            prompt=_get(values, "prompt", ""),
            checkpoint=_get(values, "checkpoint", ""),
            negative_prompt=_get(values, "negative_prompt", None),
            width=_get(values, "width", None),
            height=_get(values, "height", None),
            aspect_ratio=_get(values, "aspect_ratio", None),
            num_images=_get(values, "num_images", 1),
            steps=_get(values, "steps", None),
            guidance_scale=_get(values, "guidance_scale", None),
            seed=_get(values, "seed", None),
            sampler=sampler,
            schedule=schedule,
            loras=_loras(values, names),
            embeddings=_get(values, "embeddings", ()),
            vae=_get(values, "vae", None),
        )
    except InvalidField as error:
        raise renamed(error, names) from None
    return TextToImage(
        request=request,
        options={
            "version": version,
            "base64": _get(values, "base64", False),
            "temp": _get(values, "temp", False),
            "instant_response": _get(values, "instant_response", False),
        },
        track_id=_get(values, "track_id", None),
        names=names,
    )


def renamed(error: InvalidField, names: Mapping[str, str]) -> InvalidField:
    """The refusal with the name the caller used, or else the dialect's."""
    return error.renamed(names.get(error.field) or _THEIRS.get(error.field, error.field))


_THEIRS: Final = {field.ours: field.theirs for field in FIELDS}


def _read(fields: JsonObject) -> tuple[dict[str, object], dict[str, str]]:
    """Values by our names, and the names they came under."""
    values: dict[str, object] = {}
    names: dict[str, str] = {}
    for field in FIELDS:
        name = field.theirs
        if field.alias and is_unset(fields.get(name)):
            name = field.alias
        value = fields.get(name)
        if is_unset(value):
            continue
        try:
            values[field.ours] = field.read(value)
        except BadValue as error:
            raise InvalidField(field=name, problem=str(error)) from None
        names[field.ours] = name
    return values, names


def _refuse_meaningful(fields: JsonObject) -> None:
    for name, refused in REFUSED.items():
        if _means_something(fields.get(name), refused):
            raise InvalidField(
                field=name,
                problem=f"is not offered by this version (seen: {shown(fields[name])}); {refused.advice}",
            )


def _means_something(value: object, refused: Refused) -> bool:
    if not value:
        return False
    if isinstance(value, list | dict):
        return True
    word = str(value).strip().lower()
    return word not in MEANINGLESS and word not in refused.harmless


def _apply_size(values: dict[str, object], names: dict[str, str]) -> None:
    """Spread `size` over width and height. Raises InvalidField when they say something else."""
    if "size" not in values:
        return
    sides = cast(tuple[int, int], values["size"])
    for ours, side in zip(("width", "height"), sides, strict=True):
        if values.setdefault(ours, side) != side:
            raise InvalidField(
                field="size", problem=f"contradicts {ours} {shown(values[ours])}; send one of the two"
            )
        names.setdefault(ours, "size")


def _sampler(values: dict[str, object]) -> tuple[Sampler | None, SigmaSchedule | None]:
    if "sampler" not in values:
        # The switches modify a scheduler; without one they have nothing to modify.
        return None, None
    return choose_sampler(
        cast(NamedScheduler, values["sampler"]),
        asked_karras=_get(values, "use_karras_sigmas", None),
        is_sde=_get(values, "algorithm_type", False),
    )


def _loras(values: dict[str, object], names: dict[str, str]) -> tuple[LoraWish, ...]:
    """Names and strengths by position; one strength counts for all. Raises InvalidField when they differ."""
    wanted: tuple[str, ...] = _get(values, "lora_names", ())
    scales: tuple[float, ...] = _get(values, "lora_scales", ())
    names.setdefault("loras", "lora_model")
    names.setdefault("lora_scale", "lora_strength")
    if not wanted:
        # Clients send a strength with every request, whether or not it names a LoRA.
        return ()
    if len(scales) in (0, 1):
        scales = (scales or (1.0,)) * len(wanted)
    if len(scales) != len(wanted):
        raise InvalidField(
            field="lora_strength",
            problem=f"must be one number, or {len(wanted)} as lora_model has, not {len(scales)}",
        )
    return tuple(LoraWish(name=name, scale=scale) for name, scale in zip(wanted, scales, strict=True))


def _get(values: Mapping[str, object], name: str, default: T) -> T:
    """The value under `name`; its reader has made sure of the type that GenerationRequest states."""
    return cast(T, values.get(name, default))
