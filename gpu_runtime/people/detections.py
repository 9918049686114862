"""What single-shot detectors of MediaPipe's kind return: boxes with points, told apart by overlap.

Source: Bazarevsky et al. 2019, arXiv:1907.05047: anchors of one size, so that only their centres matter, and
overlapping detections are averaged by score where others keep the best one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from gpu_runtime.people.onnx_network import Floats, OnnxNetwork
from gpu_runtime.people.regions import Pixels, Points, Region

OVERLAP = 0.3
"""Detections that share more of their union are one."""
LOGIT_LIMIT = 80.0
"""float32's exponential stays finite."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Something found, in pixels of the picture."""

    score: float
    """0 to 1."""
    centre: Points
    """[1, 2]"""
    size: float
    """The longer side of its box."""
    points: Points
    """[count, 2]; what they mean is the network's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detector:
    """A network with what its numbers mean."""

    network: OnnxNetwork
    input_px: int
    strides: tuple[int, ...]
    """Of its output layers; each place of a layer has two anchors."""

    def find(self, picture: Pixels, region: Region, *, threshold: float) -> list[Detection]:
        """What is seen in one region, best first; the same thing may be there several times."""
        crop = region.crop(picture, self.input_px).astype(np.float32) / 127.5 - 1
        values, logits = self.network.run(crop)
        scores = _sigmoid(logits.reshape(-1))
        [kept] = np.nonzero(scores >= threshold)
        centres = anchor_centres(self.input_px, self.strides)[kept]
        decoded = values.reshape(len(scores), -1)[kept] / np.float32(self.input_px)
        order = np.argsort(-scores[kept], kind="stable")
        return [_detection(region, decoded[i], centres[i], float(scores[kept][i])) for i in order]


def _detection(region: Region, values: Floats, anchor: Floats, score: float) -> Detection:
    """`values`: x, y of the box's centre, its width and height, then points; in shares of the input."""
    pairs = values.reshape(-1, 2)
    places = np.concatenate([pairs[:1], pairs[2:]]) + anchor
    back = region.bring_back(places.astype(np.float32))[:, :2]
    return Detection(score, back[:1], float(pairs[1].max()) * region.side, back[1:])


def anchor_centres(input_px: int, strides: Sequence[int]) -> Floats:
    """[anchors, 2] in shares of the input, row by row; layers of one stride share their places."""
    parts = []
    for stride, layers in groupby(strides):
        cells = input_px // stride
        axis = (np.arange(cells, dtype=np.float32) + 0.5) / cells
        grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
        parts.append(np.repeat(grid, 2 * len(list(layers)), axis=0))
    return np.concatenate(parts)


def merge(found: Iterable[Detection]) -> list[Detection]:
    """One detection for each thing, best first: those that overlap are averaged by their scores."""
    waiting = sorted(found, key=lambda detection: -detection.score)
    merged = []
    while waiting:
        best = waiting[0]
        same = [other for other in waiting if _overlap(best, other) > OVERLAP or other is best]
        waiting = [other for other in waiting if all(other is not one for one in same)]
        merged.append(_average(same))
    return merged


def _average(same: Sequence[Detection]) -> Detection:
    weights = np.array([detection.score for detection in same], dtype=np.float32)
    weights /= weights.sum()

    def mean(values: Iterator[NDArray[np.float32]]) -> Points:
        return np.tensordot(weights, np.stack(list(values)), axes=1).astype(np.float32)

    return Detection(
        same[0].score,
        mean(detection.centre for detection in same),
        float(weights @ np.array([detection.size for detection in same])),
        mean(detection.points for detection in same),
    )


def _overlap(one: Detection, other: Detection) -> float:
    """Intersection over union of upright squares."""
    apart = np.abs(one.centre - other.centre)[0]
    reach = (one.size + other.size) / 2
    shared = np.clip(np.minimum(reach - apart, min(one.size, other.size)), 0, None)
    area = float(shared[0] * shared[1])
    return area / (one.size**2 + other.size**2 - area)


def _sigmoid(logits: Floats) -> Floats:
    likely = 1 / (1 + np.exp(-np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)))
    return likely.astype(np.float32)
