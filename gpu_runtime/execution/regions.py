"""Compiled regions: the blocks of which denoisers are made, compiled once for each shape, in the background.

A denoiser is mostly the same few blocks repeated, so that compiling one of each kind speeds up nearly all of
it, in a fraction of the time that the whole takes. While a kind is compiled for a new shape requests run as
before; its code is used from the next call on. Compiling works on a twin of the block with memory of its own,
because a slot's tensors come and go meanwhile. Code depends on shapes and settings of a block, which a twin
shares, and never on values; torch guards that, so that code which does not fit is never used.

Fails soft: a kind that does not compile (no compiler on the machine, no memory for the twin) runs as written,
and so does one whose code turns out not to fit.
"""

from __future__ import annotations

import copy
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from enum import Enum, auto
from types import FunctionType
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch._dynamo.exc import TorchDynamoException
from torch.utils import _pytree as pytree

from gpu_runtime.execution.calling import current
from gpu_runtime.messages import Tier

log = logging.getLogger(__name__)

REGIONS = frozenset(
    {
        "BasicTransformerBlock",
        "FluxSingleTransformerBlock",
        "FluxTransformerBlock",
        "JointTransformerBlock",
        "ResnetBlock2D",
    }
)
"""Classes of repeated blocks of the step-batched denoisers."""

BACKEND = "inductor"

MOST_CODES = 512
"""Compiled codes in a process, a few megabytes each: images of ever new sizes must not fill the memory."""

SPARED_CALLS = 100_000
"""Calls of blocks, about a thousand denoiser calls, after which code that none of them used gives way to
other: sooner, ever new sizes would have everything compiled again and again."""


class State(Enum):
    """Of the code for one kind of block and one shape."""

    WAITING = auto()
    READY = auto()
    FAILED = auto()


@dataclass(slots=True, kw_only=True)
class Code:
    """Compiled code for one kind of block and one shape."""

    run: Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]
    """Any: blocks of diffusers are untyped."""
    state: State = State.WAITING
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


