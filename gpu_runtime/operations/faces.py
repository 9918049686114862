"""`faces.detect`, and what operations on faces share: networks, and refusals that name the picture."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from gpu_runtime.errors import PictureUnusable
from gpu_runtime.operations.context import Context
from gpu_runtime.people.detections import Detector
from gpu_runtime.people.faces import Face, FaceNetworks, descriptions, find_faces, open_detector, open_mesh
from gpu_runtime.people.onnx_network import OnnxNetwork
from gpu_runtime.people.regions import Pixels
from gpu_runtime.postprocess.channels import as_rgb


def detect(context: Context) -> Iterator[float]:
    """image -> faces, a list of `people.faces.Face`, largest first; none is no fault.

    Notes "faces", how many, and "face_boxes", where: left, top, right and bottom in pixels, and a score.
    """
    faces = yield from find_faces(rgb(context, "image"), networks_of(context))
    context.put("faces", faces)
    context.note("faces", len(faces))
    context.note("face_boxes", descriptions(faces))
    yield 1.0


def networks_of(context: Context) -> FaceNetworks:
    """From the weights "detector" and "mesh"."""
    return FaceNetworks(context.load("detector", _detector), context.load("mesh", _mesh))


def require_faces(context: Context, name: str) -> Generator[float, None, list[Face]]:
    """The faces of an input, largest first. Raises PictureUnusable, naming the input, when there are none."""
    faces = yield from find_faces(rgb(context, name), networks_of(context))
    if not faces:
        raise PictureUnusable(
            f"no face was found in {NAMES.get(name, name)}: use a picture in which the face is in view, "
            "in focus and at least 40 pixels wide",
            code="no_face",
        )
    return faces


NAMES = {
    "image": "the image",
    "target": "the target image (the picture whose face is replaced)",
    "source": "the source image (the picture that brings the new face)",
    "reference": "the reference image (the picture of the face to replace)",
}
"""What callers know pictures by."""


def rgb(context: Context, name: str) -> Pixels:
    """An input as [h, w, 3]."""
    return np.ascontiguousarray(as_rgb(context.picture(name)))


def _detector(folder: Path, _device: str) -> Detector:
    return open_detector(folder)


def _mesh(folder: Path, _device: str) -> OnnxNetwork:
    return open_mesh(folder)
