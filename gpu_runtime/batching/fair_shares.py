"""What each account was given so far, in virtual time: start-time fair queueing.

An account's virtual time is the work it was given divided by its weight. Whoever is furthest behind goes
next. Compared with deficit round robin it needs no quantum and no rounds, and is at least as fair: while
two accounts both have work waiting, what they were given per weight differs by at most the price of one row
of each (Goyal, Vin, Cheng: Start-time Fair Queueing, 1996); deficit round robin adds a quantum per round.

An account that comes, or comes back, starts at the virtual time of the one furthest behind, so that idleness
earns no credit; and not below its own, so that leaving for a moment forgives no debt. Each class of priority
has virtual times of its own: what an account gets in the background costs it nothing in the foreground.

Plain Python; knows nothing about keys and turns.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from gpu_runtime.messages import Priority


class Share(NamedTuple):
    """One account's queue in one class."""

    priority: Priority
    account: str


@dataclass(slots=True)
class FairShares:
    """The virtual times of the accounts that have work, and of those that still owe some."""

    _virtual: dict[Share, float] = field(default_factory=dict)

    def enter(self, share: Share, active: Collection[Share]) -> None:
        """Note that an account has work. `active` are those that had some before."""
        behind = self.furthest_behind(share.priority, active)
        self._virtual[share] = max(self._virtual.get(share, behind), behind)

    def of(self, share: Share) -> float:
        """An account's virtual time."""
        return self._virtual[share]

    def charge(self, share: Share, amount: float) -> None:
        """Add work, already divided by the weight."""
        self._virtual[share] += amount

    def furthest_behind(self, priority: Priority, active: Collection[Share]) -> float:
        """The virtual time at which a newcomer to a class starts."""
        return min((self._virtual[each] for each in active if each.priority == priority), default=0.0)

    def forgive(self, active: Collection[Share]) -> None:
        """Forget accounts without work that owe nothing: nobody of their class is behind them."""
        classes = {each.priority for each in active}
        behind = {priority: self.furthest_behind(priority, active) for priority in classes}
        self._virtual = {
            share: virtual
            for share, virtual in self._virtual.items()
            if share in active or virtual > behind.get(share.priority, virtual)
        }
