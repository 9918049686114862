"""Compiled code of one block for one shape: how it is made without values, and run without ever compiling."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

log = logging.getLogger(__name__)


class State(Enum):
    """Of the code for one kind of block and one shape."""

    WAITING = auto()
    READY = auto()
    FAILED = auto()


class DoesNotFit(Exception):
    """The guards of compiled code failed; nothing was computed."""


@dataclass(slots=True, kw_only=True)
class Code:
    """Compiled code for one kind of block and one shape."""

    run: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]
    """Raises `DoesNotFit` instead of compiling. Any: blocks of diffusers are untyped."""
    compile: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]
    """The same, but compiles what does not fit."""
    state: State = State.WAITING
    recompiled: int = 0
    """Times that it was ordered again."""
    used_at: int = 0
    """Number of the latest call of a block that came with this shape."""


@dataclass(frozen=True, slots=True)
class Blank:
    """What is known of a tensor argument without its values."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    is_inference: bool
    """Whether it was made in inference mode, which compiled code distinguishes."""

    @classmethod
    def of(cls, value: Any) -> Any:
        """A blank of a tensor, anything else as it is."""
        if not isinstance(value, Tensor):
            return value
        return cls(tuple(value.shape), value.stride(), value.dtype, value.device, value.is_inference())

    def tensor(self) -> Tensor:
        """Zeros in its place."""
        with torch.inference_mode(self.is_inference):
            empty = torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device=self.device)
            return empty.zero_()


def twin_of(block: nn.Module) -> nn.Module:
    """A copy with memory of its own, made of ordinary tensors as slots are.

    Raises OutOfMemoryError when the device has no room for it.
    """
    with torch.inference_mode(False), torch.no_grad():
        return copy.deepcopy(block)


def compiled(code: Code, twin: nn.Module, blanks: Any) -> bool:
    """Call the code once, which compiles it; False where that fails."""
    args, kwargs = pytree.tree_map(
        lambda value: value.tensor() if isinstance(value, Blank) else value, blanks
    )
    try:
        with torch.inference_mode():
            code.compile(twin, args, kwargs)
    except Exception:
        # The thread's edge: what does not compile runs as written.
        log.warning("a %s runs uncompiled", type(twin).__name__, exc_info=True)
        return False
    return True


def _run(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Without the block's own hooks: who adds some has it run as written."""
    # True while it is compiled, which takes the answer as given: this line is reached where no code fits.
    if not torch.compiler.is_dynamo_compiling():
        raise DoesNotFit
    return block.forward(*args, **kwargs)


def code_of_its_own(number: int, backend: Any) -> Code:
    """A compiled `_run` that shares nothing with the others; `backend` is as `torch.compile` has it.

    torch keeps compiled code with the code object and searches all of it at every call, so kinds and shapes
    that came through one function would slow each other down, and soon reach its limit of eight.
    """
    own = FunctionType(_run.__code__.replace(co_name=f"region_{number}"), _run.__globals__)
    # Of this call alone. torch's "stances" say the same of all threads, the one that compiles among them.
    return Code(run=torch._dynamo.run(own), compile=torch.compile(own, backend=backend, dynamic=False))
