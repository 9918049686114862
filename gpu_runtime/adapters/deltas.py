"""What an adapter adds to the output of one linear or convolution layer.

A delta belongs to one layer, whose weight is [out, in] or [out, in, kh, kw]. `compute` gives what is added
to the layer's output for an input; the strength that a request asks for is not part of it. Deltas are
computed on the input and never merged into weights, because the weights are shared by requests with other
adapters.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

Ranges = Sequence[tuple[int, int]]
"""Output rows of a delta, as (start, stop) pairs whose rows are put one after the other."""


class Misfit(Exception):
    """A delta's tensors do not have the shapes that the layer, or each other, ask for."""


class Damaged(Exception):
    """Tensors that make no difference of any layer, whatever its shape."""


class Delta(ABC):
    """One adapter's part in one layer. Any: layers are torch's or diffusers' modules, untyped there."""

    __slots__ = ()

    @abstractmethod
    def tensors(self) -> tuple[Tensor, ...]:
        """All of its tensors, on one device and of one dtype."""

    @abstractmethod
    def fit(self, shape: torch.Size) -> Delta:
        """The same for a layer whose weight has this shape. Raises Misfit."""

    @abstractmethod
    def rows(self, ranges: Ranges) -> Delta:
        """The same for some of the output rows only."""

    @abstractmethod
    def to(self, device: torch.device, dtype: torch.dtype) -> Delta:
        """The same in memory of its own on a device."""

    @abstractmethod
    def compute(self, x: Tensor, layer: Any) -> Tensor:
        """What is added to `layer(x)` at strength 1; shape, dtype and device of that output."""

    @property
    def device(self) -> torch.device:
        """Where its tensors are."""
        return self.tensors()[0].device

    @property
    def size_bytes(self) -> int:
        """Bytes of its tensors."""
        return sum(tensor.nbytes for tensor in self.tensors())


@dataclass(frozen=True, slots=True)
class LowRank(Delta):
    """scale * up @ down, the plain LoRA."""

    down: Tensor
    """[rank, in] or [rank, in, kh, kw]."""
    up: Tensor
    """[out, rank]."""
    scale: float

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.down, self.up)

    @property
    def rank(self) -> int:
        """Inner width of the product."""
        return int(self.up.shape[1])

    def fit(self, shape: torch.Size) -> Delta:
        out, rest = shape[0], shape[1:]
        up, down = self.up.flatten(1), self.down
        is_product = up.shape[0] == out and down.shape[0] == up.shape[1]
        # LoHa's factors come with the kernel flattened into the columns.
        is_input = down[0].numel() == math.prod(rest) and down.shape[1] in (rest[0], math.prod(rest))
        if not (is_product and is_input):
            raise Misfit(f"up {_sides(self.up)} and down {_sides(down)} do not fit a layer {_sides(shape)}")
        return replace(self, up=up, down=down.reshape(down.shape[0], *rest))

    def rows(self, ranges: Ranges) -> Delta:
        return replace(self, up=take_rows(self.up, ranges))

    def to(self, device: torch.device, dtype: torch.dtype) -> Delta:
        return replace(self, down=_moved(self.down, device, dtype), up=_moved(self.up, device, dtype))

    def compute(self, x: Tensor, layer: Any) -> Tensor:
        if self.down.dim() == 2:
            return functional.linear(functional.linear(x, self.down) * self.scale, self.up)
        inner = _convolve(x, self.down, layer) * self.scale
        return functional.conv2d(inner, self.up[:, :, None, None])


@dataclass(frozen=True, slots=True)
class Full(Delta):
    """A whole weight difference."""

    weight: Tensor
    """[out, in] or [out, in, kh, kw]."""
    scale: float

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.weight,)

    def fit(self, shape: torch.Size) -> Delta:
        if self.weight.shape == shape:
            return self
        if self.weight.shape[0] != shape[0] or self.weight.numel() != shape.numel():
            raise Misfit(f"a difference {_sides(self.weight)} does not fit a layer {_sides(shape)}")
        return replace(self, weight=self.weight.reshape(shape))

    def rows(self, ranges: Ranges) -> Delta:
        return replace(self, weight=take_rows(self.weight, ranges))

    def to(self, device: torch.device, dtype: torch.dtype) -> Delta:
        return replace(self, weight=_moved(self.weight, device, dtype))

    def compute(self, x: Tensor, layer: Any) -> Tensor:
        if self.weight.dim() == 2:
            return functional.linear(x, self.weight) * self.scale
        return _convolve(x, self.weight, layer) * self.scale


