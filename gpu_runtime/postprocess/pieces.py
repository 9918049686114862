"""Work in pieces: generators that stop where other work may run, and return what they made."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")


def within(work: Generator[float, None, T], start: float, end: float) -> Generator[float, None, T]:
    """The same work, whose shares done, 0 to 1, become those from `start` to `end` of a larger one."""
    while True:
        try:
            done = next(work)
        except StopIteration as stop:
            result: T = stop.value
            return result
        yield start + (end - start) * done


def with_share(work: Generator[None, None, T], share: float) -> Generator[float, None, T]:
    """The same work, which yields how much is done of all that it is a part of."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
        yield share


def finish(work: Generator[object, None, T]) -> T:
    """All of the work at once."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
