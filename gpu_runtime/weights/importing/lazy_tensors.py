"""Tensors that know how to get their numbers and have none yet.

Conversions between layouts are written in torch: they rename, split, join and transpose. Run on lazy tensors
they cost nothing and hold nothing; the numbers of one tensor are read and converted when `numbers` asks. So
the code that converts a checkpoint in memory converts one of any size in the memory of its largest tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

Numbers = Callable[[], Tensor]
"""Reads and converts; each call does it anew."""


class LazyTensor(Tensor):
    """Shape and dtype of a dense tensor on the CPU, and a recipe."""

    _recipe: Numbers

    @staticmethod
    def __new__(cls: type[LazyTensor], like: Tensor, recipe: Numbers) -> LazyTensor:
        made: LazyTensor = Tensor._make_wrapper_subclass(
            cls, like.shape, dtype=like.dtype, device=torch.device("cpu"), requires_grad=False
        )
        made._recipe = recipe
        return made

    def numbers(self) -> Tensor:
        """An ordinary tensor, perhaps a view of a file that must not be written to."""
        return self._recipe()

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]  # its stub demands a strange name
        return f"LazyTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stub forgets that it is a class method
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:  # Any: torch's own signature
        kwargs = kwargs or {}
        shapes = func(*tree_map(_without_numbers, args), **tree_map(_without_numbers, kwargs))

        def compute() -> Any:
            return func(*tree_map(_with_numbers, args), **tree_map(_with_numbers, kwargs))

        if isinstance(shapes, Tensor):
            return LazyTensor(shapes, compute)
        if isinstance(shapes, list | tuple):
            return type(shapes)(
                LazyTensor(each, _nth(compute, index)) if isinstance(each, Tensor) else each
                for index, each in enumerate(shapes)
            )
        return shapes


def lazy(shape: tuple[int, ...], dtype: torch.dtype, recipe: Numbers) -> LazyTensor:
    """A tensor whose numbers `recipe` gives in exactly this shape and dtype."""
    return LazyTensor(torch.empty(shape, dtype=dtype, device="meta"), recipe)


def numbers(tensor: Tensor) -> Tensor:
    """An ordinary tensor of an ordinary or lazy one."""
    return tensor.numbers() if isinstance(tensor, LazyTensor) else tensor


def _nth(compute: Callable[[], Any], index: int) -> Numbers:
    return lambda: compute()[index]


def _without_numbers(value: Any) -> Any:
    if isinstance(value, LazyTensor):
        return torch.empty(value.shape, dtype=value.dtype, device="meta")
    if isinstance(value, torch.device):
        return torch.device("meta")
    return value.to("meta") if isinstance(value, Tensor) else value


def _with_numbers(value: Any) -> Any:
    return value.numbers() if isinstance(value, LazyTensor) else value
