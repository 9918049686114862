"""Faces made clear by a network: each brought into the frame that the network knows, and laid back softly.

The networks (GFPGAN, CodeFormer, RestoreFormer++ as published for ONNX) were trained on faces of 512 x 512
pixels that lie as in FFHQ. Sources: Wang et al. 2021, arXiv:2101.04061; Zhou et al. 2022, arXiv:2206.11253;
Wang et al. 2023, arXiv:2308.07228.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.people.face_points import LEFT_EYE, RIGHT_EYE
from gpu_runtime.people.faces import Face
from gpu_runtime.people.onnx_network import open_session
from gpu_runtime.people.regions import Pixels, Points

Floats = NDArray[np.float32]

FRAME_PX: Final = 512

FRAME_POINTS: Final = np.array(
    [
        (192.98, 239.95),
        (318.90, 240.19),
        (256.63, 314.02),
        (201.26, 371.41),
        (313.09, 371.15),
    ],
    dtype=np.float64,
)
"""Where FFHQ's mean face has eyes (first the one on the left of the picture), nose and mouth's corners."""

NOSE, MOUTH_CORNERS = 1, (61, 291)
"""Of the mesh."""

SOFT_PX: Final = 72
"""Width of the frame's border over which the restored face fades out; its hair and neck go on outside."""

LEAST_EYES_PX: Final = 6.0
"""Distance of the eyes below which there is nothing of a face to restore."""


class RestorationNetwork:
    """One file that takes a face [1, 3, 512, 512] of colours from -1 to 1, and perhaps a number beside it."""

    def __init__(self, file: Path) -> None:
        """Raises WeightsCorrupt for a file that takes something else."""
        self._session = open_session(file)
        given = self._session.get_inputs()
        if not given or list(given[0].shape[1:]) != [3, FRAME_PX, FRAME_PX] or len(given) > 2:
            raise WeightsCorrupt(f"{file} is no network that restores faces of {FRAME_PX} pixels")
        self._face = given[0].name
        self._weight: Any = given[1] if len(given) == 2 else None  # untyped in onnxruntime

    def restored(self, frame: Pixels, weight: float) -> Pixels:
        """The face in the frame [512, 512, 3], restored. `weight` as CodeFormer has it, 0 to 1."""
        channels = np.ascontiguousarray(frame.transpose(2, 0, 1)[None], dtype=np.float32)
        values = channels / np.float32(127.5) - 1
        inputs: dict[str, NDArray[Any]] = {self._face: values}
        if self._weight is not None:
            kind = np.float64 if "double" in self._weight.type else np.float32
            inputs[self._weight.name] = np.full([1] * len(self._weight.shape), weight, dtype=kind)
        made: Floats = self._session.run(None, inputs)[0][0]
        levels = np.round((np.clip(made, -1, 1) + 1) * 127.5)
        return np.ascontiguousarray(levels.astype(np.uint8).transpose(1, 2, 0))


def open_restorer(folder: Path) -> RestorationNetwork:
    """The network of an entry's folder. Raises WeightsCorrupt."""
    files = sorted(folder.rglob("*.onnx"))
    if len(files) != 1:
        raise WeightsCorrupt(f"{folder} should hold one ONNX file that restores faces, not {len(files)}")
    return RestorationNetwork(files[0])


def is_restorable(face: Face) -> bool:
    """Whether it is large enough to be more than a few pixels."""
    eyes = _points_of(face.mesh)[:2]
    return float(np.linalg.norm(eyes[1] - eyes[0])) >= LEAST_EYES_PX


