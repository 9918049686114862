"""What POST /v1/jobs and /v1/estimate take: one table for reading, refusing, documenting and testing.

Names are those of GenerationRequest as a rule; ranges that depend on a model are checked with the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.native.jobs_parts import (
    BACKGROUND,
    CONTROL,
    DETECTOR,
    EXPAND,
    FACE,
    FACE_SWAP,
    FLAG,
    HIRES,
    IP_ADAPTER,
    LORA,
    MASK_OPTIONS,
    MIX,
    NAME,
    OUTPUT,
    PICTURE,
    PROMPT,
    REFINER,
    SAFETY,
    SEED,
    SHARE,
    SIDE,
    STEPS,
    UPSCALE,
    VARIATION,
)
from apps.api.native.readers import Ratio, Text, TrackId
from apps.api.native.tables import Field, Items, Part, Table, object_schema
from apps.api.readers import Choice, JsonSchema, Number, Whole
from apps.generation.choices import Kind, Resize
from apps.generation.request import (
    MAX_CLIP_SKIP,
    MAX_CONTROLS,
    MAX_EMBEDDINGS,
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_IP_ADAPTERS,
    MAX_LORAS,
    MAX_REFERENCES,
)
from apps.generation.wishes import (
    MAX_FACE_WISHES,
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    FaceWish,
    HiresWish,
    IpAdapterWish,
    LoraWish,
    MaskWish,
    MixWish,
    OutputWish,
    RefinerWish,
    SafetyWish,
    UpscaleWish,
    VariationWish,
)
from gpu_runtime.messages import PromptStyle, Sampler, SigmaSchedule, Tier

FIELDS: Final[Table] = (
    Field("kind", "kind", Choice(Kind), "what is asked for; default: txt2img"),
    Field("model", "checkpoint", NAME, "name or alias of the model; needed by kinds that denoise"),
    Field(
        "prompt", "prompt", PROMPT, "what to show; needed by kinds that denoise; nsfw_check: what is judged"
    ),
    Field("negative_prompt", "negative_prompt", PROMPT, "what not to show; default: the model's own"),
    Field("width", "width", SIDE, "pixels; default: the picture's, else the model's own"),
    Field("height", "height", SIDE, "pixels; default: the picture's, else the model's own"),
    Field("aspect_ratio", "aspect_ratio", Ratio(), "decides the sides that are not given"),
    Field(
        "num_images", "num_images", Whole(lowest=1, highest=MAX_IMAGES), "image i uses seed + i; default: 1"
    ),
    Field("steps", "steps", STEPS, "default: the model's own"),
    Field(
        "guidance_scale",
        "guidance_scale",
        Number(lowest=0.0, highest=MAX_GUIDANCE_SCALE),
        "default: the model's own",
    ),
    Field(
        "true_guidance_scale",
        "true_guidance_scale",
        Number(lowest=1.0, highest=MAX_GUIDANCE_SCALE),
        "by the negative prompt, for models that take guidance_scale as an input; default: none",
    ),
    Field("seed", "seed", SEED, "default: drawn, and reported"),
    Field("variation", "variation", Part(VariationWish, VARIATION), "noise between two seeds; default: none"),
    Field("sampler", "sampler", Choice(Sampler), "default: the model's own"),
    Field("schedule", "schedule", Choice(SigmaSchedule), "with a sampler; default: the model's own"),
    Field("clip_skip", "clip_skip", Whole(lowest=0, highest=MAX_CLIP_SKIP), "layers left out; default: 0"),
    Field("prompt_style", "prompt_style", Choice(PromptStyle), "how prompts are read; default: plain"),
    Field("seamless", "is_seamless", FLAG, "copies side by side show no seam; default: false"),
    Field("tier", "tier", Choice(Tier), "what is given up for speed or paid for sameness; default: standard"),
    Field("previews", "wants_previews", FLAG, "events show what it looks like so far; default: false"),
    Field("loras", "loras", Items(each=Part(LoraWish, LORA), most=MAX_LORAS), "default: none"),
    Field(
        "embeddings", "embeddings", Items(each=NAME, most=MAX_EMBEDDINGS), "textual inversions; default: none"
    ),
    Field("vae", "vae", NAME, "an autoencoder in place of the model's own"),
    Field("image", "image", PICTURE, "to begin from, to change, to enlarge, to look at"),
    Field("mask", "mask", PICTURE, "white is made anew"),
    Field("mask_options", "mask_options", Part(MaskWish, MASK_OPTIONS), "how the mask is read"),
    Field("references", "references", Items(each=PICTURE, most=MAX_REFERENCES), "pictures to edit from"),
    Field("strength", "strength", SHARE, "how much of the image is redone"),
    Field("mix", "mix", Part(MixWish, MIX), "keep the image's layout, change what it shows; default: no"),
    Field("resize", "resize", Choice(Resize), "how pictures take the asked size; default: stretch"),
    Field("expand", "expand", Part(ExpandWish, EXPAND), "outpaint: by how much it grows"),
    Field("controls", "controls", Items(each=Part(ControlWish, CONTROL), most=MAX_CONTROLS), "default: none"),
    Field(
        "ip_adapters",
        "ip_adapters",
        Items(each=Part(IpAdapterWish, IP_ADAPTER), most=MAX_IP_ADAPTERS),
        "default: none",
    ),
    Field("refiner", "refiner", Part(RefinerWish, REFINER), "a second model; default: none"),
    Field("hires", "hires", Part(HiresWish, HIRES), "a second pass at a larger size; default: none"),
    Field(
        "upscale",
        "upscale",
        Part(UpscaleWish, UPSCALE),
        "of a picture, or after any generation; default: none",
    ),
    Field(
        "background",
        "background",
        Part(BackgroundWish, BACKGROUND),
        "cut out what stands in front; default: no",
    ),
    Field(
        "faces",
        "faces",
        Items(each=Part(FaceWish, FACE), most=MAX_FACE_WISHES),
        "faces made clear afterwards; default: none",
    ),
    Field("face_swap", "face_swap", Part(FaceSwapWish, FACE_SWAP), "faces of image are replaced"),
    Field("detect", "detect", Part(DetectWish, DETECTOR), "the map that a ControlNet would follow"),
    Field("text", "text", PROMPT, "mask, object_removal: what to find; caption: short, normal or long"),
    Field("safety", "safety", Part(SafetyWish, SAFETY), "default: the account's rule"),
    Field("output", "output", Part(OutputWish, OUTPUT), "the file that comes out"),
)
"""Everything that decides what is made, and what it costs."""

JOB_FIELDS: Final[Table] = (
    *FIELDS,
    Field("track_id", "track_id", TrackId(), "a mark of your own, to find the job by"),
    Field("webhook", "webhook", Text(max_chars=2048), "address that is told when the job has ended"),
)

UPLOAD_FIELDS: Final[Table] = (Field("image", "image", PICTURE, "the picture to keep", is_required=True),)

EXAMPLES: Final[Mapping[str, JsonSchema]] = {
    "text to image": {"model": "starter", "prompt": "a red fox", "num_images": 1, "seed": 7},
    "image to image": {
        "kind": "img2img",
        "model": "starter",
        "prompt": "a red fox",
        "image": "https://example.com/fox.png",
        "strength": 0.6,
    },
    "upscale": {"kind": "upscale", "image": "https://example.com/fox.png", "upscale": {"factor": 2}},
}
"""Bodies that mean something, for documentation."""


def describe() -> Mapping[str, JsonSchema]:
    """The tables for documentation: endpoint -> JSON Schema of its body."""
    return {
        "jobs": object_schema(JOB_FIELDS),
        "estimate": object_schema(JOB_FIELDS),
        "uploads": object_schema(UPLOAD_FIELDS),
    }
