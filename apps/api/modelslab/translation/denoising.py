"""What all endpoints that denoise share: prompts, sampling, adapters, and what follows the image."""

from __future__ import annotations

from typing import Final, TypedDict, cast

from apps.api.modelslab.fields.table import Values
from apps.api.modelslab.readers import shown
from apps.api.modelslab.schedulers import NamedScheduler, choose_sampler
from apps.api.modelslab.translation.asked import Asked
from apps.api.modelslab.translation.ip_adapters import find_ip_adapter
from apps.api.modelslab.translation.prompts import prompts_of
from apps.core.errors import InvalidField
from apps.generation.choices import Replacement
from apps.generation.wishes import (
    HiresWish,
    IpAdapterWish,
    LoraWish,
    SafetyWish,
    StoredPicture,
    UpscaleWish,
)
from gpu_runtime.batching.admission import READ_BY_CLIP
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.weights.family_facts import facts_of

DEFAULT_IP_SCALE: Final = 0.6


class Common(TypedDict, total=False):
    """Arguments of GenerationRequest that concern every endpoint here."""

    checkpoint: str
    prompt: str
    negative_prompt: str | None
    width: int | None
    height: int | None
    aspect_ratio: tuple[int, int] | None
    num_images: int
    steps: int | None
    guidance_scale: float | None
    true_guidance_scale: float | None
    seed: int | None
    sampler: Sampler | None
    schedule: SigmaSchedule | None
    clip_skip: int | None
    is_seamless: bool
    loras: tuple[LoraWish, ...]
    embeddings: tuple[str, ...]
    vae: str | None
    ip_adapters: tuple[IpAdapterWish, ...]
    hires: HiresWish | None
    upscale: UpscaleWish | None
    safety: SafetyWish | None


def common(asked: Asked, *, prompt: str = "") -> Common:
    """Everything of an image but the pictures it is made from; `prompt` stands for one that is missing.

    Raises InvalidField.
    """
    values = asked.values
    _apply_size(values)
    sampler, schedule = _sampler(values)
    wanted, avoided = prompts_of(asked, missing=prompt)
    return {
        "checkpoint": asked.model,
        "prompt": wanted,
        "negative_prompt": avoided,
        "width": values.get("width", None),
        "height": values.get("height", None),
        "aspect_ratio": values.get("aspect_ratio", None),
        "num_images": values.get("num_images", 1),
        "steps": values.get("steps", None),
        "guidance_scale": values.get("guidance_scale", None),
        "true_guidance_scale": _true_guidance_scale(asked),
        "seed": values.get("seed", None),
        "sampler": sampler,
        "schedule": schedule,
        "clip_skip": _clip_skip(asked),
        "is_seamless": values.get("is_seamless", False),
        "loras": _loras(values),
        "embeddings": values.get("embeddings", ()),
        "vae": values.get("vae", None),
        "ip_adapters": _ip_adapters(asked),
        "hires": HiresWish() if values.get("highres_fix", False) else None,
        "upscale": upscale(values),
        "safety": safety(values),
    }


def safety(values: Values) -> SafetyWish | None:
    """What the caller says of the image check; the account's rule comes on top."""
    if not values.get("is_checked", False):
        return None
    replacement = values.get("replacement", Replacement.SENSITIVE_CONTENT_TEXT)
    return SafetyWish(is_checked=True, replacement=replacement)


def upscale(values: Values) -> UpscaleWish | None:
    """`upscale: 3` and `upscale: yes`."""
    factor = values.get("upscale_factor", 1)
    return UpscaleWish(factor=factor) if factor > 1 else None


def _apply_size(values: Values) -> None:
    """Spread `size` over width and height. Raises InvalidField when they say something else."""
    if not values.has("size"):
        return
    sides: tuple[int, int] = values.get("size", (0, 0))
    for ours, side in zip(("width", "height"), sides, strict=True):
        if values.by_name.setdefault(ours, side) != side:
            problem = f"contradicts {ours} {shown(values.by_name[ours])}; send one of the two"
            raise InvalidField(field="size", problem=problem)
        values.names.setdefault(ours, "size")


def _sampler(values: Values) -> tuple[Sampler | None, SigmaSchedule | None]:
    if not values.has("sampler"):
        # The switches modify a scheduler; without one they have nothing to modify.
        return None, None
    return choose_sampler(
        cast(NamedScheduler, values.by_name["sampler"]),
        asked_karras=values.get("use_karras_sigmas", None),
        is_sde=values.get("algorithm_type", False),
    )


def _clip_skip(asked: Asked) -> int | None:
    """Theirs counts from 1. Clients send it with every model: it is dropped where nothing reads by CLIP."""
    skipped = max(0, asked.values.get("clip_skip", 1) - 1)
    return skipped if skipped and asked.checkpoint.family in READ_BY_CLIP else None


def _true_guidance_scale(asked: Asked) -> float | None:
    """Only where the model takes `guidance_scale` as an input; to others it means nothing."""
    scale = asked.values.get("true_guidance_scale", 1.0)
    if scale <= 1.0:
        return None
    facts = facts_of(asked.checkpoint.family)
    return scale if facts is not None and not facts.has_unconditional_rows else None


def _loras(values: Values) -> tuple[LoraWish, ...]:
    """Names and strengths by position; one strength counts for all. Raises InvalidField when they differ."""
    wanted: tuple[str, ...] = values.get("lora_names", ())
    scales: tuple[float, ...] = values.get("lora_scales", ())
    if not wanted:
        # Clients send a strength with every request, whether or not it names a LoRA.
        return ()
    pairs = zip(wanted, one_each(scales, wanted, "lora_strength", "lora_model"), strict=True)
    return tuple(LoraWish(name=name, scale=scale) for name, scale in pairs)


def one_each(
    given: tuple[float, ...], wanted: tuple[str, ...], field: str, counted: str
) -> tuple[float, ...]:
    """As many figures as names; none is 1, and one counts for all. Raises InvalidField."""
    if len(given) in (0, 1):
        return (given or (1.0,)) * len(wanted)
    if len(given) != len(wanted):
        problem = f"must be one number, or {len(wanted)} as {counted} has, not {len(given)}"
        raise InvalidField(field=field, problem=problem)
    return given


def _ip_adapters(asked: Asked) -> tuple[IpAdapterWish, ...]:
    values = asked.values
    name: str = values.get("ip_adapter", "")
    if not name:
        # A picture or a scale without an adapter is what clients send by default.
        return ()
    pictures: tuple[StoredPicture, ...] = values.get("ip_adapter_pictures", ())
    if not pictures:
        raise InvalidField(field="ip_adapter_image", problem="is required with ip_adapter_id")
    entry = find_ip_adapter(asked, name)
    scale = values.get("ip_adapter_scale", DEFAULT_IP_SCALE)
    return (IpAdapterWish(name=entry, pictures=pictures, scale=scale),)
