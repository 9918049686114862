"""The Workshop's tools for the stand-in runtime: real files of the right size, without torch and cv2."""

from __future__ import annotations

import hashlib
import io
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

from PIL import Image

from gpu_runtime.errors import DeviceLost, OutOfMemory, PictureUnusable, RuntimeFault
from gpu_runtime.fake_images import FakePicture, fake_colour, fake_png
from gpu_runtime.fake_operations import fake_run_of
from gpu_runtime.messages import ImageInput
from gpu_runtime.metadata.files import file_of, with_texts
from gpu_runtime.work import Encoding
from gpu_runtime.workshop.tools import Encoded, Tools

FORMATS: Final = ("PNG", "JPEG", "WEBP")


def fake_tools(step_ms: float = 0.0) -> Tools:
    """Each step of an operation pauses for `step_ms` milliseconds."""
    return Tools(
        device="fake",
        run_of=partial(fake_run_of, step_ms=step_ms),
        read=read,
        as_input=as_input,
        encode=encode,
        as_fault=as_fault,
        is_lack_of_memory=is_lack_of_memory,
        release_memory=_nothing,
        size_bytes=_no_bytes,
        guard=nullcontext,
    )


def read(image: ImageInput, name: str) -> FakePicture:
    """What stands for the picture in a file; only its header is read. Raises PictureUnusable for damage."""
    try:
        with Image.open(io.BytesIO(image.data), formats=FORMATS) as file:
            width, height, has_alpha = file.width, file.height, file.has_transparency_data
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureUnusable(f"{name} cannot be decoded: {error}", code="picture_unreadable") from error
    return FakePicture(words=image.digest, seed=0, width=width, height=height, has_alpha=has_alpha)


def as_input(picture: Any) -> ImageInput:
    """Nobody decodes it. Raises RuntimeFault for a value that is no picture."""
    if not isinstance(picture, FakePicture):
        raise RuntimeFault(f"an image request refers to a {type(picture).__name__}, which is no picture")
    return ImageInput(data=b"fake", digest=hashlib.sha256(repr(picture).encode()).hexdigest())


def encode(picture: FakePicture, encoding: Encoding, index: int) -> Encoded:
    """A real file of coloured bars, or for other formats than opaque PNG of one colour."""
    size, texts = (picture.width, picture.height), encoding.texts_of(index)
    colour = fake_colour(picture.words, picture.seed)
    if encoding.media_type == "image/png":
        if picture.has_alpha:
            buffer = io.BytesIO()
            Image.new("RGBA", size, (*colour, 128)).save(buffer, "PNG", compress_level=1)
            data = buffer.getvalue()
        else:
            data = fake_png(picture.words, picture.seed, width=picture.width, height=picture.height)
        data = with_texts(data, texts, encoding)
    else:
        data = file_of(Image.new("RGB", size, colour), texts, encoding)
    return Encoded(data=data, media_type=encoding.media_type, width=picture.width, height=picture.height)


def as_fault(error: Exception, doing: str) -> RuntimeFault:
    """The error itself when it is a fault, else one that says what happened. Raises DeviceLost."""
    if isinstance(error, DeviceLost):
        raise error
    if isinstance(error, MemoryError):
        return OutOfMemory(f"out of memory while {doing}")
    if isinstance(error, RuntimeFault):
        return error.with_traceback(None)
    return RuntimeFault(f"{error!r} while {doing}")


def is_lack_of_memory(error: BaseException) -> bool:
    """As operations in tests say it."""
    return isinstance(error, MemoryError | OutOfMemory)


def _nothing() -> None:
    """The fake holds no memory."""


def _no_bytes(_weights: Any, _folder: Path) -> int:
    return 0
