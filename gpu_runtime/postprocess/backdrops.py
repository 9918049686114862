"""What stands before a plain backdrop, found without any network: goods before paper, a logo on white.

The backdrop's colours are followed along the picture's border by a smooth surface. Where the border does not
fit one, the backdrop is not plain, and nothing is claimed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Floats, Mask, Picture

SIDE_PX = 384
"""The longer side of what is looked at."""

SURFACE_PX = 64
"""The longest side at which the backdrop's surface is made."""

PLAIN = 4.0
"""Distance in CIE Lab that most of the border may have from its surface: paper with grain, no wallpaper."""

APART = 12.0
"""Distance in Lab from which a pixel is no backdrop; chosen by eye."""

LEAST = 0.005
"""Of the picture's area that a subject takes up."""

TRIMMED = 0.3
"""Share of the border that may be the subject running out of the picture."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """A plain one, and what stands before it."""

    mask: Floats
    """[h, w], 0 or 1, of what stands there with all of its rim."""
    factors: Floats
    """[6, 3], of the terms of `_terms` in CIE Lab."""

    def colours(self, height: int, width: int) -> Floats:
        """[height, width, 3], RGB, 0 to 1: what the whole picture would show without its subject."""
        # The surface is smooth: a few colours across, enlarged, are all of it.
        small = (_terms(min(height, SURFACE_PX), min(width, SURFACE_PX)) @ self.factors).astype(np.float32)
        rgb = np.clip(cv2.cvtColor(small, cv2.COLOR_LAB2RGB), 0, 1)
        return cv2.resize(rgb, (width, height), interpolation=cv2.INTER_LINEAR)


def find_before_backdrop(picture: Picture) -> Backdrop | None:
    """What an RGB picture shows before its backdrop; None when that is not plain."""
    scale = min(1.0, SIDE_PX / max(picture.shape[:2]))
    size = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    colours = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    factors = _surface(colours)
    if factors is None:
        return None
    distance = np.linalg.norm(colours - _terms(*colours.shape[:2]) @ factors, axis=2)
    apart = cv2.morphologyEx((distance > APART).astype(np.uint8), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    if not LEAST < apart.mean() < 1 - LEAST or _runs_through(apart):
        return None
    return Backdrop(apart.astype(np.float32), factors)


def _terms(height: int, width: int) -> Floats:
    """[height, width, 6]: of a polynomial of second degree, places from -1 to 1."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.stack([np.ones_like(x), x, y, x * y, x * x, y * y], axis=2).astype(np.float32)


def _surface(colours: Floats) -> Floats | None:
    """Factors [6, 3] of the smooth surface through the border's colours."""
    height, width = colours.shape[:2]
    terms = _terms(height, width)
    edge = np.ones((height, width), dtype=np.bool_)
    edge[2:-2, 2:-2] = False
    at, seen = terms[edge], colours[edge]
    kept = np.ones(len(seen), dtype=np.bool_)
    for _ in range(5):
        factors, *_ = np.linalg.lstsq(at[kept], seen[kept], rcond=None)
        errors = np.linalg.norm(seen - at @ factors, axis=1)
        # What the subject covers of the border must not bend the surface.
        kept = errors <= np.quantile(errors, 1 - TRIMMED)
    if errors[kept].max() > PLAIN:
        return None
    found: Floats = factors.astype(np.float32)
    return found


def _runs_through(apart: Mask) -> bool:
    """Whether it touches two opposite sides: then the backdrop has two parts, and this is one of them."""
    across = apart[:, 0].any() and apart[:, -1].any()
    return bool(across or (apart[0].any() and apart[-1].any()))
