"""Edges thinned and drawn: soft edges, lines, straight lines. numpy and cv2."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
"""[height, width], 0 to 255."""
Floats = NDArray[np.float32]

DIRECTIONS = (
    ((0, 0, 0), (1, 1, 1), (0, 0, 0)),
    ((0, 1, 0), (0, 1, 0), (0, 1, 0)),
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
)

FAINTEST = 0.008
"""Difference of brightness, of the whole range, that is worth drawing: below lies skin, cloth and noise."""
XDOG_SIGMA = 0.9
"""In pixels at a working resolution of 512."""
XDOG_RATIO = 1.6
"""Of the wider blur to the narrower: a difference of Gaussians then resembles a Laplacian."""


def scribble(edges: Grey, *, threshold: float = 127.0, sigma: float = 3.0) -> Grey:
    """Soft edges as strokes of a pen: their ridges, cut at `threshold`, thickened and cut again. 0 or 255."""
    soft = cv2.GaussianBlur(edges.astype(np.float32), (0, 0), sigma)
    ridges = np.zeros_like(soft)
    for direction in DIRECTIONS:
        highest = cv2.dilate(soft, np.array(direction, dtype=np.uint8))
        np.putmask(ridges, highest == soft, soft)
    strokes = np.where(ridges > threshold, np.float32(255), np.float32(0))
    thick = cv2.GaussianBlur(strokes, (0, 0), sigma)
    return np.where(thick > 4, np.uint8(255), np.uint8(0))


def lineart(luma: Grey, *, sharpness: float = 32.0, sigma: float = XDOG_SIGMA) -> Grey:
    """Dark lines, white on black with soft ends. `sharpness`, 1 to 64: higher draws fainter ones.

    Source: Winnemöller et al. 2012, "XDoG: an eXtended difference-of-Gaussians".
    """
    calm = cv2.bilateralFilter(luma, 5, 30, 3).astype(np.float32) / 255
    narrow = cv2.GaussianBlur(calm, (0, 0), sigma)
    wide = cv2.GaussianBlur(calm, (0, 0), sigma * XDOG_RATIO)
    dark = np.clip(wide - narrow, 0, None)
    lines = np.tanh(np.clip(dark - FAINTEST * 32 / sharpness, 0, None) * sharpness * 1.5)
    return np.round(lines * 255).astype(np.uint8)


def straight_lines(luma: Grey, *, weakest: float = 0.1, shortest_px: float = 30.0) -> Grey:
    """Straight lines, white on black, 0 to 255: at least as long and with as steep an edge (0 to 1) as asked.

    Source: Grompone von Gioi et al. 2010, LSD.
    """
    found = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(luma)[0]
    canvas = np.zeros_like(luma)
    if found is None:
        return canvas
    slopes = _slopes(luma)
    for x1, y1, x2, y2 in found.reshape(-1, 4):
        if float(np.hypot(x2 - x1, y2 - y1)) < shortest_px:
            continue
        if _steepness(slopes, (x1, y1), (x2, y2)) >= weakest:
            ends = [(round(float(x) * 16), round(float(y) * 16)) for x, y in ((x1, y1), (x2, y2))]
            cv2.line(canvas, ends[0], ends[1], 255, 1, cv2.LINE_AA, shift=4)
    return canvas


def _slopes(luma: Grey) -> Floats:
    """Largest change in brightness at each pixel, 0 to 1 of the range over four pixels."""
    soft = cv2.GaussianBlur(luma, (0, 0), 0.8).astype(np.float32) / 255
    across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0) / 2, cv2.Sobel(soft, cv2.CV_32F, 0, 1) / 2
    return np.asarray(cv2.magnitude(across, down), dtype=np.float32)


def _steepness(slopes: Floats, start: tuple[float, float], end: tuple[float, float]) -> float:
    """Median along the line."""
    count = max(int(np.hypot(end[0] - start[0], end[1] - start[1]) / 2), 2)
    xs = np.clip(np.linspace(start[0], end[0], count).round().astype(int), 0, slopes.shape[1] - 1)
    ys = np.clip(np.linspace(start[1], end[1], count).round().astype(int), 0, slopes.shape[0] - 1)
    return float(np.median(slopes[ys, xs]))
