"""Which calls of a network are equal but for the values of their tensors."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import torch

from gpu_runtime.execution.calling import current
from gpu_runtime.execution.codes import Blank

CONTROLS = frozenset(
    {
        "block_controlnet_hidden_states",
        "controlnet_block_samples",
        "controlnet_single_block_samples",
        "down_block_additional_residuals",
        "mid_block_additional_residual",
    }
)
"""Arguments by which ControlNets act: as large as the network's own activations, too large to be copied."""


def signature(values: Sequence[Any], spec: Any, named: dict[str, Any]) -> Hashable | None:
    """Equal for calls that one recording can stand for; None for those that none can.

    `values` are the leaves of the arguments, of which `named` are those with names, and `spec` says how they
    are nested. Any: arguments of diffusers' networks are untyped.
    """
    # Buffers are made as the first arguments were, and outside this mode they could not be written.
    if not torch.is_inference_mode_enabled() or any(named.get(name) is not None for name in CONTROLS):
        return None
    leaves = [Blank.of(value) for value in values]
    tensors = [leaf for leaf in leaves if isinstance(leaf, Blank)]
    # What the host gives to the device in the middle of a call would stay what it was.
    if len({tensor.device for tensor in tensors}) != 1 or any(map(_lies_over_itself, tensors)):
        return None
    if not all(isinstance(leaf, Blank | bool | int | float | str | None) for leaf in leaves):
        return None
    return current().tier, spec, tuple(leaves)


def _lies_over_itself(tensor: Blank) -> bool:
    """Whether elements share memory, as in expanded tensors: a buffer like it could not be written."""
    return any(stride == 0 and size > 1 for stride, size in zip(tensor.stride, tensor.shape, strict=True))
