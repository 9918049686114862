"""Values stretched over a hole like a soap film: what Poisson blending, soft fills and cut-out edges need.

The film satisfies Laplace's equation within two percent of the range of values, which an eye cannot tell: a
pyramid brings far values in, a few sweeps at each of its levels smooth what enlarging left. A hole at the
picture's border needs no care, where cv2.seamlessClone draws in black.
"""

from __future__ import annotations

import cv2
import numpy as np

from gpu_runtime.postprocess.channels import Flags, Floats

SWEEPS = 12
"""Jacobi sweeps a level. A film over a plane misses it by 1.6 % of its range; 2.5 % with 4, 0.8 % with 48."""

SMALLEST_PX = 2
"""A side of the last level, which gets the mean of what is known."""

_CROSS = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], dtype=np.float32)


def stretch(values: Floats, known: Flags) -> Floats:
    """The same values where known, and a film between them elsewhere; zeros when nothing is known.

    `values` is [H, W] or [H, W, C], and the result too; what it holds at unknown places is not read.
    """
    if known.all():
        return values
    part = around_hole(~known)
    result = values.copy()
    # Only the hole and the ring around it count: the film never looks further.
    result[part] = _filled(values[part], known[part]) if known[part].any() else 0
    return result


def around_hole(unknown: Flags) -> tuple[slice, slice]:
    """The unknown pixels, of which there are some, and one known pixel around them."""
    rows, columns = np.flatnonzero(unknown.any(axis=1)), np.flatnonzero(unknown.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - 1), int(rows[-1]) + 2),
        slice(max(0, int(columns[0]) - 1), int(columns[-1]) + 2),
    )


def _filled(values: Floats, known: Flags) -> Floats:
    height, width = known.shape
    if known.all():
        return values
    if min(height, width) <= SMALLEST_PX:
        result = values.copy()
        result[~known] = values[known].mean(axis=0)
        return result
    coarse = _filled(*_halved(values, known))
    result = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).reshape(values.shape)
    result[known] = values[known]
    unknown = ~known
    for _ in range(SWEEPS):
        swept = cv2.filter2D(result, -1, _CROSS, borderType=cv2.BORDER_REPLICATE).reshape(values.shape)
        result[unknown] = swept[unknown]
    return result


def _halved(values: Floats, known: Flags) -> tuple[Floats, Flags]:
    """Half the size; a pixel is known where any of those below it is, and has the mean of those."""
    height, width = known.shape
    size = ((width + 1) // 2, (height + 1) // 2)
    weighted: Floats = np.where(known.reshape(height, width, *[1] * (values.ndim - 2)), values, 0).astype(
        np.float32
    )
    weighted = cv2.resize(weighted, size, interpolation=cv2.INTER_AREA)
    weighted = weighted.reshape(size[1], size[0], *values.shape[2:])
    weights = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    # An odd side's last pixel may count for a thousandth of its neighbour: that much is noise.
    is_known = weights > 1e-3
    divisor = np.where(is_known, weights, 1).astype(np.float32)
    return weighted / divisor.reshape(*divisor.shape, *[1] * (values.ndim - 2)), is_known
