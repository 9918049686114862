"""Operations of the stand-in runtime: results of the right size and number, without pixels, torch or cv2."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final, TypeAlias

from gpu_runtime.fake_images import FakePicture
from gpu_runtime.operations.context import Context, Run
from gpu_runtime.operations.registry import ENTRIES

Resize: TypeAlias = Callable[[Context, FakePicture], tuple[int, int]]
"""Width and height of an operation's pictures, from its settings and its first input."""

BOX: Final = (0, 0, 1, 1)
NO_FACES: Final[tuple[object, ...]] = ()


def fake_run_of(name: str, *, step_ms: float = 0.0) -> Run:
    """What stands for an operation of the registry; each of its steps pauses for `step_ms`."""

    def run(context: Context) -> Iterator[float]:
        steps = ENTRIES[name].steps
        for step in range(steps):
            if step_ms:
                time.sleep(step_ms / 1000)
            yield (step + 1) / steps
        _put_results(context)

    return run


def _put_results(context: Context) -> None:
    name = context.operation
    first = context.value("original" if name == "mask.paste" else ENTRIES[name].inputs[0])
    width, height = SIZES.get(name, _same)(context, first)
    made = replace(first, words=f"{name} of {first.words}", width=width, height=height)
    if name == "background.remove":
        made = replace(made, has_alpha=not (context.text("colour") or context.has("background")))
    values = {"image": made, "mask": replace(made, has_alpha=False), "box": BOX, "faces": NO_FACES}
    for output in ENTRIES[name].outputs:
        context.put(output, values[output])
    for key, value in NOTES.get(name, {}).items():
        context.note(key, value)


def _same(_context: Context, picture: FakePicture) -> tuple[int, int]:
    return picture.width, picture.height


def _stated(context: Context, picture: FakePicture) -> tuple[int, int]:
    """As settings say, or as it is."""
    return context.whole("width") or picture.width, context.whole("height") or picture.height


def _expanded(context: Context, picture: FakePicture) -> tuple[int, int]:
    width = picture.width + context.whole("left") + context.whole("right")
    return width, picture.height + context.whole("top") + context.whole("bottom")


def _enlarged(context: Context, picture: FakePicture) -> tuple[int, int]:
    if context.whole("width") and context.whole("height"):
        return _stated(context, picture)
    factor = context.whole("factor", 4)
    return picture.width * factor, picture.height * factor


SIZES: Final[dict[str, Resize]] = {
    "canvas.fit": _stated,
    "canvas.expand": _expanded,
    "mask.prepare": _stated,
    "mask.crop": _stated,
    "upscale": _enlarged,
}

NOTES: Final[dict[str, dict[str, object]]] = {
    "background.remove": {"cut_out": "person"},
    "faces.detect": {"faces": 0, "face_boxes": []},
    "faces.restore": {"faces": 1},
    "faces.swap": {"faces": 1, "faces_found": 1, "chosen_by": "size"},
    "safety.check": {"nsfw": 0.0, "is_nsfw": False, "is_replaced": False},
    "picture.caption": {"caption": "a test card"},
}
"""What operations say beside their pictures, as the real ones do."""
