"""Convolutions whose edges go on from the edges across, for images that can be laid side by side as tiles.

Where a convolution pads its input with zeros, what lies at the other edge takes their place. It is done where
torch is called, for the calls of one thread: no module changes, so that other rows, compiled code and threads
that compile meanwhile never see it. Compiled code does not look at it: see `execution/wrapping.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_is_circular: ContextVar[bool] = ContextVar("is_circular", default=False)


@contextmanager
def circular_edges() -> Iterator[None]:
    """While open, convolutions wrap around both pairs of edges."""
    token = _is_circular.set(True)
    try:
        with _Circular():
            yield
    finally:
        _is_circular.reset(token)


@contextmanager
def plain_edges() -> Iterator[None]:
    """While open, within `circular_edges`, they do not: parts of an image have other edges than it has."""
    token = _is_circular.set(False)
    try:
        yield
    finally:
        _is_circular.reset(token)


class _Circular(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # whatever torch's functions take and give
        kwargs = dict(kwargs or {})
        if func is torch.nn.functional.conv2d and _is_circular.get():
            return _wrapped(*args, **kwargs)
        return func(*args, **kwargs)


def _wrapped(
    values: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """The convolution, with what it pads taken from the other edges. Any: numbers, pairs, or "same"."""
    high, wide = _pair(padding, weight, dilation)
    if high or wide:
        values = torch.nn.functional.pad(values, (wide, wide, high, high), mode="circular")
    return torch.conv2d(values, weight, bias, stride, 0, dilation, groups)


def _pair(padding: Any, weight: Tensor, dilation: Any) -> tuple[int, int]:
    """Rows and columns added at each edge."""
    if padding == "valid":
        return 0, 0
    if padding == "same":
        spread = (dilation, dilation) if isinstance(dilation, int) else dilation
        return spread[0] * (weight.shape[-2] - 1) // 2, spread[1] * (weight.shape[-1] - 1) // 2
    if isinstance(padding, int):
        return padding, padding
    return padding[0], padding[1]
