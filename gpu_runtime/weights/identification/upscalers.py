"""Upscaling networks: ESRGAN in its old and new names, SRVGG (compact), waifu2x' UpConv7."""

from __future__ import annotations

import math
import re

from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.parts import require_contiguous, require_names
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import Detail, FileFormat, Identified, ModelKind

_OLD_TAIL = re.compile(r"model\.(\d+)\.weight")
_UPCONV = re.compile(r"upconv(\d)\.weight|conv_up(\d)\.weight")


def claim(contents: Contents) -> Identified | None:
    """An upscaler of an architecture we run. Raises WeightsCorrupt for an incomplete one."""
    for rule in (_esrgan, _first_esrgan, _old_esrgan, _srvgg, _upconv):
        answer = rule(contents)
        if answer is not None:
            return answer
    return None


def _answer(contents: Contents, variant: str, details: dict[str, Detail]) -> Identified:
    return identified(
        contents,
        ModelKind.UPSCALER,
        family="",
        variant=variant,
        file_format=FileFormat.SINGLE_FILE,
        components=(contents.component("upscaler", ""),),
        details=details,
    )


def _esrgan(contents: Contents) -> Identified | None:
    """Real-ESRGAN's names; x2 and x1 fold the image into more channels and always enlarge four times."""
    if not contents.has("body.0.rdb1.conv1."):
        return None
    ends = ("conv_first.weight", "conv_body.weight", "conv_up1.weight", "conv_up2.weight", "conv_last.weight")
    require_names(contents, "the upscaler", (*ends, "conv_hr.weight"))
    blocks = require_contiguous(contents, "the upscaler", "body")
    return _answer(
        contents,
        "rrdbnet",
        {"scale": _folded(contents.side("conv_first.weight", 1), 4), "blocks": blocks, "layout": "new"},
    )


def _first_esrgan(contents: Contents) -> Identified | None:
    """The names of the first ESRGAN and RealSR releases."""
    if not contents.has("RRDB_trunk.0.RDB1.conv1."):
        return None
    require_names(contents, "the upscaler", ("conv_first.weight", "trunk_conv.weight", "conv_last.weight"))
    blocks = require_contiguous(contents, "the upscaler", "RRDB_trunk")
    doublings = sum(1 for name in contents.names if _UPCONV.fullmatch(name))
    scale = _folded(contents.side("conv_first.weight", 1), 2**doublings)
    return _answer(contents, "rrdbnet", {"scale": scale, "blocks": blocks, "layout": "first"})


def _old_esrgan(contents: Contents) -> Identified | None:
    """A numbered sequence: first convolution, trunk, one convolution a doubling, two at the end."""
    if not contents.has("model.1.sub.0.RDB1.conv1.0."):
        return None
    require_names(contents, "the upscaler", ("model.0.weight",))
    numbers = require_contiguous(contents, "the upscaler", "model.1.sub")
    require_names(contents, "the upscaler", (f"model.1.sub.{numbers - 1}.weight",))
    tail = [m for m in map(_OLD_TAIL.fullmatch, contents.names) if m and int(m[1]) >= 2]
    require_names(contents, "the upscaler", () if len(tail) >= 2 else ("model.10.weight",))
    scale = _folded(contents.side("model.0.weight", 1), 2 ** (len(tail) - 2))
    return _answer(contents, "rrdbnet", {"scale": scale, "blocks": numbers - 1, "layout": "old"})


def _folded(channels: int, enlarged: int) -> int:
    """Enlargement from input to output when the input's pixels were folded into `channels`."""
    return max(1, enlarged // max(1, math.isqrt(channels // 3)))


def _srvgg(contents: Contents) -> Identified | None:
    """A chain of convolutions and slopes named `body.N`."""
    first, slope = contents.shape("body.0.weight"), contents.shape("body.1.weight")
    if not (first and slope and len(first) == 4 and first[1] == 3 and len(slope) == 1):
        return None
    if any(each != "body" for each in contents.prefixes()):
        return None
    layers = require_contiguous(contents, "the upscaler", "body")
    made = contents.side(f"body.{layers - 1}.weight", 0)
    scale = math.isqrt(made // 3)
    # The last layer is a convolution, so the chain has an odd number; an even one was cut.
    require_names(
        contents, "the upscaler", () if layers % 2 and 3 * scale**2 == made else (f"body.{layers}.weight",)
    )
    return _answer(contents, "srvgg", {"scale": scale, "convolutions": (layers - 3) // 2})


def _upconv(contents: Contents) -> Identified | None:
    """Six convolutions and a transposed one."""
    last = contents.shape("conv7.weight")
    if last is None or len(last) != 4 or last[1:] != (3, 4, 4) or contents.side("conv1.weight", 1) != 3:
        return None
    require_names(
        contents,
        "the upscaler",
        [f"conv{number}.{part}" for number in range(1, 8) for part in ("weight", "bias")],
    )
    return _answer(contents, "upconv7", {"scale": 2})
