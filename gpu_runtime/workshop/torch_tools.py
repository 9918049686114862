"""The tools of the real runtime: arrays for pictures, torch for networks."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from gpu_runtime.device_faults import as_fault, is_out_of_memory, release_cached_memory
from gpu_runtime.encoding import encode, png_of
from gpu_runtime.errors import OutOfMemory, PictureUnusable, RuntimeFault
from gpu_runtime.families.pictures import DAMAGE, FORMATS, LEVELS_OF_16_BITS_A_LEVEL_OF_8, MAX_PIXELS
from gpu_runtime.messages import ImageInput
from gpu_runtime.operations.context import Picture
from gpu_runtime.operations.registry import run_of
from gpu_runtime.workshop.tools import Tools

LACK_IN_WORDS: Final = ("Failed to allocate memory", "CUDA out of memory")
"""In the messages of onnxruntime's errors, which have no type for it."""


def torch_tools(device: str) -> Tools:
    """For operations whose networks run on this device: "cpu" or "cuda:0"."""
    return Tools(
        device=device,
        run_of=run_of,
        read=read,
        as_input=as_input,
        encode=encode,
        as_fault=_as_fault,
        is_lack_of_memory=is_lack_of_memory,
        release_memory=release_cached_memory,
        size_bytes=size_bytes,
        guard=torch.inference_mode,
    )


def read(image: ImageInput, name: str) -> Picture:
    """The picture in a file, upright: [H, W] for grey, [H, W, 4] with transparency, else [H, W, 3].

    `name` is in the faults. Raises PictureUnusable for damage, and for too many pixels before they are
    unpacked.
    """
    try:
        with Image.open(io.BytesIO(image.data), formats=FORMATS) as file:
            if file.width * file.height > MAX_PIXELS:
                raise PictureUnusable(
                    f"{name} has {file.width} x {file.height} pixels; at most {MAX_PIXELS} are read",
                    code="picture_too_large",
                )
            upright = ImageOps.exif_transpose(file)
            upright.load()
    except DAMAGE as error:
        raise PictureUnusable(f"{name} cannot be decoded: {error}", code="picture_unreadable") from error
    return _array_of(upright)


def as_input(picture: Any) -> ImageInput:
    """A picture as the engine takes it. Raises RuntimeFault for a value that is none."""
    if not isinstance(picture, np.ndarray) or picture.dtype != np.uint8:
        raise RuntimeFault(f"an image request refers to a {type(picture).__name__}, which is no picture")
    # By its pixels: hashing the file as well would add nothing.
    shape = "x".join(map(str, picture.shape))
    digest = hashlib.sha256(shape.encode() + np.ascontiguousarray(picture).tobytes()).hexdigest()
    return ImageInput(data=png_of(picture), digest=digest)


def is_lack_of_memory(error: BaseException) -> bool:
    """Whether an operation might succeed with less at a time."""
    if isinstance(error, cv2.error):
        return bool(error.code == cv2.Error.STS_NO_MEM)
    return is_out_of_memory(error) or any(words in str(error) for words in LACK_IN_WORDS)


def size_bytes(weights: Any, folder: Path) -> int:
    """Of a network's parameters; what is no torch module counts as its files."""
    if isinstance(weights, torch.nn.Module):
        tensors = (*weights.parameters(), *weights.buffers())
        return sum(tensor.nbytes for tensor in tensors)
    files = folder.rglob("*") if folder.is_dir() else [folder]
    return sum(file.stat().st_size for file in files if file.is_file())


def _as_fault(error: Exception, doing: str) -> RuntimeFault:
    if is_lack_of_memory(error) and not isinstance(error, RuntimeFault):
        return OutOfMemory(f"out of memory while {doing}: {error}")
    return as_fault(error, doing)


def _array_of(image: Image.Image) -> Picture:
    if image.mode.startswith("I"):
        # Pillow cuts such values at 255 instead of scaling them.
        levels = np.asarray(image).astype(np.float64) / LEVELS_OF_16_BITS_A_LEVEL_OF_8
        return levels.round().clip(0, 255).astype(np.uint8)
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif image.mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
    # A copy, for torch warns of arrays that it could not write into.
    return np.array(image)
