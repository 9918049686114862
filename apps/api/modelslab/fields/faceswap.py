"""Fields of the face swap endpoints. `init_image` is the scene, `target_image` has the face to put in."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.fields.generation import ANSWER, SAFETY, SEED
from apps.api.modelslab.fields.table import REQUIRED, Field, Table
from apps.api.modelslab.word_readers import Picture

_SCENE: Final = Field("init_image", "image", Picture(), REQUIRED, "v6")
_FACE: Final = Field("target_image", "face", Picture(), REQUIRED, "v6")
_REFERENCE: Final = Field("reference_image", "reference", Picture(), "the largest face is replaced", "v6")

ONE_FACE: Final[Table] = (_SCENE, _FACE, _REFERENCE, SEED, *SAFETY, *ANSWER)
ALL_FACES: Final[Table] = (_SCENE, _FACE, SEED, *SAFETY, *ANSWER)
