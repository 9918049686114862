"""Masks made ready, what they mark filled or cut out, and what was painted there put back."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_runtime.errors import PictureUnusable
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.postprocess import marking, painting
from gpu_runtime.postprocess.boxes import Box, box_around, cut_mask, cut_picture
from gpu_runtime.postprocess.channels import Mask, as_grey, has_alpha, resize_mask


def prepare(context: Context) -> Iterator[float]:
    """`mask.prepare`: mask -> mask, grey, white where there is something to do."""
    picture = context.picture("mask")
    from_alpha = context.flag("from_alpha")
    if from_alpha and not has_alpha(picture):
        raise PictureUnusable(
            "the mask marks by transparency, but it has no alpha channel: send a PNG that is transparent "
            "where the picture is to change",
            code="mask_without_transparency",
        )
    options = marking.MaskOptions(
        width=context.whole("width") or picture.shape[1],
        height=context.whole("height") or picture.shape[0],
        is_inverted=context.flag("is_inverted"),
        grow_px=context.number("grow"),
        blur_px=context.number("blur"),
        from_alpha=from_alpha,
    )
    made = yield from marking.prepare(picture, options)
    context.put("mask", made)
    yield 1.0


def fill(context: Context) -> Iterator[float]:
    """`mask.fill`: image, mask -> image with something else where the mask is white."""
    picture = context.picture("image")
    how = context.text("fill", "original")
    mask = mask_for(context, picture)
    made = yield from painting.fill(picture, mask, how=how, rng=context.rng)
    context.put("image", made)
    yield 1.0


def crop(context: Context) -> Iterator[float]:
    """`mask.crop`: image, mask -> the part around what is marked, brought to a size; and where it lay."""
    picture = context.picture("image")
    mask = mask_for(context, picture)
    width = context.whole("width") or picture.shape[1]
    height = context.whole("height") or picture.shape[0]
    box = box_around(mask, padding_px=context.whole("padding", 32), width=width, height=height)
    context.put("image", cut_picture(picture, box, width=width, height=height))
    context.put("mask", cut_mask(mask, box, width=width, height=height))
    context.put("box", box)
    yield 1.0


def paste(context: Context) -> Iterator[float]:
    """`mask.paste`: image, original, mask, [box] -> the original with the image where the mask is white."""
    image, original = context.picture("image"), context.picture("original")
    box = Box(left=0, top=0, width=original.shape[1], height=original.shape[0])
    if context.has("box"):
        box = context.value("box")
    mask = mask_for(context, original)
    blend = context.text("blend", "feather")
    made = yield from painting.paste(image, original, mask, box=box, blend=blend)
    context.put("image", made)
    yield 1.0


def mask_for(context: Context, picture: Picture) -> Mask:
    """The input "mask" in grey, as large as the picture."""
    grey = as_grey(context.picture("mask"))
    return resize_mask(grey, width=picture.shape[1], height=picture.shape[0])
