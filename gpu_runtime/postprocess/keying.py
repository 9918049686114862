"""The alpha of a subject before a backdrop whose colours are known everywhere, as a studio's blue wall is.

A pixel of the rim is a mixture of the subject's colour beside it and of the backdrop's: how much of either is
its alpha. Nothing is guessed along edges, so that soft rims leave no fringe of the backdrop.
"""

from __future__ import annotations

from collections.abc import Generator

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Flags, Floats
from gpu_runtime.postprocess.matting import BAND, Trimap, depth, mixture
from gpu_runtime.postprocess.parts import parts_with

SOFTEST_PX = 4.0
"""How far the softest rim reaches inward, at least: an autoencoder's at 128 pixels."""

SPILL_PX = 2.0
"""How far a rim may reach outward from where it was found to begin."""

ALIKE = 0.05
"""Squared distance of two colours, 0 to 1 each, below which the rough mask tells more than they do."""

UNEXPLAINED = 0.04
"""Squared distance from every mixture of the two colours that costs most of the trust in them."""

HAZE = 0.05
"""Alpha below this is grain of the backdrop, and above one less this, of the subject."""

SHALLOWEST = (0.9, 0.6)
"""Alpha below which a place is taken for a hole; a faint ring may enclose a deeper one."""


def rim_of(mask: Floats) -> Trimap:
    """What is settled of a mask [H, W], 0 to 1, that holds all of the subject and its soft rim."""
    subject = mask > 0.5
    reach_px = max(SOFTEST_PX, BAND * max(mask.shape))
    return Trimap(inside=depth(subject) > reach_px, outside=depth(~subject) > SPILL_PX)


def keyed(
    picture: Floats, mask: Floats, trimap: Trimap, *, subject: Floats, behind: Floats
) -> Generator[float, None, Floats]:
    """Alpha [H, W], 0 to 1. Yields the share that is done.

    `picture`, `subject` (its settled colours, carried on over the rest) and `behind` are [H, W, 3], 0 to 1.
    """
    alpha = trimap.inside.astype(np.float32)
    for share, part in parts_with(trimap.open):
        held, trust = mixture(
            picture[part], subject[part], behind[part], alike=ALIKE, unexplained=UNEXPLAINED
        )
        mixed = trust * held + (1 - trust) * mask[part]
        found = np.clip((mixed - HAZE) / (1 - 2 * HAZE), 0, 1)
        alpha[part] = np.where(trimap.open[part], found, alpha[part])
        yield share
    for limit in SHALLOWEST:
        alpha[_enclosed(alpha < limit, trimap.outside)] = 1
    return alpha


def _enclosed(low: Flags, outside: Flags) -> Flags:
    """Low places with no way out through low places: a reflection of the backdrop beside the rim."""
    count, labels = cv2.connectedComponents(low.astype(np.uint8), connectivity=4)
    leads_out = np.zeros(count, dtype=np.bool_)
    leads_out[labels[outside]] = True
    leads_out[0] = True
    enclosed: Flags = ~leads_out[labels]
    return enclosed
