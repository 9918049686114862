"""`faces.restore`: every face of a picture made clear by a network."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.faces import networks_of, rgb
from gpu_runtime.people.face_restoration import (
    RestorationNetwork,
    framed,
    is_restorable,
    lay_back,
    open_restorer,
    to_frame,
)
from gpu_runtime.people.faces import find_faces
from gpu_runtime.postprocess.channels import has_alpha
from gpu_runtime.postprocess.pieces import within

T = TypeVar("T")

SLICE_S: Final = 0.05
"""How long a slice waits for the network, which runs on the CPU in a thread: the device is free meanwhile."""


def restore(context: Context) -> Iterator[float]:
    """image -> the same with its faces restored by "model"; one without faces stays as it is.

    `visibility` is how much of the restored face is laid over the picture; `weight` is CodeFormer's: 0
    restores the most, 1 keeps the most. Notes "faces", how many were restored.
    """
    visibility, weight = _share(context, "visibility", 1.0), _share(context, "weight", 0.5)
    network = context.load("model", _restorer)
    picture = rgb(context, "image").copy()
    faces = yield from within(find_faces(picture, networks_of(context)), 0.0, 0.3)
    faces = [face for face in faces if is_restorable(face)]
    # Smallest first: nearer faces, which are larger, are laid over those behind them.
    for number, face in enumerate(reversed(faces)):
        matrix, share = to_frame(face), 0.3 + 0.7 * number / len(faces)
        frame = framed(picture, matrix)
        made = yield from _beside(partial(network.restored, frame, weight), share)
        lay_back(picture, made, matrix, visibility=visibility)
        yield 0.3 + 0.7 * (number + 1) / len(faces)
    context.note("faces", len(faces))
    given = context.picture("image")
    context.put("image", np.dstack([picture, given[:, :, 3]]) if has_alpha(given) else picture)


def _beside(work: Callable[[], T], share: float) -> Generator[float, None, T]:
    """Do the work in a thread; yields the same share until it is done."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="restore-face")
    try:
        running = pool.submit(work)
        while not wait([running], timeout=SLICE_S).done:
            yield share
        return running.result()
    finally:
        # A request that is canceled meanwhile leaves the thread to its end, and nobody takes the result.
        pool.shutdown(wait=False)


def _share(context: Context, name: str, default: float) -> float:
    value = context.number(name, default)
    if not 0 <= value <= 1:
        raise UnsupportedCombination(f"{name} must be 0 to 1, not {value:g}")
    return value


def _restorer(folder: Path, _device: str) -> RestorationNetwork:
    return open_restorer(folder)
