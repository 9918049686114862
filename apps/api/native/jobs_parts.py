"""Parts of a job's body: what stands inside `loras`, `controls`, `upscale` and the like, one table each."""

from __future__ import annotations

from typing import Final

from apps.api.native.readers import Picture, Text
from apps.api.native.tables import Field, Items, Table
from apps.api.readers import USUAL_PROMPT_CHARS, Choice, Flag, Number, Whole
from apps.generation.choices import Balance, ControlType, FaceChoice, Fill, Replacement
from apps.generation.request import (
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
    MAX_NOISE_PX,
    MAX_OVERLAP_PX,
    MAX_UPSCALED_PX,
    MEDIA_TYPES,
    MIN_NOISE_PX,
)
from gpu_runtime.messages import Sampler, SigmaSchedule

NAME: Final = Text(max_chars=200)
PROMPT: Final = Text(max_chars=USUAL_PROMPT_CHARS)
PICTURE: Final = Picture()
FLAG: Final = Flag()
SHARE: Final = Number(lowest=0.0, highest=1.0)
SIDE: Final = Whole(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX, multiple_of=SIDE_MULTIPLE_PX)
FEATHER: Final = Whole(lowest=0, highest=MAX_FEATHER_PX)
STEPS: Final = Whole(lowest=1, highest=MAX_STEPS)
GROWTH: Final = Whole(lowest=0, highest=MAX_EXPAND_PX)
LEVEL: Final = Whole(lowest=0, highest=255)
SEED: Final = Whole(lowest=0, highest=MAX_SEED)
NOISE_SIDE: Final = Whole(lowest=MIN_NOISE_PX, highest=MAX_NOISE_PX)
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
    Field("upscaler", "upscaler", NAME, "by name, or nearest, lanczos or latent; default: lanczos"),
    Field("prompt", "prompt", PROMPT, "of the second pass; default: that of the first"),
    Field("negative_prompt", "negative_prompt", PROMPT, "of the second pass; default: that of the first"),
    Field("sampler", "sampler", Choice(Sampler), "of the second pass; default: that of the first"),
    Field("schedule", "schedule", Choice(SigmaSchedule), "with a sampler of the second pass"),
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
FACE: Final[Table] = (
    Field("model", "model", NAME, "by name, or gfpgan, codeformer or restoreformer; default: any installed"),
    Field("visibility", "visibility", SHARE, "how much of the restored face is seen; default: 1"),
    Field("weight", "weight", SHARE, "codeformer: 0 restores the most, 1 the least; default: 0.5"),
    Field("after_upscale", "is_after_upscale", FLAG, "in the enlarged image; default: false"),
)
MIX: Final[Table] = (
    Field("share", "share", SHARE, "of the prompt in each mixture, the rest is the image; default: 0.5"),
    Field("until", "until", SHARE, "share of the steps left to the prompt, at most strength; default: 0.3"),
)
VARIATION: Final[Table] = (
    Field("seed", "seed", SEED, "the second seed; default: drawn, and reported"),
    Field("strength", "strength", SHARE, "0 is the noise of the first seed, 1 of the second; default: 0"),
    Field("from_width", "from_width", NOISE_SIDE, "begin with the noise of an image of this size"),
    Field("from_height", "from_height", NOISE_SIDE, "beside from_width"),
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
