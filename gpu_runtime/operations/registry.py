"""Which operations there are: what each takes and leaves, and where its code lies. No numpy, no torch here.

Code is named by module and function and imported when it first runs, so that the stand-in runtime can check
requests where neither torch nor cv2 is installed.

To add an operation: a function of the type `context.Run` in a module of this package, an entry below, how its
results are sized in `gpu_runtime/fake_operations.py`, and a test in `tests/gpu_runtime/operations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gpu_runtime.operations.context import Run


class Retry(StrEnum):
    """What a second try after a lack of memory does differently."""

    NONE = "none"
    """There is none: the request fails with OutOfMemory."""
    CPU = "cpu"
    """`Context.device` is the CPU."""
    SMALLER = "smaller"
    """`Context.is_cramped` is set, and the operation takes less at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation."""

    code: str
    """"module:function", the module within this package."""
    inputs: tuple[str, ...] = ("image",)
    """Parameters that a request must give."""
    optional: tuple[str, ...] = ()
    """Parameters that it may give."""
    outputs: tuple[str, ...] = ("image",)
    steps: int = 1
    """How many denoising steps it counts as in the progress of a request."""
    retry: Retry = Retry.NONE


def _detector(code: str, *, retry: Retry = Retry.NONE) -> Entry:
    """Makes a control map of a picture, of its size."""
    return Entry(code=code, optional=("mask",), steps=2, retry=retry)


ENTRIES: Final[Mapping[str, Entry]] = {
    "canvas.fit": Entry(code="canvas:fit"),
    "canvas.expand": Entry(code="canvas:expand", outputs=("image", "mask")),
    "mask.prepare": Entry(code="masks:prepare", inputs=("mask",), outputs=("mask",)),
    "mask.fill": Entry(code="masks:fill", inputs=("image", "mask")),
    "mask.crop": Entry(code="masks:crop", inputs=("image", "mask"), outputs=("image", "mask", "box")),
    "mask.paste": Entry(code="masks:paste", inputs=("image", "original", "mask"), optional=("box",)),
    "mask.erase": Entry(code="erase:erase", inputs=("image", "mask"), steps=2, retry=Retry.CPU),
    "mask.from_text": Entry(code="caption:mask_from_text", outputs=("mask",), steps=4, retry=Retry.CPU),
    "upscale": Entry(code="upscale:upscale", steps=10, retry=Retry.SMALLER),
    "background.remove": Entry(
        code="background:remove",
        optional=("background",),
        outputs=("image", "mask"),
        steps=4,
        retry=Retry.CPU,
    ),
    "detect.canny": _detector("detect_edges:canny"),
    "detect.softedge": _detector("detect_edges:softedge", retry=Retry.CPU),
    "detect.scribble": _detector("detect_edges:scribble", retry=Retry.CPU),
    "detect.lineart": _detector("detect_lines:lineart"),
    "detect.mlsd": _detector("detect_lines:mlsd"),
    "detect.threshold": _detector("detect_lines:threshold"),
    "detect.openpose": _detector("detect_pose:openpose"),
    "detect.face": _detector("detect_pose:face"),
    "detect.depth": _detector("detect_depth:depth", retry=Retry.CPU),
    "detect.normal": _detector("detect_depth:normal", retry=Retry.CPU),
    "detect.segmentation": _detector("detect_depth:segmentation", retry=Retry.CPU),
    "detect.tile": _detector("detect_plain:tile"),
    "detect.shuffle": _detector("detect_plain:shuffle"),
    "detect.blur": _detector("detect_plain:blur"),
    "detect.gray": _detector("detect_plain:gray"),
    "detect.inpaint": _detector("detect_plain:inpaint"),
    "faces.detect": Entry(code="faces:detect", outputs=("faces",), steps=1),
    "faces.restore": Entry(code="face_restore:restore", steps=8),
    "faces.swap": Entry(code="face_swap:swap", inputs=("target", "source"), optional=("reference",), steps=4),
    "safety.check": Entry(code="safety:check"),
    "picture.caption": Entry(code="caption:caption", outputs=(), steps=8, retry=Retry.CPU),
}


def run_of(name: str) -> Run:
    """The code of an operation in ENTRIES, imported when it is first asked for."""
    module, function = ENTRIES[name].code.split(":")
    run: Run = getattr(import_module(f"gpu_runtime.operations.{module}"), function)
    return run
