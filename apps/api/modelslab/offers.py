"""What can be asked to be made, each with its table, its translation and its choice of a model."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from apps.api.modelslab.fields import (
    controlnet,
    faceswap,
    general,
    generation,
    image_editing,
    realtime,
    upscale,
)
from apps.api.modelslab.translation import choosing, faces, upscaling
from apps.api.modelslab.translation import controlnet as controls
from apps.api.modelslab.translation import generation as images
from apps.api.modelslab.translation import image_editing as editing
from apps.api.modelslab.translation.asked import Endpoint, Shape

# --- generation ---

TEXT_TO_IMAGE: Final = Endpoint(
    summary="Text to image",
    table=generation.TEXT_TO_IMAGE,
    translate=images.text_to_image,
    choose_model=choosing.must_be_named,
    refused=generation.REFUSED,
)
IMAGE_TO_IMAGE: Final = replace(
    TEXT_TO_IMAGE,
    summary="Image to image",
    table=generation.IMAGE_TO_IMAGE,
    translate=images.image_to_image,
)
INPAINT: Final = replace(
    TEXT_TO_IMAGE,
    summary="Inpainting",
    table=generation.INPAINT,
    translate=images.inpaint,
    refused=generation.REFUSED_WITH_MASK,
)
CONTROLNET: Final = replace(
    TEXT_TO_IMAGE,
    summary="Text to image led by control images",
    table=controlnet.CONTROLNET,
    translate=controls.controlnet,
    refused=generation.NOTHING_REFUSED,
)
SIZED_IMAGE_TO_IMAGE: Final = replace(IMAGE_TO_IMAGE, translate=images.sized_image_to_image)

# --- realtime: the server picks the model ---

REALTIME_TEXT: Final = replace(
    TEXT_TO_IMAGE,
    summary="Text to image by a fast model",
    table=realtime.REALTIME_TEXT,
    choose_model=choosing.fast_model,
    family="v6/realtime",
)
REALTIME_IMAGE: Final = replace(
    REALTIME_TEXT,
    summary="Image to image by a fast model",
    table=realtime.REALTIME_IMAGE,
    translate=images.sized_image_to_image,
)
REALTIME_INPAINT: Final = replace(
    REALTIME_TEXT,
    summary="Inpainting by a fast model",
    table=realtime.REALTIME_INPAINT,
    translate=images.inpaint,
    refused=generation.REFUSED_WITH_MASK,
)

# --- image editing ---

REMOVE_BACKGROUND: Final = Endpoint(
    summary="Background removal",
    table=image_editing.REMOVE_BACKGROUND,
    translate=editing.remove_background,
    choose_model=choosing.needs_none,
    refused=generation.NOTHING_REFUSED,
    family="v6/image_editing",
)
OUTPAINT: Final = replace(
    REMOVE_BACKGROUND,
    summary="A picture grown beyond its edges",
    table=image_editing.OUTPAINT,
    translate=editing.outpaint,
    choose_model=choosing.inpainting_model,
)
INPAINT_PLAIN: Final = replace(
    OUTPAINT, summary="Inpainting", table=image_editing.INPAINT_PLAIN, translate=images.inpaint
)
OBJECT_REMOVAL: Final = replace(
    REMOVE_BACKGROUND,
    summary="A thing removed from a picture",
    table=image_editing.OBJECT_REMOVAL,
    translate=editing.remove_object,
)
MASK_CREATOR: Final = replace(
    REMOVE_BACKGROUND,
    summary="Where in a picture something is",
    table=image_editing.MASK_CREATOR,
    translate=editing.create_mask,
)
CAPTION: Final = replace(
    REMOVE_BACKGROUND,
    summary="What a picture shows, in words",
    table=image_editing.CAPTION,
    translate=editing.caption,
    shape=Shape.WORDS,
)
SUPER_RESOLUTION: Final = replace(
    REMOVE_BACKGROUND,
    summary="A picture enlarged",
    table=upscale.SUPER_RESOLUTION,
    translate=upscaling.upscaling(),
)
FACE_GEN: Final = replace(
    REMOVE_BACKGROUND,
    summary="A new image of a person",
    table=image_editing.FACES,
    translate=editing.face_gen,
    choose_model=choosing.face_model(),
)
HEAD_SHOT: Final = replace(FACE_GEN, summary="A portrait of a person", translate=editing.head_shot)
FLUX_HEAD_SHOT: Final = replace(
    FACE_GEN,
    summary="A portrait of a person by FLUX",
    translate=editing.flux_head_shot,
    choose_model=choosing.face_model("flux"),
)
FASHION: Final = replace(
    REMOVE_BACKGROUND,
    summary="A person in another garment",
    table=image_editing.FASHION,
    translate=editing.fashion,
    choose_model=choosing.editing_model(pictures=2),
)
QWEN_EDIT: Final = replace(
    REMOVE_BACKGROUND,
    summary="Pictures edited as a prompt says",
    table=image_editing.EDIT,
    translate=images.edit,
    choose_model=choosing.editing_model("qwen-edit-2509", "qwen-edit-2511"),
)
IMAGE_MIXER: Final = replace(
    QWEN_EDIT, summary="Several pictures mixed", choose_model=choosing.editing_model(pictures=2)
)
MAGIC_MIX: Final = replace(
    REMOVE_BACKGROUND,
    summary="A new thing in a picture's layout",
    table=image_editing.MAGIC_MIX,
    translate=editing.magic_mix,
    choose_model=choosing.mixing_model,
)
KONTEXT: Final = replace(
    QWEN_EDIT, summary="A picture edited by FLUX.1 Kontext", choose_model=choosing.kontext_model
)

# --- faces and checks ---

SWAP_ONE: Final = replace(
    REMOVE_BACKGROUND,
    summary="One face swapped",
    table=faceswap.ONE_FACE,
    translate=faces.swap_one,
    family="v6/faceswap",
)
SWAP_ALL: Final = replace(
    SWAP_ONE, summary="All faces swapped", table=faceswap.ALL_FACES, translate=faces.swap_all
)
NSFW_CHECK: Final = replace(
    REMOVE_BACKGROUND,
    summary="Whether a picture is unsuitable",
    table=general.NSFW_CHECK,
    translate=editing.check_picture,
    shape=Shape.FINDINGS,
    family="v6/images",
)
