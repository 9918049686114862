"""Keeps the stacked tensors of adapter combinations that are in use from one step to the next."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Protocol, TypeVar


class Sized(Protocol):
    """What the shelf holds."""

    @property
    def size_bytes(self) -> int:
        """Bytes of memory that live as long as it does."""

    @property
    def adapters(self) -> Collection[str]:
        """Keys of the adapters it computes."""


MAX_PLANS = 64
"""However small they are: each is thousands of Python objects."""

Held = TypeVar("Held", bound=Sized)


class PlanShelf:
    """Least recently used first out, by bytes and number.

    The newest is kept even where it alone exceeds the budget.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._plans: OrderedDict[Hashable, Sized] = OrderedDict()

    @property
    def size_bytes(self) -> int:
        """Bytes of all that is held."""
        return sum(plan.size_bytes for plan in self._plans.values())

    def get(self, key: Hashable, make: Callable[[], Held]) -> Held:
        """What is held under this key, else what `make` gives. A key always names one type."""
        held = self._plans.get(key)
        if held is None:
            held = self._plans[key] = make()
            while len(self._plans) > 1 and self._is_full():
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return held  # type: ignore[return-value]  # one type a key

    def drop(self, adapter: str) -> None:
        """Forget what computes the adapter of this key."""
        for key in [key for key, plan in self._plans.items() if adapter in plan.adapters]:
            del self._plans[key]

    def _is_full(self) -> bool:
        return len(self._plans) > MAX_PLANS or self.size_bytes > self._budget_bytes
