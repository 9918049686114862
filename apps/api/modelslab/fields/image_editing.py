"""Fields of the image editing endpoints, `/api/v6/image_editing/*` and their enterprise twins."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.fields.generation import (
    ANSWER,
    GUIDANCE,
    IMAGE,
    MASK,
    MODEL,
    MORE_IMAGES,
    NAME,
    NEGATIVE_PROMPT,
    PROMPT,
    SAFETY,
    SAMPLES,
    SHARE,
    SIDE,
    SIZES,
    STEPS,
    STRENGTH,
    WORDS,
    optional,
    required,
)
from apps.api.modelslab.fields.table import REQUIRED, Field, Table
from apps.api.modelslab.readers import Flag, Number, Seed, Whole
from apps.api.modelslab.word_readers import OneOf, Picture
from apps.generation.request import MAX_SEED
from apps.generation.sizes import MAX_SIDE_PX, MIN_SIDE_PX
from apps.generation.wishes import MAX_OVERLAP_PX

RANDOM_AT_ZERO: Final = Field("seed", "seed", Seed(highest=MAX_SEED, is_zero_random=True), "random", "v6")
ONE_IMAGE: Final = Field(
    "init_image", "image", Picture(), REQUIRED, "v6", alias="image", other_aliases=("url",)
)
CANVAS_SIDE: Final = Whole(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX)

REMOVE_BACKGROUND: Final[Table] = (
    Field("image", "image", Picture(), REQUIRED, "v6", alias="init_image", other_aliases=("url",)),
    Field("alpha_matting", "alpha_matting", Flag(), "no", "v6"),
    Field("post_process_mask", "post_process_mask", Flag(), "no", "v6"),
    Field("only_mask", "only_mask", Flag(), "no", "v6"),
    Field("inverse_mask", "inverse_mask", Flag(), "no", "v6"),
    Field(
        "alpha_matting_foreground_threshold",
        "alpha_matting_foreground_threshold",
        Whole(lowest=0, highest=255),
        "240",
        "v6",
    ),
    Field(
        "alpha_matting_background_threshold",
        "alpha_matting_background_threshold",
        Whole(lowest=0, highest=255),
        "20",
        "v6",
    ),
    Field("alpha_matting_erode_size", "alpha_matting_erode_size", Whole(lowest=0, highest=100), "5", "v6"),
    RANDOM_AT_ZERO,
    *ANSWER,
)

OUTPAINT: Final[Table] = (
    Field("image", "image", Picture(), REQUIRED, "v6", alias="init_image"),
    optional(PROMPT, "high quality"),
    optional(NEGATIVE_PROMPT, "low quality"),
    optional(MODEL, "the server's inpainting model"),
    Field("width", "width", CANVAS_SIDE, "1280", "v6"),
    Field("height", "height", CANVAS_SIDE, "720", "v6"),
    Field("overlap_width", "overlap_px", Whole(lowest=0, highest=MAX_OVERLAP_PX), "10", "v6"),
    STEPS,
    GUIDANCE,
    RANDOM_AT_ZERO,
    *SAFETY,
    *ANSWER,
)

INPAINT_PLAIN: Final[Table] = (
    PROMPT,
    required(IMAGE),
    MASK,
    optional(MODEL, "the server's inpainting model"),
    NEGATIVE_PROMPT,
    *SIZES,
    SAMPLES,
    STEPS,
    GUIDANCE,
    RANDOM_AT_ZERO,
    STRENGTH,
    *SAFETY,
    *ANSWER,
)
"""Without a model to name."""

OBJECT_REMOVAL: Final[Table] = (
    ONE_IMAGE,
    optional(MASK, "what object_name names"),
    Field("object_name", "object_name", NAME, "what mask_image marks", "v6", alias="specific_object"),
    RANDOM_AT_ZERO,
    *ANSWER,
)
MASK_CREATOR: Final[Table] = (
    ONE_IMAGE,
    Field("specific_object", "text", WORDS, REQUIRED, "v6", alias="object_name", other_aliases=("prompt",)),
    RANDOM_AT_ZERO,
    *ANSWER,
)
LENGTHS: Final = {"short": "short", "normal": "normal", "long": "long"}
CAPTION: Final[Table] = (
    ONE_IMAGE,
    Field("length", "length", OneOf(LENGTHS), "normal", "v6"),
    RANDOM_AT_ZERO,
    *ANSWER,
)

STYLES: Final = {each: each for each in ("comic", "chibi", "3d", "anime", "realistic")}
FACES: Final[Table] = (
    PROMPT,
    Field("face_image", "face", Picture(), REQUIRED, "v6"),
    optional(MODEL, "a model that the IP-adapter fits"),
    NEGATIVE_PROMPT,
    *SIZES,
    STEPS,
    GUIDANCE,
    RANDOM_AT_ZERO,
    SAMPLES,
    Field("s_scale", "face_scale", Number(lowest=0.0, highest=10.0), "1; above 2 counts as 2", "v6"),
    Field("style", "face_style", OneOf(STYLES), "realistic", "v6"),
    *SAFETY,
    *ANSWER,
)
"""face_gen, head_shot and flux_headshot."""

GARMENTS: Final = {
    "upper_body": "upper body",
    "lower_body": "lower body",
    "dresses": "whole body",
    "dress": "whole body",
}
FASHION: Final[Table] = (
    ONE_IMAGE,
    Field("cloth_image", "cloth", Picture(), REQUIRED, "v6"),
    Field("cloth_type", "garment", OneOf(GARMENTS), REQUIRED, "v6"),
    optional(PROMPT, "none"),
    NEGATIVE_PROMPT,
    optional(MODEL, "a model that edits several pictures"),
    *SIZES,
    STEPS,
    GUIDANCE,
    RANDOM_AT_ZERO,
    *ANSWER,
)

EDIT: Final[Table] = (
    PROMPT,
    required(IMAGE),
    *MORE_IMAGES,
    optional(MODEL, "the server's editing model"),
    NEGATIVE_PROMPT,
    *SIZES,
    SAMPLES,
    STEPS,
    GUIDANCE,
    RANDOM_AT_ZERO,
    *SAFETY,
    *ANSWER,
)
"""qwen_edit, img_mixer and flux_kontext_img2img."""

MAGIC_MIX: Final[Table] = (
    PROMPT,
    Field("image", "image", Picture(), REQUIRED, "v6", alias="init_image"),
    optional(MODEL, "the Stable Diffusion model that is used most"),
    NEGATIVE_PROMPT,
    Field("width", "width", SIDE, "768, or the most that the model makes", "v6"),
    Field("height", "height", SIDE, "768, or the most that the model makes", "v6"),
    Field("kmin", "mix_until", SHARE, "0.3: share of the steps that are left to the prompt", "v6"),
    Field("kmax", "strength", SHARE, "0.5: share of the steps that are done", "v6"),
    Field("mix_factor", "mix_share", SHARE, "0.5: of the prompt; the rest is the picture", "v6"),
    optional(STEPS, "20"),
    GUIDANCE,
    SAMPLES,
    RANDOM_AT_ZERO,
    *SAFETY,
    *ANSWER,
)
"""The picture's layout with what the prompt says."""

TABLES: Final = (
    MAGIC_MIX,
    REMOVE_BACKGROUND,
    OUTPAINT,
    INPAINT_PLAIN,
    OBJECT_REMOVAL,
    MASK_CREATOR,
    CAPTION,
    FACES,
    FASHION,
    EDIT,
)
