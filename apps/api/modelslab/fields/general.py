"""Fields of what is no generation: checks, uploads, lists of what was made, the server's own state."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.fields.generation import ANSWER, SEED, SHARE, WORDS
from apps.api.modelslab.fields.table import REQUIRED, Field, Table
from apps.api.modelslab.readers import Flag, Whole
from apps.api.modelslab.word_readers import OneOf, Picture

IMAGE_TYPE: Final = "image"
ASSETS: Final = {each: each for each in (IMAGE_TYPE, "video", "voice", "audio", "3d")}
FORMATS: Final = {each: each for each in ("png", "jpeg", "jpg")}
MAX_PER_PAGE: Final = 30
MAX_ID: Final = 2**63 - 1

NSFW_CHECK: Final[Table] = (
    Field("init_image", "image", Picture(), REQUIRED, "v3", alias="image", other_aliases=("url",)),
    Field("threshold", "threshold", SHARE, "0.5", "v3"),
    SEED,
    *ANSWER,
)
PROMPT_CHECK: Final[Table] = (Field("prompt", "prompt", WORDS, REQUIRED, "v3"),)
UPLOAD_BASE64: Final[Table] = (
    Field(
        "base64_string",
        "image",
        Picture(),
        REQUIRED,
        "v6",
        alias="init_image",
        other_aliases=("image", "base64_image"),
    ),
)
UPLOAD_CROPPED: Final[Table] = (
    Field("image", "image", Picture(), REQUIRED, "v3", alias="init_image"),
    Field("crop", "is_cropped", Flag(), "yes", "v3"),
)
UPLOAD_IMAGE: Final[Table] = (
    Field("base64_image", "image", Picture(), REQUIRED, "v1", alias="image"),
    Field("image_type", "format", OneOf(FORMATS), "seen from the picture", "v1"),
)
DELETE_IMAGE: Final[Table] = (
    Field("request_id", "job_id", Whole(lowest=0, highest=MAX_ID), REQUIRED, "v3", alias="id"),
    Field("type", "type", OneOf(ASSETS), IMAGE_TYPE, "v3"),
)
ASSETS_GENERATED: Final[Table] = (
    Field("type", "type", OneOf(ASSETS), IMAGE_TYPE, "v3"),
    Field("per_page", "per_page", Whole(lowest=1, highest=MAX_PER_PAGE), str(MAX_PER_PAGE), "v3"),
    Field("page", "page", Whole(lowest=1, highest=1_000_000), "1", "v3"),
)
_DISK: Final = "images are kept on the server's own disk, whatever it is told of another place"
IGNORED: Final = dict.fromkeys(
    (
        "public_url",
        "region_name",
        "endpoint_url",
        "aws_access_key_id",
        "aws_secret_access_key",
        "image_directory",
    ),
    _DISK,
)
"""Of update_s3, which is refused whatever it says."""

TABLES: Final = (
    NSFW_CHECK,
    PROMPT_CHECK,
    UPLOAD_BASE64,
    UPLOAD_CROPPED,
    UPLOAD_IMAGE,
    DELETE_IMAGE,
    ASSETS_GENERATED,
)
