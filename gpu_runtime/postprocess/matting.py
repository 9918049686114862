"""From a rough mask of a subject to its alpha, and to its colours without the old background in them.

A network sees 256 to 1024 pixels a side and is unsure along the outline. What lies well inside or outside is
settled first; only the band between is asked again, by the picture's own edges and colours.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Flags, Floats
from gpu_runtime.postprocess.guided_filter import guided_in_parts
from gpu_runtime.postprocess.parts import parts_with
from gpu_runtime.postprocess.pieces import within

SPECK = 0.02
"""Of the largest piece's area: smaller pieces, and smaller holes in it, are the network's mistakes."""

MINOR_PIECE = 0.1
"""The same where a compact shape is asked for."""

BAND = 0.02
"""Of the longer side: how far from a mask's outline its true edge may lie. A pixel of a network is 0.004."""

FOLLOW_EPS = 1e-4
"""Variance of colours, 0 to 1 each, above which an edge of the picture may be the subject's."""


ALIKE = 0.15
"""Squared distance of two colours, 0 to 1 each, at which they tell as much as the edges do. In a portrait
before a beige wall, skin is at 0.01 to 0.03 from the wall and brown hair at 0.5."""

UNEXPLAINED = 0.01
"""Squared distance from every mixture of the two colours that costs most of the trust in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimap:
    """What is settled, [H, W]; the rest is to be found out."""

    inside: Flags
    outside: Flags

    @property
    def open(self) -> Flags:
        """What is not settled."""
        return ~(self.inside | self.outside)


def without_specks(mask: Floats, *, smaller_than: float = SPECK) -> Floats:
    """The mask, 0 to 1, without small pieces and holes smaller than this share of the largest piece."""
    result = mask.copy()
    subject = mask > 0.5
    area = smaller_than * _largest(subject)
    result[_small_pieces(subject, area)] = 0
    result[_small_pieces(~subject, area)] = 1
    return result


def smooth_outline(mask: Floats) -> Floats:
    """The mask as one compact shape: thin bridges and spikes go, what is left has a soft even outline."""
    radius = max(1, round(BAND / 4 * max(mask.shape)))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1,) * 2)
    opened = cv2.morphologyEx((mask > 0.5).astype(np.float32), cv2.MORPH_OPEN, disc)
    cleaned = without_specks(opened, smaller_than=MINOR_PIECE)
    soft = cv2.GaussianBlur(cleaned, (0, 0), radius)
    # Twice as steep as the blur left it: corners stay round, the rim is a few pixels wide.
    return np.clip(2 * soft - 0.5, 0, 1)


def _largest(flags: Flags) -> int:
    _, _, facts, _ = cv2.connectedComponentsWithStats(flags.astype(np.uint8))
    return int(facts[1:, cv2.CC_STAT_AREA].max(initial=0))


def _small_pieces(flags: Flags, area: float) -> Flags:
    count, labels, facts, _ = cv2.connectedComponentsWithStats(flags.astype(np.uint8))
    height, width = flags.shape
    left, top = facts[:, cv2.CC_STAT_LEFT], facts[:, cv2.CC_STAT_TOP]
    right, bottom = left + facts[:, cv2.CC_STAT_WIDTH], top + facts[:, cv2.CC_STAT_HEIGHT]
    # What the picture's border cuts may go on beyond it: its area says nothing.
    is_cut = (left == 0) | (top == 0) | (right == width) | (bottom == height)
    is_small = (facts[:, cv2.CC_STAT_AREA] < area) & ~is_cut
    is_small[0] = False
    return is_small[labels] if count > 1 else np.zeros(flags.shape, dtype=np.bool_)


def band_around(mask: Floats, *, reach: float = BAND) -> Trimap:
    """What lies further from the mask's outline than `reach`, a share of the longer side, is settled."""
    reach_px = max(2.0, reach * max(mask.shape))
    subject = mask > 0.5
    return Trimap(inside=depth(subject) > reach_px, outside=depth(~subject) > reach_px)


def trimap_of(mask: Floats, *, foreground: int, background: int, erode_px: float) -> Trimap:
    """Settled is what the mask, taken as 0 to 255, has above `foreground` or below `background`, less a rim.

    And what lies far from the outline: a doubt in the middle of a jacket is no hair.
    """
    inside, outside = mask * 255 > foreground, mask * 255 < background
    far = band_around(mask, reach=2 * BAND)
    return Trimap(
        inside=(depth(inside) > erode_px) | far.inside, outside=(depth(outside) > erode_px) | far.outside
    )


