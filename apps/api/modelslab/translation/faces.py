"""Face swaps: `init_image` is the scene, `target_image` has the face that is put into it."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.translation.asked import Asked
from apps.api.modelslab.translation.denoising import safety
from apps.generation.choices import FaceChoice, Kind
from apps.generation.request import GenerationRequest
from apps.generation.wishes import FaceSwapWish, OutputWish, StoredPicture

OUTPUT: Final = OutputWish(media_type="image/jpeg")
"""As the contract has it: `model_save_format` is jpg."""


def swap_one(asked: Asked) -> GenerationRequest:
    """The face that is most like the reference's; without one, the largest."""
    reference = asked.values.find("reference", StoredPicture)
    return _swap(asked, FaceChoice.REFERENCE if reference else FaceChoice.LARGEST, reference)


def swap_all(asked: Asked) -> GenerationRequest:
    """Every face of the scene."""
    return _swap(asked, FaceChoice.ALL, None)


def _swap(asked: Asked, which: FaceChoice, reference: StoredPicture | None) -> GenerationRequest:
    face = asked.values.find("face", StoredPicture)
    assert face is not None
    return GenerationRequest(
        kind=Kind.FACE_SWAP,
        seed=asked.values.get("seed", None),
        image=asked.values.find("image", StoredPicture),
        face_swap=FaceSwapWish(source=face, reference=reference, which=which),
        safety=safety(asked.values),
        output=OUTPUT,
    )
