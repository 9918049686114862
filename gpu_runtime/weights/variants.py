"""Which of several versions of the same weights is taken: one rule for the hub's listings and for folders.

So that a repository gives the same model whether it was fetched here or copied from elsewhere. No torch.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

ORDERS: Final[Mapping[str, tuple[str, ...]]] = {
    # Half precision is what engines compute in, and half the bytes.
    "keep": ("fp16", "bf16", ""),
    # Rather from full precision than from the other half.
    "float16": ("fp16", "", "bf16"),
    "bfloat16": ("bf16", "", "fp16"),
}
"""Variants by the precision asked for, the best first; "" is the plain version. Others only where named."""

_VARIANT: Final = re.compile(r"\.(fp16|fp32|bf16|fp8|ema|non_ema|ema_only)(?=[.-]|$)")


def variant_of(name: str) -> str:
    """`model.fp16.safetensors` -> fp16; "" for the plain one. `name` has no folders."""
    match = _VARIANT.search(name)
    return match[1] if match else ""


def without_variant(name: str) -> str:
    """`model.fp16.safetensors` -> `model.safetensors`."""
    return _VARIANT.sub("", name)


def common_variant(offered: Iterable[Collection[str]], precision: str) -> str:
    """The first variant that every component has; "" when there is none.

    `offered` has the variants of each component that has weights: parts of one model belong together.
    """
    components = [variants for variants in offered if variants]
    for variant in ORDERS[precision]:
        if components and all(variant in variants for variants in components):
            return variant
    return ""
