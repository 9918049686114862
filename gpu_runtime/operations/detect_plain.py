"""`detect.tile`, `.shuffle`, `.blur`, `.gray`, `.inpaint`: maps that are the picture itself, changed."""

from __future__ import annotations

from collections.abc import Iterator

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.detecting import luma, put_map, work_picture
from gpu_runtime.postprocess.channels import as_grey, resize_mask
from gpu_runtime.preprocessors import plain

SIGMA_PX = 9.0
LARGEST_FACTOR = 8.0


def tile(context: Context) -> Iterator[float]:
    """image -> the same, coarser by threshold_a (1 to 8; 1 changes nothing)."""
    factor = context.number("threshold_a", 1.0)
    if not 1 <= factor <= LARGEST_FACTOR:
        raise UnsupportedCombination(f"threshold_a of tile must be 1 to {LARGEST_FACTOR:g}, not {factor:g}")
    picture = work_picture(context)
    put_map(context, picture if factor == 1 else plain.coarse(picture, factor))
    yield 1.0


def shuffle(context: Context) -> Iterator[float]:
    """image -> its colours and textures without its objects; by the request's seed."""
    made = yield from plain.shuffled(work_picture(context), context.rng)
    put_map(context, made)
    yield 1.0


def blur(context: Context) -> Iterator[float]:
    """image -> softened. threshold_a: sigma in pixels at the working size (9)."""
    sigma = context.number("threshold_a", SIGMA_PX)
    if not 0 < sigma <= 256:
        raise UnsupportedCombination(f"threshold_a of blur must be above 0 and at most 256, not {sigma:g}")
    put_map(context, plain.blurred(work_picture(context), sigma))
    yield 1.0


def gray(context: Context) -> Iterator[float]:
    """image -> without colour."""
    put_map(context, luma(work_picture(context)))
    yield 1.0


def inpaint(context: Context) -> Iterator[float]:
    """image, mask -> the picture with what the mask marks in black."""
    picture = work_picture(context)
    height, width = picture.shape[:2]
    mask = resize_mask(as_grey(context.picture("mask")), width=width, height=height)
    put_map(context, plain.inpaint_hint(picture, mask))
    yield 1.0
