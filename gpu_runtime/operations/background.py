"""`background.remove`: the subject of a picture without what is behind it."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.operations.canvas import fitted
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.postprocess import matting
from gpu_runtime.postprocess.backdrops import LEAST, Backdrop, find_before_backdrop
from gpu_runtime.postprocess.channels import Flags, Floats, as_rgb, has_alpha
from gpu_runtime.postprocess.cutouts import PERSON, CutOutNetwork, is_certain, load_cut_out, second_look
from gpu_runtime.postprocess.guided_filter import fit_in_parts
from gpu_runtime.postprocess.keying import keyed, rim_of
from gpu_runtime.postprocess.membranes import stretch
from gpu_runtime.postprocess.pieces import within

WORK_PX = 1024
"""The longer side at which outlines are found; what is larger gets them along its own edges."""

BLOCK_PX = 384
"""Sides of the parts that are finished at a time, which bounds memory and the time between two yields."""

MARGIN_PX = 96
"""Around a block, from which its colours are estimated: the sum of the radii in `matting.foreground`."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What is to become of the parts."""

    is_inverted: bool
    """Whether the subject goes and what is behind it stays."""
    behind: Picture | None
    """RGB, of the picture's size; None for transparency."""


def remove(context: Context) -> Iterator[float]:
    """Image, [background] -> RGBA, or RGB on a colour or a background, or the mask alone; and the mask."""
    given = context.picture("image")
    picture = np.ascontiguousarray(as_rgb(given))
    cut = Cut(is_inverted=context.flag("inverse_mask"), behind=_behind(context, picture))
    rough, backdrop = yield from _found(context, picture)
    work = _at_work_size(picture)
    alpha = yield from _outlined(context, work, rough, backdrop)
    made = yield from _finished(picture, work, alpha, cut)
    if has_alpha(given):
        # What was transparent stays so.
        made[:, :, 3] = cv2.multiply(made[:, :, 3], given[:, :, 3], scale=1 / 255)
    context.put("mask", np.ascontiguousarray(made[:, :, 3]))
    context.put("image", _shown(context, made, cut))