def depth(flags: Flags) -> Floats:
    """Pixels from each place to the nearest that is not flagged; beyond the picture all are like its edge."""
    if flags.all():
        return np.full(flags.shape, np.inf, dtype=np.float32)
    return cv2.distanceTransform(flags.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)


def follow_edges(picture: Floats, mask: Floats, trimap: Trimap) -> Generator[float, None, Floats]:
    """Alpha [H, W], 0 to 1: the mask along the edges of the picture [H, W, 3], crisp where those are.

    Yields the share that is done.
    """
    radius = max(3, round(BAND / 2 * max(mask.shape)))
    sure = np.where(trimap.inside, 1, np.where(trimap.outside, 0, mask)).astype(np.float32)
    followed = yield from guided_in_parts(picture, sure, trimap.open, radius_px=radius, eps=FOLLOW_EPS)
    # Averages over windows never reach nought and one near an edge: a thin haze would stay.
    return _settled((followed - 0.2) / 0.6, trimap)


def follow_colours(
    picture: Floats, edges: Floats, trimap: Trimap, *, subject: Floats, behind: Floats
) -> Generator[float, None, Floats]:
    """Alpha by how much of the subject's colour each unsettled pixel has; `edges` where colours tell nothing.

    `subject` and `behind` are the settled colours of either, carried on over the rest: [H, W, 3]. Yields the
    share that is done.
    """
    is_inside = edges > 0.5
    away = np.where(is_inside, depth(is_inside), depth(~is_inside)) / (BAND / 2 * max(edges.shape))
    mixed = edges.copy()
    for share, part in parts_with(trimap.open):
        held, trust = mixture(
            picture[part], subject[part], behind[part], alike=ALIKE, unexplained=UNEXPLAINED
        )
        # An ear between hair and a wall looks like a mixture of both: only near the outline can it be one.
        trust *= np.exp(-(away[part] ** 2))
        mixed[part] = trust * held + (1 - trust) * edges[part]
        yield share / 2
    work = guided_in_parts(picture, mixed, trimap.open, radius_px=2, eps=FOLLOW_EPS / 10)
    followed = yield from within(work, 0.5, 1.0)
    return _settled(followed, trimap)


def mixture(
    picture: Floats, subject: Floats, behind: Floats, *, alike: float, unexplained: float
) -> tuple[Floats, Floats]:
    """How much of the subject's colour each pixel has, and how far that is to be believed: [H, W], 0 to 1.

    Believed is what a mixture of the two colours explains, where these differ clearly. `alike` is the squared
    distance of colours, 0 to 1 each, at which half is believed, `unexplained` that from every mixture which
    costs most of it.
    """
    between = subject - behind
    contrast = np.einsum("hwc,hwc->hw", between, between)
    share = np.einsum("hwc,hwc->hw", picture - behind, between) / np.maximum(contrast, 1e-4)
    share = np.clip(share, 0, 1)
    missed = picture - (behind + share[:, :, None] * between)
    error = np.einsum("hwc,hwc->hw", missed, missed)
    return share, contrast**2 / (contrast**2 + alike**2) * np.exp(-error / unexplained)


def _settled(alpha: Floats, trimap: Trimap) -> Floats:
    alpha = np.clip(alpha, 0, 1)
    alpha[trimap.inside], alpha[trimap.outside] = 1, 0
    return alpha.astype(np.float32)


def foreground(picture: Floats, alpha: Floats, *, radii_px: tuple[int, ...] = (90, 6)) -> Floats:
    """Colours [H, W, 3] of the subject alone, for every pixel that it has a part in.

    Source: Forte 2021, "Approximate Fast Foreground Colour Estimation", twice as there, far then near.
    """
    subject = behind = picture
    share = alpha[:, :, None]
    for radius in radii_px:
        window = (2 * radius + 1,) * 2
        weights = cv2.blur(alpha, window)[:, :, None]
        subject_around = cv2.blur(subject * share, window) / (weights + 1e-5)
        behind = cv2.blur(behind * (1 - share), window) / (1 - weights + 1e-5)
        missed = picture - share * subject_around - (1 - share) * behind
        subject = np.clip(subject_around + share * missed, 0, 1)
    return subject
