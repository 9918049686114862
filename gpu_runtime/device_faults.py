"""What torch's errors mean, and how a call that does not fit is made smaller.

torch reports a lost device and a full memory as RuntimeError with words in it; this is the one place that
reads those words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from gpu_runtime.errors import DeviceLost, OutOfMemory, RuntimeFault

log = logging.getLogger(__name__)

T = TypeVar("T")

CPU_OUT_OF_MEMORY = "can't allocate memory"
"""In the message of the RuntimeError that torch's CPU allocator raises."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller call might succeed."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError | OutOfMemory):
        return True
    return isinstance(error, RuntimeError) and CPU_OUT_OF_MEMORY in str(error)


def is_device_lost(error: BaseException) -> bool:
    """Whether every later call on the device will fail as well ("sticky" CUDA errors)."""
    if isinstance(error, torch.OutOfMemoryError):
        return False
    if isinstance(error, torch.AcceleratorError | DeviceLost):
        return True
    return isinstance(error, RuntimeError) and "CUDA error" in str(error)


def as_fault(error: Exception, doing: str) -> RuntimeFault:
    """The fault to report for an error that concerns one request. Raises DeviceLost when it concerns all.

    Afterwards the error no longer knows where it came from: the frames would keep alive what was half loaded.
    The log has it for errors that nobody foresaw.
    """
    if is_device_lost(error):
        raise DeviceLost(f"the device failed while {doing}: {error}") from error
    is_full = is_out_of_memory(error)
    if not isinstance(error, RuntimeFault) and not is_full:
        log.error("unexpected error while %s", doing, exc_info=error)
    _forget_frames(error)
    if isinstance(error, RuntimeFault):
        return error
    if is_full:
        return OutOfMemory(f"out of memory while {doing}: {error}")
    return RuntimeFault(f"{type(error).__name__} while {doing}: {error}")


def _forget_frames(error: BaseException) -> None:
    """Of the error and of all that led to it."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        each.__traceback__ = None
        waiting += [each.__cause__, each.__context__]


def call_with_room(call: Callable[[], T], make_room: Callable[[], int]) -> T:
    """Call; out of memory, make room and call again, as long as there is room to make.

    `make_room` returns how many bytes it freed, 0 in the end. `call` has no side effect. Raises OutOfMemory
    when there was no room to make.
    """
    while True:
        try:
            return call()
        except (RuntimeError, MemoryError, OutOfMemory) as error:
            if is_device_lost(error) or not is_out_of_memory(error):
                raise
            lack = str(error)
        # Outside the handler: the traceback would keep the failed call's tensors alive.
        release_cached_memory()
        if not make_room():
            raise OutOfMemory(lack)


def nothing_to_spare() -> int:
    """For `call_in_halves`, where nothing is held that could be given up."""
    return 0


def call_in_halves(
    call: Callable[[slice], Tensor], rows: int, spare: Callable[[], int] = nothing_to_spare
) -> list[Tensor | None]:
    """Call on all rows at once; out of memory, on each half, and so on down to one row.

    `call` maps a slice of rows to a tensor whose first dimension are those rows, and has no side effect.
    `spare` gives up what is held without need, before a call is made smaller; returns how much, 0 in the end.
    Returns one tensor of shape [1, ...] a row, None where even that row alone does not fit.
    """
    return _halves(call, 0, rows, spare)


def _halves(
    call: Callable[[slice], Tensor], start: int, stop: int, spare: Callable[[], int]
) -> list[Tensor | None]:
    try:
        return list(call(slice(start, stop)).split(1))
    except (RuntimeError, MemoryError) as error:
        if is_device_lost(error) or not is_out_of_memory(error):
            raise
    # Outside the handler: the traceback would keep the failed call's tensors alive.
    freed = spare()
    release_cached_memory()
    if freed:
        return _halves(call, start, stop, spare)
    if stop - start == 1:
        return [None]
    middle = (start + stop) // 2
    return _halves(call, start, middle, spare) + _halves(call, middle, stop, spare)


def release_cached_memory() -> None:
    """Hand torch's cached blocks back to the device; does nothing without CUDA."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
