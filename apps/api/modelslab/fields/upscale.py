"""Fields of super resolution: v3, v6 image editing and enterprise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.modelslab.fields.generation import ANSWER, NAME, SEED
from apps.api.modelslab.fields.table import REQUIRED, Field, Table
from apps.api.modelslab.readers import Flag, Whole
from apps.api.modelslab.word_readers import Picture

MAX_SCALE: Final = 8

STAND_INS: Final[Mapping[str, str]] = {
    "realesrgan_x4plus": "realesrgan-x4plus",
    "realesrnet_x4plus": "realesrgan-x4plus",
    "realesrgan_x4plus_anime_6b": "realesr-animevideov3",
    "realesrgan_x2plus": "waifu2x-photo",
    "realesr-general-x4v3": "realesrgan-x4plus",
    "ultra_resolution": "realesrgan-x4plus",
}
"""Their model ids, in lower case, to what ships here; a catalogue entry of the very name comes first."""

DEFAULT_SCALE: Final = 3


def super_resolution(scale: int) -> Table:
    """The table with the endpoint's own default factor."""
    return (
        Field("init_image", "image", Picture(), REQUIRED, "v3", alias="url", other_aliases=("image",)),
        Field("model_id", "upscaler", NAME, "realesr-general-x4v3", "v3"),
        Field("scale", "upscale_factor", Whole(lowest=1, highest=MAX_SCALE), str(scale), "v3"),
        Field("face_enhance", "is_face_enhanced", Flag(), "no", "v3"),
        SEED,
        *ANSWER,
    )


SUPER_RESOLUTION: Final[Table] = super_resolution(DEFAULT_SCALE)
MAKE: Final[Table] = super_resolution(2)
"""enterprise/super_resolution/make."""
