"""Makes methods of plans: one description of an operation, a blocking and an awaiting way to call it.

A descriptor keeps the plan's parameters, types and documentation; `Core`, its first parameter, comes from the
client that the method is called on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from darkroom.core import Core, Flow, Plan
from darkroom.drivers import AsyncDriver, SyncDriver

P = ParamSpec("P")
T = TypeVar("T")


class SyncNamespace:
    """Whatever has blocking methods."""

    def __init__(self, driver: SyncDriver) -> None:
        self._driver = driver


class AsyncNamespace:
    """Whatever has awaiting methods."""

    def __init__(self, driver: AsyncDriver) -> None:
        self._driver = driver


class _Bound:
    """Base: a plan, and its method on an instance."""

    def __init__(self, plan: Callable[..., Any]) -> None:
        self._plan = plan
        self.__doc__ = plan.__doc__
        full = inspect.signature(plan)
        self._signature = full.replace(parameters=list(full.parameters.values())[1:])

    def _method(self, instance: Any, driven: Callable[[Any], Any]) -> Any:
        """`driven` is what the client's driver does with the plan."""
        core: Core = instance._driver.core

        @functools.wraps(self._plan)
        def method(*args: Any, **kwargs: Any) -> Any:
            return driven(self._plan(core, *args, **kwargs))

        method.__signature__ = self._signature  # type: ignore[attr-defined]  # what help() shows
        return method


class Blocking(_Bound, Generic[P, T]):
    """A method that returns what the plan returns."""

    def __init__(self, plan: Callable[Concatenate[Core, P], Plan[T]]) -> None:
        super().__init__(plan)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: SyncNamespace, owner: type) -> Callable[P, T]: ...
    def __get__(self, instance: SyncNamespace | None, owner: type) -> Any:
        return self if instance is None else self._method(instance, instance._driver.run)


class Iterating(_Bound, Generic[P, T]):
    """A method that gives an iterator over what the flow emits."""

    def __init__(self, plan: Callable[Concatenate[Core, P], Flow[T]]) -> None:
        super().__init__(plan)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: SyncNamespace, owner: type) -> Callable[P, Iterator[T]]: ...
    def __get__(self, instance: SyncNamespace | None, owner: type) -> Any:
        return self if instance is None else self._method(instance, instance._driver.iterate)


class Awaiting(_Bound, Generic[P, T]):
    """A method to be awaited."""

    def __init__(self, plan: Callable[Concatenate[Core, P], Plan[T]]) -> None:
        super().__init__(plan)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: AsyncNamespace, owner: type) -> Callable[P, Awaitable[T]]: ...
    def __get__(self, instance: AsyncNamespace | None, owner: type) -> Any:
        return self if instance is None else self._method(instance, instance._driver.run)


class AsyncIterating(_Bound, Generic[P, T]):
    """A method for `async for`."""

    def __init__(self, plan: Callable[Concatenate[Core, P], Flow[T]]) -> None:
        super().__init__(plan)

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: AsyncNamespace, owner: type) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, instance: AsyncNamespace | None, owner: type) -> Any:
        return self if instance is None else self._method(instance, instance._driver.iterate)
