"""Fields of text to image, image to image and inpainting, under v3 to v7 and enterprise.

What would change the picture in a way this version cannot is in REFUSED, with what to do instead; what is
accepted without effect is in IGNORED, with the reason. Any other name belongs to some other endpoint and is
ignored as well, as the hosted service does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.modelslab.fields.table import REQUIRED, Field, Refused, Table
from apps.api.modelslab.readers import Flag, Names, Number, Numbers, Ratio, Seed, Size, Text, Track, Whole
from apps.api.modelslab.schedulers import Algorithm, SchedulerName
from apps.api.modelslab.word_readers import Enlargement, OneOf, Picture, Pictures
from apps.api.readers import USUAL_PROMPT_CHARS
from apps.generation.choices import Replacement
from apps.generation.request import (
    MAX_CLIP_SKIP,
    MAX_EMBEDDINGS,
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_LORAS,
    MAX_SEED,
    MAX_STEPS,
)
from apps.generation.sizes import MAX_SIDE_PX, MIN_SIDE_PX, SIDE_MULTIPLE_PX
from apps.generation.wishes import MAX_IP_SCALE, MAX_LORA_SCALE

MAX_NAME_CHARS: Final = 200
MAX_URL_CHARS: Final = 2048
MAX_PICTURES: Final = 10
LORA_STRENGTHS: Final = Numbers(
    number=Number(lowest=-MAX_LORA_SCALE, highest=MAX_LORA_SCALE), max_numbers=MAX_LORAS
)
EMBEDDING_NAMES: Final = Names(max_names=MAX_EMBEDDINGS, max_chars=MAX_NAME_CHARS)
SIDE: Final = Whole(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX, multiple_of=SIDE_MULTIPLE_PX)
NAME: Final = Text(max_chars=MAX_NAME_CHARS)
WORDS: Final = Text(max_chars=USUAL_PROMPT_CHARS)
SHARE: Final = Number(lowest=0.0, highest=1.0)
REPLACEMENTS: Final = {each.value: each for each in Replacement if each is not Replacement.NONE}

NEUTRAL_PROMPT: Final = "high quality"
"""What stands for a prompt where the contract lets callers leave it out."""

PROMPT: Final = Field("prompt", "prompt", WORDS, REQUIRED, "v6")
NEGATIVE_PROMPT: Final = Field("negative_prompt", "negative_prompt", WORDS, "the model's own", "v6")
MODEL: Final = Field("model_id", "checkpoint", NAME, REQUIRED, "v6", alias="model")
SAMPLES: Final = Field("samples", "num_images", Whole(lowest=1, highest=MAX_IMAGES), "1", "v6")
STEPS: Final = Field(
    "num_inference_steps",
    "steps",
    Whole(lowest=1, highest=MAX_STEPS),
    "the model's own",
    "v6",
    alias="steps",
)
GUIDANCE: Final = Field(
    "guidance_scale",
    "guidance_scale",
    Number(lowest=0.0, highest=MAX_GUIDANCE_SCALE),
    "the model's own",
    "v6",
    alias="guidance",
)
SEED: Final = Field("seed", "seed", Seed(highest=MAX_SEED), "random", "v6")

SIZES: Final[Table] = (
    Field("width", "width", SIDE, "as height, else the picture's or the model's native size", "v6"),
    Field("height", "height", SIDE, "as width, else the picture's or the model's native size", "v6"),
    Field("aspect_ratio", "aspect_ratio", Ratio(), "1:1; width and height win where given", "v7"),
    Field("size", "size", Size(side=SIDE), "width and height", "v7"),
)
ANSWER: Final[Table] = (
    Field("base64", "base64", Flag(), "no", "v6"),
    Field("temp", "temp", Flag(), "no", "v6"),
    Field("instant_response", "instant_response", Flag(), "no", "v6"),
    Field("webhook", "webhook", Text(max_chars=MAX_URL_CHARS), "none", "v6", alias="webhook_url"),
    Field("track_id", "track_id", Track(), "none", "v6"),
)
"""How the result is told."""
SAFETY: Final[Table] = (
    Field("safety_checker", "is_checked", Flag(), "as the account's rule says", "v6"),
    Field("safety_checker_type", "replacement", OneOf(REPLACEMENTS), "sensitive_content_text", "v6"),
)
SAMPLING: Final[Table] = (
    STEPS,
    GUIDANCE,
    SEED,
    Field("scheduler", "sampler", SchedulerName(), "the model's own", "v6"),
    Field("use_karras_sigmas", "use_karras_sigmas", Flag(), "yes", "v6"),
    Field("algorithm_type", "algorithm_type", Algorithm(), "none", "v6"),
    Field("clip_skip", "clip_skip", Whole(lowest=0, highest=MAX_CLIP_SKIP + 1), "1, which skips none", "v6"),
    Field("true_cfg_scale", "true_guidance_scale", Number(lowest=0.0, highest=10.0), "1", "v6"),
)
ADAPTERS: Final[Table] = (
    Field("lora_model", "lora_names", Names(max_names=MAX_LORAS, max_chars=MAX_NAME_CHARS), "none", "v6"),
    Field("lora_strength", "lora_scales", LORA_STRENGTHS, "1 for each", "v6"),
    Field("embeddings_model", "embeddings", EMBEDDING_NAMES, "none", "v6", alias="embeddings"),
    Field("vae", "vae", NAME, "the model's own", "v6"),
    Field("ip_adapter_id", "ip_adapter", NAME, "none", "v6"),
    Field(
        "ip_adapter_image",
        "ip_adapter_pictures",
        Pictures(most=MAX_PICTURES),
        "required with ip_adapter_id",
        "v6",
    ),
    Field("ip_adapter_scale", "ip_adapter_scale", Number(lowest=0.0, highest=MAX_IP_SCALE), "0.6", "v6"),
)
FINISH: Final[Table] = (
    Field("enhance_prompt", "is_enhanced", Flag(), "no: prompts are used as written", "v6"),
    Field("enhance_style", "style", NAME, "none; an unknown style counts as none", "v6"),
    Field("multi_lingual", "is_multi_lingual", Flag(), "no", "v6"),
    Field("panorama", "is_seamless", Flag(), "no; yes makes edges that fit together", "v6"),
    Field("highres_fix", "highres_fix", Flag(), "no; yes adds a second pass at twice the size", "v6"),
    Field("upscale", "upscale_factor", Enlargement(), "no", "v6"),
)
IMAGE: Final = Field(
    "init_image",
    "images",
    Pictures(most=MAX_PICTURES),
    "none",
    "v6",
    alias="init_image_1",
    other_aliases=("image",),
)
"""Several are for models that edit."""
MORE_IMAGES: Final[Table] = tuple(
    Field(f"init_image_{number}", f"image_{number}", Picture(), "none", "v6") for number in (2, 3, 4)
)
STRENGTH: Final = Field("strength", "strength", SHARE, "0.7; 1 where there is a mask", "v6")
FLUX_2_DEV: Final = "flux_2_dev"
DEPLOYMENT: Final = Field(
    "deploy_type",
    "deployment",
    OneOf({name: name for name in ("flux", FLUX_2_DEV)}),
    "flux, which is FLUX.1; a model_id counts more",
    "enterprise",
)
"""Of the server for FLUX: which of its models a request without `model_id` means."""
MASK: Final = Field("mask_image", "mask", Picture(), REQUIRED, "v6")

_DENOISING: Final[Table] = (
    NEGATIVE_PROMPT,
    *SIZES,
    SAMPLES,
    *SAMPLING,
    *ADAPTERS,
    *FINISH,
    *SAFETY,
    *ANSWER,
)
_FROM_PICTURE: Final[Table] = (IMAGE, *MORE_IMAGES, STRENGTH)


def required(field: Field) -> Field:
    """The same row where it must be set."""
    return optional(field, REQUIRED)


def optional(field: Field, default: str) -> Field:
    """The same row with another meaning of leaving it out."""
    return Field(field.theirs, field.ours, field.read, default, field.since, field.alias, field.other_aliases)


TEXT_TO_IMAGE: Final[Table] = (PROMPT, MODEL, *_DENOISING, *_FROM_PICTURE)
IMAGE_TO_IMAGE: Final[Table] = (
    optional(PROMPT, NEUTRAL_PROMPT),
    MODEL,
    required(IMAGE),
    *_DENOISING,
    *MORE_IMAGES,
    STRENGTH,
)
INPAINT: Final[Table] = (
    optional(PROMPT, NEUTRAL_PROMPT),
    MODEL,
    required(IMAGE),
    MASK,
    *_DENOISING,
    STRENGTH,
)

_CONTROLS: Final[Mapping[str, Refused]] = {
    name: Refused("send the request to controlnet")
    for name in ("controlnet_model", "controlnet_type", "control_image")
}
_MASKS: Final[Mapping[str, Refused]] = {"mask_image": Refused("send the request to inpaint")}

REFUSED: Final[Mapping[str, Refused]] = {**_CONTROLS, **_MASKS}
"""Of text to image and image to image."""
REFUSED_WITH_MASK: Final = _CONTROLS
NOTHING_REFUSED: Final[Mapping[str, Refused]] = {}
"""Of endpoints that read all of it, or know nothing of it."""

IGNORED: Final[Mapping[str, str]] = {
    "key": "the credential, read before anything else",
    "self_attention": "a slower way to sharper images, which no sampler here has; meta says no",
    "tomesd": "a speed-up of the hosted service that does not concern the caller",
    "loadbalancer": "work is shared between this appliance's devices anyway",
    "watermark": "nothing visible is ever drawn on a picture; its file says that a model made it",
    "watermark_image": "as watermark",
    "deploy_type": "one server does everything; enterprise flux alone reads which model it means",
    "controlnet_conditioning_scale": "only counts with controlnet_model",
    "guess_mode": "only counts with controlnet_model",
    "auto_hint": "only counts with controlnet_model",
    "init_image_weights": "models that edit several pictures weigh them as the prompt says",
    "injected_noise_alpha": "a parameter of the hosted service's sampler, which ours has no place for",
    "sigma_threshold": "as injected_noise_alpha",
    "use_cfg_zero_star": "as injected_noise_alpha",
    "use_zero_init": "as injected_noise_alpha",
    "zero_steps": "as injected_noise_alpha",
}
