"""What the Workshop needs of the world, as one value of functions: operations, pictures, files, the device.

There are two sets: `torch_tools` and the stand-in's in `gpu_runtime.fake_tools`. No torch here.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import ImageInput
from gpu_runtime.operations.context import Run
from gpu_runtime.work import Encoding


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One image file."""

    data: bytes
    media_type: str
    width: int
    """In pixels."""
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Pictures are Any: arrays of `operations.context.Picture`, or what the stand-in has in their place."""

    device: str
    """Where torch networks of operations run: "cpu" or "cuda:0"."""
    run_of: Callable[[str], Run]
    """The code of an operation of the registry."""
    read: Callable[[ImageInput, str], Any]
    """The picture in an image file; the second argument names it in faults. Raises PictureUnusable."""
    as_input: Callable[[Any], ImageInput]
    """A picture as the engine takes it."""
    encode: Callable[[Any, Encoding, int], Encoded]
    """The file of one image, by its index. Called in threads."""
    as_fault: Callable[[Exception, str], RuntimeFault]
    """The fault to report for an error while doing something, without frames that keep pictures alive.

    Raises DeviceLost when all requests are hit.
    """
    is_lack_of_memory: Callable[[Exception], bool]
    release_memory: Callable[[], None]
    """Hand back what is cached, after references to it were dropped."""
    size_bytes: Callable[[Any, Path], int]
    """Of weights that were loaded from a folder."""
    guard: Callable[[], AbstractContextManager[Any]]
    """Around every slice of an operation."""
