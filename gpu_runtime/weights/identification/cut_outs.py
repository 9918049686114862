"""Cut-out networks in ONNX files: one picture in, one mask out, and how each make wants its pictures.

A file does not say what is subtracted from colours before it sees them. Makes that are known by name have
that here; for others whoever imports the file has to say it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.onnx_header import OnnxHeader, OnnxValue
from gpu_runtime.weights.taxonomy import ComponentFacts, Detail, FileFormat, Identified, ModelKind

GENERAL: Final = "general"
NEEDED: Final = ("input_px", "mean", "std")
"""Details without which the network cannot be run."""

FIXED: Final = "is_size_fixed"
"""Detail that is there where the file takes pictures of no other size."""

_IMAGENET: Final = (("0.485", "0.456", "0.406"), ("0.229", "0.224", "0.225"))
_HALF: Final = ("0.5", "0.5", "0.5")
_ONE: Final = ("1.0", "1.0", "1.0")
_UNSPELLED: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What one make wants: (colour - mean) / std of colours from 0 to 1, at `input_px` a side."""

    architecture: str
    input_px: int
    mean: tuple[str, ...]
    std: tuple[str, ...]

    @property
    def details(self) -> dict[str, Detail]:
        """As they are kept with an entry; tuples of texts are what details can hold."""
        return {
            "architecture": self.architecture,
            "input_px": self.input_px,
            "mean": self.mean,
            "std": self.std,
        }


PREPARATIONS: Final[Mapping[str, Preparation]] = {
    "isnetanime": Preparation(architecture="isnet", input_px=1024, mean=_IMAGENET[0], std=_ONE),
    "isnet": Preparation(architecture="isnet", input_px=1024, mean=_HALF, std=_ONE),
    "u2net": Preparation(architecture="u2net", input_px=320, mean=_IMAGENET[0], std=_IMAGENET[1]),
    "silueta": Preparation(architecture="u2net", input_px=320, mean=_IMAGENET[0], std=_IMAGENET[1]),
    "birefnet": Preparation(architecture="birefnet", input_px=1024, mean=_IMAGENET[0], std=_IMAGENET[1]),
    "modnet": Preparation(architecture="modnet", input_px=512, mean=_HALF, std=_HALF),
}
"""By what names contain, without the marks between their words; the longer of two comes first."""


def find_preparation(*names: str) -> Preparation | None:
    """Of the make that one of these names speaks of, the first that does; None for none."""
    for name in names:
        plain = _UNSPELLED.sub("", name.lower())
        for word, preparation in PREPARATIONS.items():
            if word in plain:
                return preparation
    return None


def identified(file: Path, header: OnnxHeader) -> Identified:
    """A cut-out network. Raises NotRecognised for anything else.

    The details that NEEDED names are there as far as file and names tell.
    """
    side = _side_of(file, header)
    known = find_preparation(file.stem, file.parent.name)
    details: dict[str, Detail] = dict(known.details) if known is not None else {}
    if side is not None:
        # What the file itself says counts more than its name: makes are exported in several sizes.
        details |= {"input_px": side, FIXED: True}
    return Identified(
        kind=ModelKind.BACKGROUND_REMOVAL,
        family="",
        variant=GENERAL,
        file_format=FileFormat.OTHER,
        components=(
            ComponentFacts(
                name="cut_out",
                class_name="",
                size_bytes=header.size_bytes,
                tensors=header.weights,
                dtype=header.dtype,
            ),
        ),
        size_bytes=header.size_bytes,
        details=details,
    )


def _side_of(file: Path, header: OnnxHeader) -> int | None:
    """Pixels a side, None where it may vary. Raises NotRecognised unless a picture goes in and a mask out."""
    if len(header.inputs) != 1:
        raise _other(file, f"takes {len(header.inputs)} inputs")
    [given], made = header.inputs, header.outputs[0]
    if given.shape is None or len(given.shape) != 4 or given.shape[1] != 3:
        raise _other(file, f"takes {_shown(given)}")
    if given.shape[0] not in (None, 1):
        raise _other(file, f"takes {given.shape[0]} pictures at a time")
    if made.shape is None or len(made.shape) != 4 or made.shape[1] not in (None, 1):
        raise _other(file, f"makes {_shown(made)}")
    if given.dtype != "F32":
        raise NotRecognised(
            f"{file.name} takes pictures as {given.dtype or 'numbers of an unknown type'}, which is not "
            "supported; import the float32 version"
        )
    height, width = given.shape[2:]
    if height != width:
        raise NotRecognised(
            f"{file.name} takes pictures of {width} x {height} pixels; only square ones are supported"
        )
    return height


def _other(file: Path, what: str) -> NotRecognised:
    return NotRecognised(
        f"{file.name} is an ONNX model that {what}; of ONNX models only cut-out networks are imported, which "
        "take one picture [N, 3, H, W] and make one mask [N, 1, H, W], and networks that restore faces, "
        "which take and make [N, 3, 512, 512]; import the safetensors version"
    )


def _shown(value: OnnxValue) -> str:
    if value.shape is None:
        return "arrays of a shape that it does not say"
    return "an array [" + ", ".join("?" if side is None else str(side) for side in value.shape) + "]"