def to_frame(face: Face) -> Floats:
    """[2, 3]: takes pixels of the picture to those of the frame; turns, scales and moves, and no more.

    Source: Umeyama 1991, least squares over five points, written with complex numbers.
    """
    own, frame = (points[:, 0] + 1j * points[:, 1] for points in (_points_of(face.mesh), FRAME_POINTS))
    centred = own - own.mean()
    turn = (np.conj(centred) @ (frame - frame.mean())) / (np.conj(centred) @ centred).real
    moved = frame.mean() - turn * own.mean()
    return np.array(
        [[turn.real, -turn.imag, moved.real], [turn.imag, turn.real, moved.imag]], dtype=np.float32
    )


def framed(picture: Pixels, matrix: Floats) -> Pixels:
    """[512, 512, 3]: the face in its frame; what lies outside the picture is mirrored at its edge."""
    low, high = _reach(matrix, picture)
    # A face may be a small part of a large picture, of which the rest need not be touched.
    part, moved = picture[low[1] : high[1], low[0] : high[0]], matrix.copy()
    moved[:, 2] += matrix[:, :2] @ low.astype(np.float32)
    # What becomes smaller loses its fine detail first, which would come out as a pattern.
    part = _blurred(part, 1 / _scale(matrix))
    frame = (FRAME_PX, FRAME_PX)
    return np.asarray(
        cv2.warpAffine(part, moved, frame, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    )


def lay_back(picture: Pixels, restored: Pixels, matrix: Floats, *, visibility: float) -> None:
    """Write the restored face [512, 512, 3] into the picture, as much of it as `visibility` says."""
    low, high = _reach(matrix, picture)
    back = np.asarray(cv2.invertAffineTransform(matrix), dtype=np.float32)
    back[:, 2] -= low.astype(np.float32)
    size = (int(high[0] - low[0]), int(high[1] - low[1]))
    shown = _blurred(restored, _scale(matrix))
    face = cv2.warpAffine(shown, back, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(_soft_frame(), back, size, flags=cv2.INTER_LINEAR)[:, :, None] * visibility
    part = picture[low[1] : high[1], low[0] : high[0]]
    mixed = part * (1 - share) + face * share
    part[:] = np.round(mixed).astype(np.uint8)


def _reach(matrix: Floats, picture: Pixels) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last pixel + 1, (x, y) each, of the box around what of the picture lies in the frame."""
    back = cv2.invertAffineTransform(matrix)
    corners = np.array([(0, 0), (FRAME_PX, 0), (FRAME_PX, FRAME_PX), (0, FRAME_PX)], dtype=np.float32)
    reached = corners @ back[:, :2].T + back[:, 2]
    size = np.array([picture.shape[1], picture.shape[0]])
    # The face itself is in the picture, and so is a part of its frame.
    low = np.clip(np.floor(reached.min(axis=0)).astype(np.int64), 0, size - 1)
    return low, np.clip(np.ceil(reached.max(axis=0)).astype(np.int64) + 1, low + 1, size)


def _scale(matrix: Floats) -> float:
    """Pixels of the frame for one of the picture."""
    return float(np.hypot(matrix[0, 0], matrix[1, 0]))


def _blurred(picture: Pixels, shrinking: float) -> Pixels:
    """Without the detail that a picture loses which is made so many times smaller."""
    if shrinking <= 1:
        return picture
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(0.5 * (shrinking - 1), 1e-3)))


def _points_of(mesh: Points) -> NDArray[np.float64]:
    """[5, 2]: what FRAME_POINTS are of this face."""
    eyes = [mesh[list(eye), :2].mean(axis=0) for eye in (RIGHT_EYE, LEFT_EYE)]
    return np.array([*eyes, *mesh[[NOSE, *MOUTH_CORNERS], :2]], dtype=np.float64)


def _soft_frame() -> Floats:
    """[512, 512]: 1 in the middle, 0 at the border, without a kink at either."""
    from_edge = np.minimum(np.arange(FRAME_PX), np.arange(FRAME_PX)[::-1]) / SOFT_PX
    rising = np.clip(from_edge, 0, 1)
    rising = rising * rising * (3 - 2 * rising)
    return np.outer(rising, rising).astype(np.float32)