@dataclass(frozen=True, slots=True)
class Kronecker(Delta):
    """scale * (left kron right), applied without building the product."""

    left: Tensor
    """[a1, b1]."""
    right: Tensor
    """[a2, b2] or [a2, b2, kh, kw]; out = a1 * a2 and in = b1 * b2."""
    scale: float

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.left, self.right)

    def fit(self, shape: torch.Size) -> Delta:
        if self.left.dim() != 2 or self.right.dim() < 2:
            raise Misfit(f"factors {_sides(self.left)} and {_sides(self.right)} are no Kronecker pair")
        kernel = tuple(shape[2:])
        right = self.right
        if right.dim() == 2 and kernel and right.shape[1] % math.prod(kernel) == 0:
            # LyCORIS writes low-rank factors with the kernel flattened into the columns.
            right = right.reshape(right.shape[0], -1, *kernel)
        if tuple(right.shape[2:]) == (1, 1) and not kernel:
            right = right.flatten(1)
        sides = tuple(outer * inner for outer, inner in zip(self.left.shape, right.shape[:2], strict=True))
        if sides != tuple(shape[:2]) or tuple(right.shape[2:]) != kernel:
            raise Misfit(
                f"factors {_sides(self.left)} and {_sides(self.right)} do not fit a layer {_sides(shape)}"
            )
        return replace(self, right=right)

    def rows(self, ranges: Ranges) -> Delta:
        height = int(self.right.shape[0])
        if all(start % height == 0 and stop % height == 0 for start, stop in ranges):
            blocks = [(start // height, stop // height) for start, stop in ranges]
            return replace(self, left=take_rows(self.left, blocks))
        product = torch.kron(self.left.reshape(*self.left.shape, *(1,) * (self.right.dim() - 2)), self.right)
        return Full(product, self.scale).rows(ranges)

    def to(self, device: torch.device, dtype: torch.dtype) -> Delta:
        return replace(self, left=_moved(self.left, device, dtype), right=_moved(self.right, device, dtype))

    def compute(self, x: Tensor, layer: Any) -> Tensor:
        outer, inner = self.left.shape[1], self.right.shape[1]
        if self.right.dim() == 2:
            blocks = functional.linear(x.unflatten(-1, (outer, inner)), self.right)
            return (self.left @ blocks).flatten(-2) * self.scale
        blocks = _convolve(x.unflatten(1, (outer, inner)).flatten(0, 1), self.right, layer)
        blocks = blocks.unflatten(0, (-1, outer))
        return torch.einsum("ab,nbchw->nachw", self.left, blocks).flatten(1, 2) * self.scale


@dataclass(frozen=True, slots=True)
class Bias(Delta):
    """A difference of the layer's bias, which no input changes."""

    value: Tensor
    """[out]."""
    scale: float

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.value,)

    def fit(self, shape: torch.Size) -> Delta:
        if self.value.numel() != shape[0]:
            raise Misfit(f"a bias {_sides(self.value)} does not fit a layer {_sides(shape)}")
        return replace(self, value=self.value.flatten())

    def rows(self, ranges: Ranges) -> Delta:
        return replace(self, value=take_rows(self.value, ranges))

    def to(self, device: torch.device, dtype: torch.dtype) -> Delta:
        return replace(self, value=_moved(self.value, device, dtype))

    def compute(self, x: Tensor, layer: Any) -> Tensor:
        """Broadcasts over the output: [out], or [out, 1, 1] for a convolution."""
        value = self.value * self.scale
        return value[:, None, None] if layer.weight.dim() == 4 else value


def take_rows(tensor: Tensor, ranges: Ranges) -> Tensor:
    """Rows of the first dimension, without a copy where they are one range."""
    parts = [tensor[start:stop] for start, stop in ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def memory_of(tensors: Iterable[Tensor]) -> int:
    """Bytes that tensors keep alive, memory that some of them share counted once."""
    storages = (tensor.untyped_storage() for tensor in tensors)
    return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


def _convolve(x: Tensor, weight: Tensor, layer: Any) -> Tensor:
    return functional.conv2d(x, weight, stride=layer.stride, padding=layer.padding, dilation=layer.dilation)


def _moved(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A contiguous copy: what was read may be a view of a file."""
    return tensor.to(device=device, dtype=dtype, copy=True, memory_format=torch.contiguous_format)


def _sides(shape: torch.Size | Tensor) -> str:
    sides = shape.shape if isinstance(shape, Tensor) else shape
    return "x".join(str(side) for side in sides) or "scalar"