def _shown(context: Context, made: Picture, cut: Cut) -> Picture:
    if context.flag("only_mask"):
        return np.ascontiguousarray(made[:, :, 3])
    if cut.behind is None:
        return made
    share = made[:, :, 3:].astype(np.uint16)
    mixed: Picture = ((made[:, :, :3] * share + cut.behind * (255 - share) + 127) // 255).astype(np.uint8)
    return mixed


def _behind(context: Context, picture: Picture) -> Picture | None:
    """What to put behind. Raises UnsupportedCombination for a colour that is none."""
    height, width = picture.shape[:2]
    if context.has("background"):
        return fitted(as_rgb(context.picture("background")), width=width, height=height, mode="crop")
    colour = context.text("colour")
    if not colour:
        return None
    digits = colour.removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise UnsupportedCombination(f"colour must be #rrggbb, not {colour!r}") from None
    return np.full((height, width, 3), (red, green, blue), dtype=np.uint8)


def _found(context: Context, picture: Picture) -> Generator[float, None, tuple[Floats, Backdrop | None]]:
    """The rough mask, and the backdrop if that told it; notes how it was found. Raises PictureUnusable."""
    if "model" in context.assets and context.asset("model").variant != PERSON:
        mask = _network(context).look(picture)
        if not _is_enough(mask):
            raise PictureUnusable(_NOTHING_FOUND, code="no_subject")
        context.note("cut_out", "general")
        yield 0.4
        return mask, None
    backdrop = find_before_backdrop(picture)
    yield 0.1
    if "model" in context.assets:
        mask = _network(context).look(picture)
        yield 0.2
        mask = second_look(_network(context), picture, mask)
        yield 0.4
        if _is_enough(mask) and is_certain(mask) and not _misses(mask, backdrop):
            context.note("cut_out", "person")
            return mask, None
    if backdrop is None:
        raise PictureUnusable(_NOBODY_FOUND, code="no_subject")
    context.note("cut_out", "backdrop")
    return backdrop.mask, backdrop


_NOTHING_FOUND = "nothing in the picture stands out from what is behind it"
_NOBODY_FOUND = (
    "no person was found in the picture, and what is behind its subject is not plain: send a picture with a "
    "plain backdrop, or have the operator import a cut-out model (ISNet, U2Net or BiRefNet as ONNX)"
)


def _network(context: Context) -> CutOutNetwork:
    asset = context.asset("model")
    make = partial(load_cut_out, variant=asset.variant, details=asset.details)
    # Runs on the CPU wherever torch runs.
    return context.load("model", lambda path, _device: make(path))


def _is_enough(mask: Floats) -> bool:
    return bool((mask > 0.5).mean() > LEAST)


def _misses(mask: Floats, backdrop: Backdrop | None) -> bool:
    """Whether the network saw less than half of what stands before a plain backdrop: then it is no person."""
    if backdrop is None:
        return False
    seen = cv2.resize(mask, backdrop.mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return bool((seen[backdrop.mask > 0.5] > 0.5).mean() < 0.5)


def _at_work_size(picture: Picture) -> Floats:
    """Colours 0 to 1, no side longer than WORK_PX."""
    scale = min(1.0, WORK_PX / max(picture.shape[:2]))
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = picture if scale == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _outlined(
    context: Context, work: Floats, rough: Floats, backdrop: Backdrop | None
) -> Generator[float, None, Floats]:
    """Alpha at the work size."""
    mask = np.clip(cv2.resize(rough, work.shape[1::-1], interpolation=cv2.INTER_CUBIC), 0, 1)
    mask = matting.without_specks(mask)
    if context.flag("post_process_mask"):
        mask = matting.smooth_outline(mask)
    yield 0.45
    if backdrop is not None:
        return (yield from _keyed(work, mask, backdrop))
    followed = matting.follow_edges(work, mask, matting.band_around(mask))
    alpha = yield from within(followed, 0.45, 0.5)
    if context.flag("alpha_matting"):
        trimap = matting.trimap_of(
            mask,
            foreground=context.whole("alpha_matting_foreground_threshold", 240),
            background=context.whole("alpha_matting_background_threshold", 20),
            erode_px=context.whole("alpha_matting_erode_size", 5),
        )
        yield 0.5
        alpha = yield from _by_colours(work, alpha, trimap)
    return alpha


def _by_colours(work: Floats, edges: Floats, trimap: matting.Trimap) -> Generator[float, None, Floats]:
    if not trimap.inside.any() or not trimap.outside.any():
        return edges
    subject = yield from _carried_on(work, trimap.inside, 0.5)
    behind = yield from _carried_on(work, trimap.outside, 0.55)
    followed = matting.follow_colours(work, edges, trimap, subject=subject, behind=behind)
    return (yield from within(followed, 0.6, 0.65))


def _keyed(work: Floats, mask: Floats, backdrop: Backdrop) -> Generator[float, None, Floats]:
    """Alpha by the colours of the backdrop, which are known better than any matting could find them."""
    trimap = rim_of(mask)
    subject = work
    # Something too thin to have an inside is all rim: its colours are as they are seen.
    if trimap.inside.any():
        subject = yield from _carried_on(work, trimap.inside, 0.5)
    behind = backdrop.colours(*work.shape[:2])
    yield 0.55
    return (yield from within(keyed(work, mask, trimap, subject=subject, behind=behind), 0.55, 0.65))


def _carried_on(work: Floats, known: Flags, share: float) -> Generator[float, None, Floats]:
    """Known colours stretched over the rest, one at a time: it is most of the work of matting."""
    colours = []
    for number in range(3):
        colours.append(stretch(np.ascontiguousarray(work[:, :, number]), known))
        yield share + 0.015 * number
    return np.dstack(colours)


def _finished(picture: Picture, work: Floats, alpha: Floats, cut: Cut) -> Generator[float, None, Picture]:
    """RGBA of the picture's size: the subject's own colours, black where there is nothing of it."""
    height, width = picture.shape[:2]
    enlarged = yield from _enlarged(picture, work, alpha)
    if cut.is_inverted:
        enlarged = 255 - enlarged
    made = np.dstack([picture, enlarged])
    made[enlarged == 0] = 0
    for top in range(0, height, BLOCK_PX):
        for left in range(0, width, BLOCK_PX):
            block = np.s_[top : top + BLOCK_PX, left : left + BLOCK_PX]
            # Whole pixels of the subject are its own colours already; most blocks have no others.
            if ((enlarged[block] > 0) & (enlarged[block] < 255)).any():
                made[block][:, :, :3] = _own_colours(picture, enlarged, top, left)
                yield 0.8 + 0.2 * top / height
    return made


def _own_colours(picture: Picture, alpha: Picture, top: int, left: int) -> Picture:
    """Of one block."""
    first, start = max(0, top - MARGIN_PX), max(0, left - MARGIN_PX)
    around = np.s_[first : top + BLOCK_PX + MARGIN_PX, start : left + BLOCK_PX + MARGIN_PX]
    share = alpha[around].astype(np.float32) / 255
    colours = matting.foreground(picture[around].astype(np.float32) / 255, share)
    colours[share == 0] = 0
    kept = np.s_[top - first : top - first + BLOCK_PX, left - start : left - start + BLOCK_PX]
    return np.round(colours[kept] * 255).astype(np.uint8)


def _enlarged(picture: Picture, work: Floats, alpha: Floats) -> Generator[float, None, Picture]:
    """Alpha [H, W], 0 to 255, in the picture's size, along its own edges where that is larger."""
    height, width = picture.shape[:2]
    if alpha.shape == (height, width):
        return np.round(alpha * 255).astype(np.uint8)
    # Where alpha is whole it stays so; around the rest the functions are told from it.
    is_open = cv2.dilate(((alpha > 0) & (alpha < 1)).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    work_on = fit_in_parts(work, alpha, is_open, radius_px=2, eps=matting.FOLLOW_EPS / 10)
    found = yield from within(work_on, 0.65, 0.7)
    result = np.empty((height, width), dtype=np.uint8)
    for top in range(0, height, BLOCK_PX):
        rows = picture[top : top + BLOCK_PX].astype(np.float32) / 255
        values = found.apply(rows, top=top, height=height)
        result[top : top + BLOCK_PX] = np.round(np.clip(values, 0, 1) * 255)
        yield 0.7 + 0.1 * top / height
    return result
