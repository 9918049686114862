"""A rough mask of a picture's subject by a network: 0 to 1, at the network's own size.

Two kinds of networks: MediaPipe's segmentation of people, which ships, and general ones (U2Net, ISNet,
BiRefNet) in the ONNX files that are published of them, imported with what they expect of their input.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.people.onnx_network import OnnxNetwork
from gpu_runtime.postprocess.channels import Floats, Picture
from gpu_runtime.weights.taxonomy import Detail

PERSON = "person"
"""Variant of weights that take [S, S, 3], 0 to 1, and tell people from the rest."""

PADDING = 0.15
"""Of a subject's box, at each side, that a second look takes in."""

IN_DOUBT = 0.5
"""Share of the pixels that may be a person's of which the network is unsure, from which there is no person:
0.17 for a portrait, 0.63 and 0.75 for a drawn ring and a cup."""

WORTH_A_SECOND_LOOK = 0.6
"""Of the picture's area: a subject in a larger box would hardly gain by a look at it alone."""


@dataclass(frozen=True, slots=True)
class CutOutNetwork:
    """One file and what it wants."""

    network: OnnxNetwork
    input_px: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of colours from 0 to 1, one number or three; what is given is (colour - mean) / std."""
    is_person: bool

    def look(self, picture: Picture) -> Floats:
        """The mask [h, w] of an RGB picture of any size, which is stretched to what the network takes."""
        side = (self.input_px, self.input_px)
        small = cv2.resize(picture, side, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        if not self.is_person:
            return self._answer((small - np.array(self.mean, np.float32)) / np.array(self.std, np.float32))
        # Its opinion of the mirrored picture errs elsewhere; both together err less.
        return (self._answer(small) + self._answer(small[:, ::-1])[:, ::-1]) / 2

    def _answer(self, image: Floats) -> Floats:
        given = image if self.is_person else image.transpose(2, 0, 1)
        mask: Floats = np.squeeze(self.network.run(given)[0])
        if mask.ndim != 2:
            raise WeightsCorrupt(f"a cut-out network answers one mask, not an array of shape {mask.shape}")
        if mask.min() < -0.01 or mask.max() > 1.01:
            # Some files end before the last function.
            mask = 1 / (1 + np.exp(-mask))
        return mask.astype(np.float32)


def load_cut_out(path: Path, *, variant: str, details: Mapping[str, Detail]) -> CutOutNetwork:
    """The network of an entry's folder. Raises WeightsCorrupt when there is none, or it lacks its facts."""
    files = sorted(path.rglob("*.onnx"))
    if len(files) != 1:
        raise WeightsCorrupt(f"{path} should hold one ONNX file that cuts out, not {len(files)}")
    return CutOutNetwork(
        network=OnnxNetwork(files[0]),
        input_px=int(_numbers(details, "input_px", "256")[0]),
        mean=_numbers(details, "mean", "0"),
        std=_numbers(details, "std", "1"),
        is_person=variant == PERSON,
    )


def _numbers(details: Mapping[str, Detail], name: str, default: str) -> tuple[float, ...]:
    """A fact that may be a number or a tuple of their texts. Raises WeightsCorrupt for anything else."""
    value = details.get(name, default)
    texts = value if isinstance(value, tuple) else (str(value),)
    try:
        return tuple(float(text) for text in texts)
    except ValueError:
        raise WeightsCorrupt(f"{name} of a cut-out network must be numbers, not {value!r}") from None


def is_certain(mask: Floats) -> bool:
    """Whether a mask by the network for people means a person."""
    possible, likely = (mask > 0.1).sum(), (mask > 0.9).sum()
    return bool(likely > IN_DOUBT * possible)


def second_look(network: CutOutNetwork, picture: Picture, mask: Floats) -> Floats:
    """The mask again, sharper, where its subject takes up a small part of the picture; else the same.

    The network then sees the subject's box alone. What lies outside the box is nothing.
    """
    rows, columns = np.flatnonzero((mask > 0.5).any(axis=1)), np.flatnonzero((mask > 0.5).any(axis=0))
    if not rows.size:
        return mask
    height, width = picture.shape[:2]
    top, bottom = _widened(rows, mask.shape[0], height)
    left, right = _widened(columns, mask.shape[1], width)
    if (bottom - top) * (right - left) > WORTH_A_SECOND_LOOK * height * width:
        return mask
    closer = network.look(np.ascontiguousarray(picture[top:bottom, left:right]))
    scale = max(closer.shape[0] / (bottom - top), closer.shape[1] / (right - left))
    scale = min(1.0, scale)
    whole = np.zeros((round(height * scale), round(width * scale)), dtype=np.float32)
    y, x = round(top * scale), round(left * scale)
    size = (round(right * scale) - x, round(bottom * scale) - y)
    whole[y : y + size[1], x : x + size[0]] = cv2.resize(closer, size, interpolation=cv2.INTER_LINEAR)
    return whole


def _widened(places: NDArray[np.intp], length: int, whole: int) -> tuple[int, int]:
    """First and last place, with padding, in pixels of a picture whose side is `whole`."""
    first, last = int(places[0]) / length * whole, (int(places[-1]) + 1) / length * whole
    padding = PADDING * (last - first)
    return max(0, round(first - padding)), min(whole, round(last + padding))
