"""`upscale`: a picture made larger by a network, or by Lanczos where none is given."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.postprocess.channels import as_rgb, has_alpha
from gpu_runtime.postprocess.enlarging import NetworkRun, Tiling, enlarge, sizes
from gpu_runtime.postprocess.membranes import stretch
from gpu_runtime.postprocess.upscaler_names import renamed
from gpu_runtime.postprocess.upscalers import Upscaler, load_upscaler

FACTORS = (2, 3, 4, 8)
LARGEST_PX = 8192
"""Of a result's side: a canvas of 200 MB."""


def upscale(context: Context) -> Iterator[float]:
    """Image -> the same, `factor` times as large, or of `width` x `height`; alpha with it."""
    picture = context.picture("image")
    if picture.ndim == 2:
        picture = as_rgb(picture)
    wanted = wanted_size(context, picture)
    network = context.load("model", build) if "model" in context.assets else None
    tiling = _tiling(context)
    if network is None:
        made = yield from enlarge(picture, wanted, by=None, tiling=tiling)
    else:
        picture = without_hidden_colours(picture)
        passes = sizes(*picture.shape[:2], wanted=wanted, scale=network.scale)
        made = yield from _passes(picture, passes, network, tiling)
    context.put("image", made)


def _passes(
    picture: Picture, passes: list[tuple[int, int]], network: Upscaler, tiling: Tiling
) -> Generator[float, None, Picture]:
    """Yields the share of all passes by the pixels that each looks at; returns the last result."""
    pixels = [picture.shape[0] * picture.shape[1], *(height * width for height, width in passes[:-1])]
    run, before = NetworkRun(network), 0
    for size, seen in zip(passes, pixels, strict=True):
        work = enlarge(picture, size, by=run, tiling=tiling, align=network.fold)
        while True:
            try:
                share = next(work)
            except StopIteration as end:
                picture = end.value
                break
            yield (before + share * seen) / sum(pixels)
        before += seen
    return picture


def wanted_size(context: Context, picture: Picture) -> tuple[int, int]:
    """Height and width asked for.

    Raises PictureUnusable when a side would be too long, UnsupportedCombination for another factor.
    """
    height, width = context.whole("height"), context.whole("width")
    if not (height and width):
        factor = context.whole("factor", 4)
        if factor not in FACTORS:
            offered = ", ".join(map(str, FACTORS))
            raise UnsupportedCombination(f"pictures are enlarged {offered} times, not {factor} times")
        height, width = picture.shape[0] * factor, picture.shape[1] * factor
    if max(height, width) > LARGEST_PX:
        raise PictureUnusable(
            f"the result would be {width} x {height} pixels; {LARGEST_PX} a side is the most: "
            "choose a smaller factor or send a smaller picture",
            code="result_too_large",
        )
    return height, width


def _tiling(context: Context) -> Tiling:
    tile, overlap = context.whole("tile", Tiling().tile), context.whole("overlap", Tiling().overlap)
    # A quarter of the memory; the overlap stays, so that joins look the same.
    return Tiling(tile=max(tile // 2, 4 * overlap) if context.is_cramped else tile, overlap=overlap)


def build(path: Path, device: str) -> Upscaler:
    """The network of an entry's folder; half precision and channels-last on an accelerator.

    Raises WeightsCorrupt when the folder holds no upscaler that is known here.
    """
    files = sorted(path.rglob("*.safetensors"))
    if len(files) != 1:
        raise WeightsCorrupt(f"{path} should hold one file of weights of an upscaler, not {len(files)}")
    try:
        network = load_upscaler(renamed(load_file(files[0])))
    except ValueError as error:
        raise WeightsCorrupt(f"{files[0]}: {error}") from None
    if torch.device(device).type == "cpu":
        return network
    network.to(device, torch.float16)
    # A keyword that torch's stubs lack.
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def without_hidden_colours(picture: Picture) -> Picture:
    """What is wholly transparent takes the colours beside it.

    A network sees colours, not alpha: black under the transparent part would come out as a dark rim.
    """
    if not has_alpha(picture):
        return picture
    is_seen = picture[:, :, 3] > 0
    if is_seen.all() or not is_seen.any():
        return picture
    colours = stretch(picture[:, :, :3].astype(np.float32), is_seen)
    return np.dstack([np.round(colours).astype(np.uint8), picture[:, :, 3]])
