"""Networks that restore faces, in ONNX files: a face of 512 x 512 pixels in, the same face out.

All makes want colours from -1 to 1 and faces that lie as in FFHQ. CodeFormer takes a number beside the face,
by which it is told; the others look alike in their headers, and are told by their names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.onnx_header import OnnxHeader, OnnxValue
from gpu_runtime.weights.taxonomy import ComponentFacts, FileFormat, Identified, ModelKind

FACE_PX: Final = 512
CODEFORMER: Final = "codeformer"
MAKES: Final = ("gfpgan", CODEFORMER, "restoreformer")
"""Variants, and what names contain."""

_UNSPELLED: Final = re.compile(r"[^a-z0-9]+")
_NUMBERS: Final = ("F32", "F64")


def claim(file: Path, header: OnnxHeader) -> Identified | None:
    """None for what takes or makes something else; NotRecognised where nothing tells the make."""
    if not _is_face(header.inputs[0]) or not _is_face(header.outputs[0]) or len(header.inputs) > 2:
        return None
    if len(header.inputs) == 2 and not _is_number(header.inputs[1]):
        return None
    make = CODEFORMER if len(header.inputs) == 2 else _named(file)
    if not make:
        raise NotRecognised(
            f"{file.name} is an ONNX model that takes and makes pictures of {FACE_PX} x {FACE_PX} pixels; if "
            f"it restores faces, name the file after its make: {', '.join(MAKES)}"
        )
    return Identified(
        kind=ModelKind.FACE,
        family="",
        variant=make,
        file_format=FileFormat.OTHER,
        components=(
            ComponentFacts(
                name="restorer",
                class_name="",
                size_bytes=header.size_bytes,
                tensors=header.weights,
                dtype=header.dtype,
            ),
        ),
        size_bytes=header.size_bytes,
        details={"input_px": FACE_PX},
    )


def _is_face(value: OnnxValue) -> bool:
    shape = value.shape
    if value.dtype != "F32" or shape is None or len(shape) != 4:
        return False
    return shape[0] in (None, 1) and shape[1] == 3 and shape[2:] == (FACE_PX, FACE_PX)


def _is_number(value: OnnxValue) -> bool:
    return (
        value.dtype in _NUMBERS and value.shape is not None and all(side in (None, 1) for side in value.shape)
    )


def _named(file: Path) -> str:
    for name in (file.stem, file.parent.name):
        plain = _UNSPELLED.sub("", name.lower())
        for make in MAKES:
            if make in plain:
                return make
    return ""