class RegionCompiler:
    """Compiles blocks in a thread of its own. Used from one thread besides."""

    def __init__(self, *, on_compiled: Callable[[], None] = lambda: None) -> None:
        """`on_compiled` is called in the compiling thread whenever nothing more waits."""
        self._codes: dict[Hashable, Code] = {}
        self._kinds: dict[Hashable, int] = {}
        """Numbers of kinds: they are looked up at each call, and are long."""
        self._twins: WeakValueDictionary[tuple[int, Tier], nn.Module] = WeakValueDictionary()
        """Of the kinds that are waiting, so that many shapes of one kind take the memory of one twin."""
        self._jobs: queue.Queue[tuple[Code, nn.Module, Any]] = queue.Queue()
        self._calls = 0
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._on_compiled = on_compiled

    def attach(self, network: nn.Module) -> None:
        """Have the repeated blocks of a network go through here."""
        for block in network.modules():
            if type(block).__name__ in REGIONS:
                kind = self._kinds.setdefault(kind_of(block), len(self._kinds))
                block._compiled_call_impl = BlockCall(self, kind, block)

    def call(self, kind: int, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The block's result, by compiled code as soon as there is one for the shapes of the arguments."""
        leaves, _ = pytree.tree_flatten((args, kwargs))
        # Rows of the fast tier are computed by other layers, which the twin's are as well.
        key = (kind, current().tier, tuple(_shape(leaf) for leaf in leaves))
        self._calls += 1
        code = self._codes.get(key) or self._order(key, block, args, kwargs)
        if code is not None:
            code.used_at = self._calls
            if code.state is State.READY:
                return _run_or_give_up(code, block, args, kwargs)
        return block._call_impl(*args, **kwargs)

    def count(self, state: State) -> int:
        """Codes in this state."""
        return sum(code.state is state for code in self._codes.values())

    def wait(self) -> None:
        """Until everything ordered so far is compiled, or has failed."""
        self._jobs.join()

    def _order(
        self, key: tuple[int, Tier, Any], block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Code | None:
        """Have code made; None where there is no room for more."""
        if len(self._codes) >= MOST_CODES and not self._drop_unused():
            return None
        code = self._codes[key] = Code(run=_code_of_its_own(next(self._numbers)))
        try:
            twin = self._twins.setdefault(key[:2], self._twins.get(key[:2]) or twin_of(block))
        except (torch.OutOfMemoryError, MemoryError):
            code.state = State.FAILED
            return code
        self._jobs.put((code, twin, pytree.tree_map(Blank.of, (args, kwargs))))
        if self._thread is None:
            # A daemon: whoever stops the process does not wait for code that nobody will run.
            self._thread = threading.Thread(
                target=self._work, args=(torch.get_num_threads(),), name="compile", daemon=True
            )
            self._thread.start()
        return code

    def _drop_unused(self) -> bool:
        """Forget the code that was not used for longest; False where none was not for long enough."""
        oldest = min(self._codes, key=lambda key: self._codes[key].used_at)
        if self._calls - self._codes[oldest].used_at < SPARED_CALLS:
            return False
        del self._codes[oldest]
        return True

    def _work(self, threads: int) -> None:
        # Compiled code is guarded by the number of threads, which is a setting of each thread.
        torch.set_num_threads(threads)
        while True:
            code, twin, blanks = self._jobs.get()
            code.state = State.READY if _compile(code, twin, blanks) else State.FAILED
            del code, twin
            if self._jobs.empty():
                self._on_compiled()
            self._jobs.task_done()


class BlockCall:
    """Stands in the place of a block's own call."""

    __slots__ = ("_block", "_compiler", "_kind")

    def __init__(self, compiler: RegionCompiler, kind: int, block: nn.Module) -> None:
        self._compiler = compiler
        self._kind = kind
        self._block = block

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not current().is_compiled:
            return self._block._call_impl(*args, **kwargs)
        return self._compiler.call(self._kind, self._block, args, kwargs)


def kind_of(block: nn.Module) -> Hashable:
    """What two blocks share that can share code: classes, settings, and tensors but for their values."""
    tensors = ((name, tuple(each.shape), each.dtype) for name, each in block.state_dict().items())
    settings = ((path, type(part).__name__, _settings(part)) for path, part in block.named_modules())
    return tuple(settings), tuple(tensors)


def _settings(module: nn.Module) -> Hashable:
    """Numbers and words that a module was made with, which code takes as constants."""
    return tuple(
        sorted((name, value) for name, value in vars(module).items() if isinstance(value, int | float | str))
    )


def twin_of(block: nn.Module) -> nn.Module:
    """A copy with memory of its own, made of ordinary tensors as slots are.

    Raises OutOfMemoryError when the device has no room for it.
    """
    with torch.inference_mode(False), torch.no_grad():
        return copy.deepcopy(block)


def _compile(code: Code, twin: nn.Module, blanks: Any) -> bool:
    """Call the code once, which compiles it; False where that fails."""
    args, kwargs = pytree.tree_map(
        lambda value: value.tensor() if isinstance(value, Blank) else value, blanks
    )
    try:
        with torch.inference_mode():
            code.run(twin, args, kwargs)
    except Exception:
        # The thread's edge: what does not compile runs as written.
        log.warning("a %s runs uncompiled", type(twin).__name__, exc_info=True)
        return False
    return True


def _run_or_give_up(code: Code, block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        return code.run(block, args, kwargs)
    except TorchDynamoException:
        # A guard of torch's did not hold, and compiling anew failed.
        log.warning("a %s runs uncompiled from now on", type(block).__name__, exc_info=True)
        code.state = State.FAILED
        return block._call_impl(*args, **kwargs)


def _shape(leaf: Any) -> Hashable:
    """What code depends on of an argument."""
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__
    return leaf.shape, leaf.stride(), leaf.dtype


def _run(block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Without the block's own hooks: who adds some has it run as written."""
    return block.forward(*args, **kwargs)


def _code_of_its_own(number: int) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], Any]:
    """A compiled `_run` that shares nothing with the others.

    torch keeps compiled code with the code object and searches all of it at every call, so kinds and shapes
    that came through one function would slow each other down, and soon reach its limit of eight.
    """
    own = FunctionType(_run.__code__.replace(co_name=f"region_{number}"), _run.__globals__)
    compiled: Callable[..., Any] = torch.compile(own, backend=BACKEND, dynamic=False)
    return compiled
