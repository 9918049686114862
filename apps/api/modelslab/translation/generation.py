"""Text to image, image to image, inpainting, and editing by models that are made for it."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.fields.generation import NEUTRAL_PROMPT
from apps.api.modelslab.translation.asked import Asked
from apps.api.modelslab.translation.choosing import is_editor
from apps.api.modelslab.translation.denoising import common
from apps.core.errors import InvalidField
from apps.generation.choices import Kind, Resize
from apps.generation.request import GenerationRequest
from apps.generation.wishes import StoredPicture

MORE: Final = ("image_2", "image_3", "image_4")


def text_to_image(asked: Asked) -> GenerationRequest:
    """With a picture it is image to image: who sends one wants it used."""
    if _pictures(asked):
        return image_to_image(asked)
    return GenerationRequest(kind=Kind.TXT2IMG, **common(asked))


def image_to_image(asked: Asked) -> GenerationRequest:
    """The output has the picture's size, as documented, unless an aspect ratio asks for another shape.

    By a model that edits: an edit of all pictures, at the asked size.
    """
    if is_editor(asked.checkpoint):
        return edit(asked)
    image = _one_picture(asked)
    parts = common(asked, prompt=NEUTRAL_PROMPT)
    if not asked.values.has("aspect_ratio") and not asked.values.has("size"):
        parts |= {"width": None, "height": None}
    return GenerationRequest(
        kind=Kind.IMG2IMG,
        image=image,
        strength=asked.values.get("strength", None),
        resize=Resize.CROP,
        **parts,
    )


def sized_image_to_image(asked: Asked) -> GenerationRequest:
    """v7's: a size that is named is the output's, and the picture is cropped to its shape."""
    if is_editor(asked.checkpoint):
        return edit(asked)
    return GenerationRequest(
        kind=Kind.IMG2IMG,
        image=_one_picture(asked),
        strength=asked.values.get("strength", None),
        resize=Resize.CROP,
        **common(asked, prompt=NEUTRAL_PROMPT),
    )


def inpaint(asked: Asked) -> GenerationRequest:
    """White of the mask is made anew."""
    if is_editor(asked.checkpoint):
        return edit(asked, mask=asked.values.find("mask", StoredPicture))
    return GenerationRequest(
        kind=Kind.INPAINT,
        image=_one_picture(asked),
        mask=asked.values.find("mask", StoredPicture),
        strength=asked.values.get("strength", None),
        resize=Resize.CROP,
        **common(asked, prompt=NEUTRAL_PROMPT),
    )


def edit(asked: Asked, *, mask: StoredPicture | None = None) -> GenerationRequest:
    """All pictures, changed together as the prompt says; `strength` means nothing to editing models."""
    pictures = _pictures(asked)
    return GenerationRequest(
        kind=Kind.EDIT,
        image=pictures[0] if pictures else None,
        references=pictures[1:],
        mask=mask,
        resize=Resize.CROP,
        **common(asked, prompt=NEUTRAL_PROMPT),
    )


def _pictures(asked: Asked) -> tuple[StoredPicture, ...]:
    """`init_image`, one or a list, and the numbered ones after it."""
    first: tuple[StoredPicture, ...] = asked.values.get("images", ())
    more = [asked.values.find(name, StoredPicture) for name in MORE]
    return first + tuple(picture for picture in more if picture is not None)


def _one_picture(asked: Asked) -> StoredPicture | None:
    """Raises InvalidField for several, which only models that edit take."""
    pictures = _pictures(asked)
    if len(pictures) > 1:
        problem = (
            f"must be one picture for model {asked.checkpoint.name}, not {len(pictures)}:"
            " several are for models that edit pictures"
        )
        raise InvalidField(field=asked.values.name_of("images", "init_image"), problem=problem)
    return pictures[0] if pictures else None
