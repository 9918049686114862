"""Fields of the ControlNet endpoints of v5, v6, v7 and enterprise, and their names of control types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.modelslab.fields.generation import (
    ADAPTERS,
    ANSWER,
    FINISH,
    IMAGE,
    MASK,
    MAX_NAME_CHARS,
    MODEL,
    NEGATIVE_PROMPT,
    PROMPT,
    SAFETY,
    SAMPLES,
    SAMPLING,
    SIZES,
    STRENGTH,
    optional,
)
from apps.api.modelslab.fields.table import Field, Table
from apps.api.modelslab.readers import Flag, Names, Number, Numbers
from apps.api.modelslab.word_readers import OneOf, Pictures
from apps.generation.choices import ControlType
from apps.generation.request import MAX_CONTROLS
from apps.generation.wishes import MAX_CONTROL_SCALE

CONTROL_TYPES: Final[Mapping[str, ControlType]] = {
    **{each.value: each for each in ControlType},
    "hed": ControlType.SOFTEDGE,
    "normalbae": ControlType.NORMAL,
    "pose": ControlType.OPENPOSE,
    "dwpose": ControlType.OPENPOSE,
    "face_detector": ControlType.FACE,
    "seg": ControlType.SEGMENTATION,
    "low_quality": ControlType.BLUR,
    "lineart_anime": ControlType.LINEART,
}
"""Their ids of what a ControlNet follows; any other id is the name of one in the catalogue."""

READY_MADE: Final = frozenset({"qrcode", "low_quality"})
"""Ids whose picture is the control image itself: nothing is to be detected in a QR code."""

SCALES: Final = Numbers(number=Number(lowest=0.0, highest=20.0), max_numbers=MAX_CONTROLS)
"""As far as enterprise counts."""
_MEANING: Final = f"1 for each; above {MAX_CONTROL_SCALE:g} counts as {MAX_CONTROL_SCALE:g}"

CONTROLNET: Final[Table] = (
    optional(PROMPT, "required without guess_mode"),
    MODEL,
    Field(
        "controlnet_model",
        "control_names",
        Names(max_names=MAX_CONTROLS, max_chars=MAX_NAME_CHARS),
        "as controlnet_type",
        "v5",
    ),
    Field(
        "controlnet_type",
        "control_types",
        Names(max_names=MAX_CONTROLS, max_chars=MAX_NAME_CHARS),
        "as controlnet_model",
        "v5",
    ),
    Field("controlnet_conditioning_scale", "control_scales", SCALES, _MEANING, "v5"),
    Field("auto_hint", "finds_hints", Flag(), "yes for init_image, no for control_image", "v5"),
    Field("guess_mode", "is_guessing", Flag(), "no", "v5"),
    optional(IMAGE, "control_image"),
    Field("control_image", "control_pictures", Pictures(most=MAX_CONTROLS), "init_image", "v5"),
    optional(MASK, "none; required for inpaint"),
    optional(STRENGTH, "init_image is looked at only; set, the image begins from it"),
    NEGATIVE_PROMPT,
    *SIZES,
    SAMPLES,
    *SAMPLING,
    *ADAPTERS,
    *FINISH,
    *SAFETY,
    *ANSWER,
)
TYPE: Final = OneOf(CONTROL_TYPES)
