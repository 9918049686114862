"""Compiled regions: the blocks of which denoisers are made, compiled once for each shape, in the background.

A denoiser is mostly the same few blocks repeated, so that compiling one of each kind speeds up nearly all of
it, in a fraction of the time that the whole takes. While a kind is compiled for a new shape requests run as
before; its code is used from the next call on. Compiling works on a twin of the block with memory of its own,
because a slot's tensors come and go meanwhile. Code depends on shapes and settings of a block, which a twin
shares, and never on values; torch guards that, so that code which does not fit is never used. The calling
thread never compiles: code whose guards fail is compiled again in the background as well.

Fails soft: a kind that does not compile (no compiler on the machine, no memory for the twin) runs as written,
and so does one whose code keeps on not fitting.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gpu_runtime.execution.calling import current
from gpu_runtime.execution.codes import Blank, Code, DoesNotFit, State, code_of_its_own, compiled, twin_of
from gpu_runtime.execution.waiting import WaitingLine
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

MOST_WAITING = 96
"""Codes that may wait to be compiled, some minutes of work: a network's new shape brings a dozen."""

SPARED_WAITING_CALLS = 2_000
"""Calls of blocks, a few dozen denoiser calls, after which a shape that none of them had gives up its place
among those that wait."""

MOST_RECOMPILED = 2
"""Times that code is compiled anew because its guards failed; torch itself gives up after eight."""


class RegionCompiler:
    """Compiles blocks in a thread of its own. Used from one thread besides."""

    def __init__(self, *, on_compiled: Callable[[], None] = lambda: None) -> None:
        """`on_compiled` is called in the compiling thread whenever nothing more waits."""
        self._codes: dict[Hashable, Code] = {}
        self._kinds: dict[Hashable, int] = {}
        """Numbers of kinds: they are looked up at each call, and are long."""
        self._twins: WeakValueDictionary[tuple[int, Tier], nn.Module] = WeakValueDictionary()
        """Of the kinds that are waiting, so that many shapes of one kind take the memory of one twin."""
        self._jobs: WaitingLine[Hashable, tuple[Code, nn.Module, Any]] = WaitingLine()
        self._calls = 0
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None
        self._noted: list[Code | None] | None = None
        """What blocks came upon since someone wanted to know; None while nobody does."""
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
        if self._noted is not None:
            self._noted.append(code)
        if code is not None:
            code.used_at = self._calls
            if code.state is State.READY:
                try:
                    return code.run(block, args, kwargs)
                except DoesNotFit:
                    self._order_again(key, code, block, args, kwargs)
        return block._call_impl(*args, **kwargs)

    def count(self, state: State) -> int:
        """Codes in this state."""
        return sum(code.state is state for code in self._codes.values())

    @contextmanager
    def noting(self) -> Iterator[list[Code | None]]:
        """The codes of the blocks called within; None for each block that none was to be had for yet."""
        noted: list[Code | None] = []
        self._noted = noted
        try:
            yield noted
        finally:
            self._noted = None

    def is_idle(self) -> bool:
        """Whether nothing is being compiled, nor waits for it."""
        return self._jobs.is_idle()

    def wait(self) -> None:
        """Until everything ordered so far is compiled, has failed, or gave way."""
        self._jobs.join()

    def _order(
        self, key: tuple[int, Tier, Any], block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Code | None:
        """Have code made; None where there is no room for more, or too many wait."""
        if len(self._codes) >= MOST_CODES and not self._drop_unused():
            return None
        waiting = self._jobs.keys()
        if len(waiting) >= MOST_WAITING and not self._drop_waiting(waiting):
            return None
        code = self._codes[key] = code_of_its_own(next(self._numbers), BACKEND)
        self._enqueue(key, code, block, args, kwargs)
        return code

    def _order_again(
        self,
        key: tuple[int, Tier, Any],
        code: Code,
        block: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Guards of the code failed: have it compiled for what they found, unless that was no use before."""
        if code.recompiled >= MOST_RECOMPILED:
            log.warning("a %s runs uncompiled from now on: its code does not fit", type(block).__name__)
            code.state = State.FAILED
            return
        code.recompiled += 1
        code.state = State.WAITING
        # The one that waits, if any, may be of another state of the block.
        self._twins.pop(key[:2], None)
        self._enqueue(key, code, block, args, kwargs)

    def _enqueue(
        self,
        key: tuple[int, Tier, Any],
        code: Code,
        block: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        try:
            twin = self._twins.setdefault(key[:2], self._twins.get(key[:2]) or twin_of(block))
        except (torch.OutOfMemoryError, MemoryError):
            code.state = State.FAILED
            return
        self._jobs.put(key, (code, twin, pytree.tree_map(Blank.of, (args, kwargs))))
        if self._thread is None:
            # A daemon: whoever stops the process does not wait for code that nobody will run.
            self._thread = threading.Thread(
                target=self._work, args=(torch.get_num_threads(),), name="compile", daemon=True
            )
            self._thread.start()

    def _drop_waiting(self, waiting: Sequence[Hashable]) -> bool:
        """Withdraw what waits and was not called for longest; False where all of it was lately."""
        oldest = min(waiting, key=lambda key: self._codes[key].used_at)
        if self._calls - self._codes[oldest].used_at < SPARED_WAITING_CALLS or not self._jobs.withdraw(
            oldest
        ):
            return False
        del self._codes[oldest]
        return True

    def _drop_unused(self) -> bool:
        """Forget the code that was not used for longest; False where none was not for long enough."""
        oldest = min(self._codes, key=lambda key: self._codes[key].used_at)
        if self._calls - self._codes[oldest].used_at < SPARED_CALLS:
            return False
        self._jobs.withdraw(oldest)
        del self._codes[oldest]
        return True

    def _work(self, threads: int) -> None:
        # Compiled code is guarded by the number of threads, which is a setting of each thread.
        torch.set_num_threads(threads)
        while True:
            code, twin, blanks = self._jobs.take()
            code.state = State.READY if compiled(code, twin, blanks) else State.FAILED
            del code, twin
            if not self._jobs.keys():
                self._on_compiled()
            self._jobs.done()


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


def _shape(leaf: Any) -> Hashable:
    """What code depends on of an argument."""
    if not isinstance(leaf, Tensor):
        return type(leaf).__name__
    return leaf.shape, leaf.stride(), leaf.dtype
