"""What POST /v1/jobs and /v1/estimate take: one table for reading, refusing, documenting and testing.

Names are those of GenerationRequest as a rule; ranges that depend on a model are checked with the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.native.readers import Choice, Flag, JsonSchema, Number, Picture, Ratio, Text, TrackId, Whole
from apps.api.native.tables import Field, Items, Part, Table, object_schema
from apps.generation.choices import Balance, ControlType, FaceChoice, Fill, Kind, Replacement, Resize
from apps.generation.field_rules import MAX_PROMPT_CHARS
from apps.generation.request import (
    MAX_CLIP_SKIP,
    MAX_CONTROLS,
    MAX_EMBEDDINGS,
    MAX_GUIDANCE_SCALE,
    MAX_IMAGES,
    MAX_IP_ADAPTERS,
    MAX_LORAS,
    MAX_REFERENCES,
    MAX_SEED,
    MAX_STEPS,
)
from apps.generation.sizes import MAX_SIDE_PX, MIN_SIDE_PX, SIDE_MULTIPLE_PX
from apps.generation.wishes import (
    MAX_CONTROL_SCALE,
    MAX_EXPAND_PX,
    MAX_FEATHER_PX,
    MAX_HIRES_SCALE,
    MAX_IP_SCALE,
    MAX_LORA_SCALE,
    MAX_OVERLAP_PX,
    MAX_UPSCALED_PX,
    MEDIA_TYPES,
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    HiresWish,
    IpAdapterWish,
    LoraWish,
    MaskWish,
    OutputWish,
    RefinerWish,
    SafetyWish,
    UpscaleWish,
)
from gpu_runtime.messages import PromptStyle, Sampler, SigmaSchedule, Tier

NAME: Final = Text(max_chars=200)
PROMPT: Final = Text(max_chars=MAX_PROMPT_CHARS)
PICTURE: Final = Picture()
FLAG: Final = Flag()
SHARE: Final = Number(lowest=0.0, highest=1.0)
SIDE: Final = Whole(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX, multiple_of=SIDE_MULTIPLE_PX)
FEATHER: Final = Whole(lowest=0, highest=MAX_FEATHER_PX)
STEPS: Final = Whole(lowest=1, highest=MAX_STEPS)
GROWTH: Final = Whole(lowest=0, highest=MAX_EXPAND_PX)
LEVEL: Final = Whole(lowest=0, highest=255)
MAX_IP_PICTURES: Final = 10

LORA: Final[Table] = (
    Field("name", "name", NAME, "in the catalogue", is_required=True),
    Field(
        "scale",
        "scale",
        Number(lowest=-MAX_LORA_SCALE, highest=MAX_LORA_SCALE),
        "as trained is 1; default: 1",
    ),
)
MASK_OPTIONS: Final[Table] = (
    Field("inverted", "is_inverted", FLAG, "black is made anew instead of white; default: false"),
    Field("blur_px", "blur_px", FEATHER, "radius by which the edge is softened; default: 0"),
    Field("grow_px", "grow_px", FEATHER, "how far the white reaches out; default: 0"),
    Field("from_alpha", "from_alpha", FLAG, "transparent counts as white; default: false"),
    Field("fill", "fill", Choice(Fill), "what lies under the mask; default: original"),
    Field("only_masked", "is_only_masked", FLAG, "work on the mask's surroundings alone; default: false"),
    Field("padding_px", "padding_px", FEATHER, "with only_masked: how much around it is seen; default: 32"),
)
EXPAND: Final[Table] = (
    *(Field(side, side, GROWTH, "pixels; default: 0") for side in ("left", "right", "top", "bottom")),
    Field(
        "overlap_px",
        "overlap_px",
        Whole(lowest=0, highest=MAX_OVERLAP_PX),
        "how far the new reaches into the old; default: 16",
    ),
)
DETECTOR: Final[Table] = (
    Field("type", "type", Choice(ControlType), "kind of map", is_required=True),
    Field(
        "resolution_px",
        "resolution_px",
        Whole(lowest=64, highest=2048),
        "shorter side it works at; default: 512",
    ),
    *(
        Field(name, name, Number(lowest=0.0, highest=1000.0), "the detector's own")
        for name in ("threshold_a", "threshold_b")
    ),
)
CONTROL: Final[Table] = (
    Field("picture", "picture", PICTURE, "to follow, or to make the map of", is_required=True),
    *DETECTOR,
    Field(
        "model",
        "model",
        NAME,
        "ControlNet by name; default: the one of this type and of the model's family",
    ),
    Field("is_hint", "is_hint", FLAG, "the picture is the map itself; default: false"),
    Field("scale", "scale", Number(lowest=0.0, highest=MAX_CONTROL_SCALE), "how much it counts; default: 1"),
    Field("start", "start", SHARE, "share of the steps after which it begins to act; default: 0"),
    Field("end", "end", SHARE, "share of the steps after which it no longer acts; default: 1"),
    Field("balance", "balance", Choice(Balance), "what counts more; default: balanced"),
)
IP_ADAPTER: Final[Table] = (
    Field("name", "name", NAME, "in the catalogue", is_required=True),
    Field(
        "pictures", "pictures", Items(each=PICTURE, most=MAX_IP_PICTURES), "to prompt with", is_required=True
    ),
    Field("scale", "scale", Number(lowest=0.0, highest=MAX_IP_SCALE), "how much they count; default: 0.6"),
)
REFINER: Final[Table] = (
    Field("model", "checkpoint", NAME, "that does the last steps", is_required=True),
    Field("switch_at", "switch_at", SHARE, "share of the steps that the first model does; default: 0.8"),
)
HIRES: Final[Table] = (
    Field("scale", "scale", Number(lowest=1.0, highest=MAX_HIRES_SCALE), "above 1; default: 2"),
    Field("width", "width", SIDE, "instead of scale"),
    Field("height", "height", SIDE, "instead of scale"),
    Field("steps", "steps", STEPS, "of the second pass; default: as many as the first has"),
    Field("strength", "strength", SHARE, "how much of the second pass is new; default: 0.7"),
    Field("upscaler", "upscaler", NAME, "lanczos or latent; default: lanczos"),
)
UPSCALE: Final[Table] = (
    Field("factor", "factor", Whole(lowest=2, highest=8), "2, 3, 4 or 8; default: 4 if no side is given"),
    Field("width", "width", Whole(lowest=1, highest=MAX_UPSCALED_PX), "instead of factor"),
    Field("height", "height", Whole(lowest=1, highest=MAX_UPSCALED_PX), "instead of factor"),
    Field("upscaler", "upscaler", NAME, "in the catalogue, or lanczos; default: realesrgan-x4plus"),
    Field("enhance_faces", "is_face_enhanced", FLAG, "faces as well; default: false"),
)
BACKGROUND: Final[Table] = (
    Field("picture", "picture", PICTURE, "to put behind; default: nothing, which is transparent"),
    Field("colour", "colour", Text(max_chars=7), "#rrggbb to put behind"),
    Field("only_mask", "only_mask", FLAG, "give the mask instead; default: false"),
    Field("inverse_mask", "inverse_mask", FLAG, "remove what stands in front instead; default: false"),
    Field("post_process_mask", "post_process_mask", FLAG, "smooth the mask; default: false"),
    Field("alpha_matting", "alpha_matting", FLAG, "finer edges; default: false"),
    Field(
        "alpha_matting_foreground_threshold",
        "alpha_matting_foreground_threshold",
        LEVEL,
        "surely front; default: 240",
    ),
    Field(
        "alpha_matting_background_threshold",
        "alpha_matting_background_threshold",
        LEVEL,
        "surely behind; default: 20",
    ),
    Field(
        "alpha_matting_erode_size",
        "alpha_matting_erode_size",
        Whole(lowest=0, highest=100),
        "pixels; default: 5",
    ),
)
FACE_SWAP: Final[Table] = (
    Field("source", "source", PICTURE, "whose face it shall be", is_required=True),
    Field("reference", "reference", PICTURE, "which face is replaced; with which: reference"),
    Field("which", "which", Choice(FaceChoice), "faces that are replaced; default: largest"),
)
SAFETY: Final[Table] = (
    Field("check", "is_checked", FLAG, "look for unsuitable content; default: as the account's rule says"),
    Field(
        "replacement", "replacement", Choice(Replacement), "what is shown instead; default: the image itself"
    ),
)
OUTPUT: Final[Table] = (
    Field("media_type", "media_type", Choice(MEDIA_TYPES), "default: image/png"),
    Field("quality", "quality", Whole(lowest=1, highest=100), "of JPEG and WebP; default: 95"),
    Field("marked", "is_marked", FLAG, "the file says that it was made by a model; default: true"),
)

FIELDS: Final[Table] = (
    Field("kind", "kind", Choice(Kind), "what is asked for; default: txt2img"),
    Field("model", "checkpoint", NAME, "name or alias of the model; needed by kinds that denoise"),
    Field("prompt", "prompt", PROMPT, "what to show; needed by kinds that denoise"),
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
    Field("seed", "seed", Whole(lowest=0, highest=MAX_SEED), "default: drawn, and reported"),
    Field("sampler", "sampler", Choice(Sampler), "default: the model's own"),
    Field("schedule", "schedule", Choice(SigmaSchedule), "with a sampler; default: the model's own"),
    Field("clip_skip", "clip_skip", Whole(lowest=0, highest=MAX_CLIP_SKIP), "layers left out; default: 0"),
    Field("prompt_style", "prompt_style", Choice(PromptStyle), "how prompts are read; default: plain"),
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
    Field("face_swap", "face_swap", Part(FaceSwapWish, FACE_SWAP), "faces of image are replaced"),
    Field("detect", "detect", Part(DetectWish, DETECTOR), "the map that a ControlNet would follow"),
    Field("text", "text", PROMPT, "mask: what to find; caption: fast or best"),
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
