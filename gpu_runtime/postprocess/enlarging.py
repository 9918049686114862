"""A picture enlarged by a network or by Lanczos, tile by tile into one canvas of bytes.

Memory is that of the source, the canvas and one tile, whatever the size. A network that makes more than is
wanted has each of its tiles brought down before it is laid; one that makes less is run again on its result.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from gpu_runtime.errors import NumericFault
from gpu_runtime.postprocess.channels import Picture, has_alpha
from gpu_runtime.postprocess.pieces import with_share
from gpu_runtime.postprocess.tiles import Span, lay, spans
from gpu_runtime.postprocess.upscalers import Upscaler

Enlarge: TypeAlias = Callable[[Picture], Generator[None, None, Picture]]
"""A tile [H, W, C] to the same `scale` times as large; stops between pieces of work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiling:
    """How a picture is cut up."""

    tile: int = 256
    """Side of what a network sees at a time, pixels of the source."""
    overlap: int = 16
    """Of what it sees beyond what it makes, at each side."""


class NetworkRun:
    """An `Enlarge` by a network that lies on a device in its own precision."""

    def __init__(self, network: Upscaler) -> None:
        self.network = network
        self.scale = network.scale

    def __call__(self, tile: Picture) -> Generator[None, None, Picture]:
        """RGB or RGBA; raises NumericFault when the network answers no numbers."""
        colours = yield from self._run(tile[:, :, :3])
        if not has_alpha(tile):
            return colours
        alpha = tile[:, :, 3]
        if (alpha == alpha[0, 0]).all():
            larger = np.full(colours.shape[:2], alpha[0, 0], dtype=np.uint8)
        else:
            grey = yield from self._run(np.repeat(alpha[:, :, None], 3, axis=2))
            larger = np.round(grey.mean(axis=2)).astype(np.uint8)
        return np.dstack([colours, larger])

    def _run(self, tile: Picture) -> Generator[None, None, Picture]:
        height, width = tile.shape[0] * self.scale, tile.shape[1] * self.scale
        made = yield from self.network.parts(self._padded(tile))
        if not torch.isfinite(made).all():
            raise NumericFault("the upscaler answered values that are no numbers")
        pixels = (made[0, :, :height, :width].float().clamp(0, 1) * 255).round().to(torch.uint8)
        # A copy: the rest of the tensor must not stay alive behind a view of it.
        return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())

    def _padded(self, tile: Picture) -> Tensor:
        """[1, 3, h, w], 0 to 1, with the border that the network takes off and whole folds."""
        weight = next(self.network.parameters())
        pixels = torch.tensor(tile).to(weight.device)
        image = pixels.permute(2, 0, 1)[None].to(weight.dtype) / 255
        border = self.network.border_px // self.scale
        missing = (-image.shape[-1] % self.network.fold, -image.shape[-2] % self.network.fold)
        if border or any(missing):
            sides = (border, border + missing[0], border, border + missing[1])
            image = functional.pad(image, sides, mode="replicate")
        is_cuda = weight.device.type == "cuda"
        return image.to(memory_format=torch.channels_last) if is_cuda else image


def sizes(height: int, width: int, *, wanted: tuple[int, int], scale: int) -> list[tuple[int, int]]:
    """Height and width after each pass of a network that enlarges `scale` times; the last is `wanted`.

    Passes before the last make only what the last needs. Eight times by a network of four is first two,
    then four times: the second pass goes over a quarter of the pixels that it would the other way round.
    """
    factor = max(wanted[0] / height, wanted[1] / width)
    passes, reached = 1, float(scale)
    while reached < factor and scale > 1:
        passes, reached = passes + 1, reached * scale
    result = [wanted]
    for _ in range(passes - 1):
        before = result[0]
        result.insert(0, (max(height, -(-before[0] // scale)), max(width, -(-before[1] // scale))))
    return result


def enlarge(
    picture: Picture, size: tuple[int, int], *, by: Enlarge | None, tiling: Tiling, align: int = 1
) -> Generator[float, None, Picture]:
    """One pass: the picture [H, W, C] in `size` (height, width). Yields the share that is done.

    Without `by`, Lanczos alone. With it, `align` is what starts of tiles are multiples of.
    """
    cut = {"tile": tiling.tile, "overlap": tiling.overlap, "align": align}
    rows = spans(picture.shape[0], size[0], **cut)
    columns = spans(picture.shape[1], size[1], **cut)
    canvas = np.empty((*size, picture.shape[2]), dtype=np.uint8)
    done, total = 0, len(rows) * len(columns)
    for down in rows:
        for across in columns:
            seen = np.ascontiguousarray(picture[down.start : down.stop, across.start : across.stop])
            if by is not None:
                seen = yield from with_share(by(seen), done / total)
            box = _box(picture.shape[:2], size, seen.shape[:2], down, across)
            lay(canvas, _resampled(seen, box, down, across), down, across)
            done += 1
            yield done / total
    return canvas


def _box(
    source: tuple[int, ...], size: tuple[int, int], seen: tuple[int, ...], down: Span, across: Span
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom, in pixels of the enlarged tile, of what the tile is to make."""
    x, y = seen[1] / (across.stop - across.start), seen[0] / (down.stop - down.start)
    to_left, to_top = source[1] / size[1], source[0] / size[0]
    return (
        max(0.0, (across.made_start * to_left - across.start) * x),
        max(0.0, (down.made_start * to_top - down.start) * y),
        min(float(seen[1]), (across.made_stop * to_left - across.start) * x),
        min(float(seen[0]), (down.made_stop * to_top - down.start) * y),
    )


def _resampled(tile: Picture, box: tuple[float, float, float, float], down: Span, across: Span) -> Picture:
    """The box of the tile, in the size that the spans say; a copy where it already has that."""
    width, height = across.made_stop - across.made_start, down.made_stop - down.made_start
    left, top, right, bottom = (round(edge) for edge in box)
    whole = max(abs(edge - near) for edge, near in zip(box, (left, top, right, bottom), strict=True)) < 1e-6
    if whole and (right - left, bottom - top) == (width, height):
        return tile[top:bottom, left:right].copy()
    resized = Image.fromarray(tile).resize((width, height), Image.Resampling.LANCZOS, box=box)
    return np.array(resized)
