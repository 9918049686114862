"""What networks return, as graphs treat it: copied out of their memory, and compared.

Any throughout: diffusers' networks return tensors in tuples, dicts and classes of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

MOST_DIFFERENCE = {torch.float32: 1e-3, torch.float16: 5e-3, torch.bfloat16: 1e-2}
"""Of a row's values together, relative to the row: about what another order of summation changes, with TF32
in the place of float32. The same kernels on the same values give the same bytes, and values of another step
differ by far more."""


def owned(result: Any) -> Any:
    """The same values in memory that nobody else writes."""
    return pytree.tree_map_only(Tensor, torch.clone, result)


def are_alike(ours: Any, theirs: Any) -> bool | None:
    """Whether two results are equal within rounding, row by row; None where `theirs` is not finite.

    Waits for the device.
    """
    (mine, my_spec), (others, their_spec) = pytree.tree_flatten(ours), pytree.tree_flatten(theirs)
    if my_spec != their_spec:
        return False
    verdicts = [_are_alike(a, b) for a, b in zip(mine, others, strict=True)]
    if False in verdicts:
        return False
    return None if None in verdicts else True


def _are_alike(ours: Any, theirs: Any) -> bool | None:
    if not isinstance(theirs, Tensor):
        return bool(ours == theirs)
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return False
    if not bool(torch.isfinite(theirs).all()):
        # A prompt of one request may do that; it says nothing about the graph.
        return None
    expected = theirs.float().reshape(theirs.shape[0], -1)
    difference = (ours.float().reshape(expected.shape) - expected).norm(dim=1)
    most = MOST_DIFFERENCE.get(theirs.dtype, 0.0)
    return bool((difference <= most * expected.norm(dim=1)).all())
