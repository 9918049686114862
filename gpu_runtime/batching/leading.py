"""Which group leads the next turn, and so decides its key. See `step_batcher` for the rules in words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from gpu_runtime.batching.ageing import STARVATION_TURNS, starved_after
from gpu_runtime.batching.crowding import Crowd
from gpu_runtime.batching.fair_shares import FairShares, Share
from gpu_runtime.batching.groups import Group
from gpu_runtime.batching.turns import HYSTERESIS_TURNS, Device
from gpu_runtime.messages import Priority

CLASS_TURNS = {Priority.BACKGROUND: 25, Priority.TRAINING: 100}
"""Turns of higher classes after which a lower one gets one: 4 % and 1 % of the device at least."""

COLD_CLASS_FACTOR = 4
"""A lower class that first needs a load waits this many times the device's patience: its load and the one
back take at most a seventh of the device's time."""

BORROWED_STEPS = 30
"""Row-steps by which deadlines may put an account ahead of the others: an image's worth."""


@dataclass(slots=True)
class Leading:
    """Chooses leaders; remembers how long classes and loads have waited."""

    shares: FairShares
    max_rows: int
    _class_served: dict[Priority, int] = field(default_factory=dict)
    """For each class with work, the last turn that it led, or of its coming."""
    _account_served: dict[Share, int] = field(default_factory=dict)
    """For each account with work, the turn of its latest row, or of its coming."""
    _held_back_since: dict[Priority, int] = field(default_factory=dict)
    """For each class in which some wait for a load while others of it need none, the turn that began it."""
    _burst: tuple[Priority, int] | None = None
    """A lower class whose weights were loaded for it, and the last turn that it may lead by that."""

    def enter(self, share: Share, turn: int) -> None:
        """Note that an account has work waiting, from this turn on if it had none."""
        self._account_served.setdefault(share, turn)
        self._class_served.setdefault(share.priority, turn)

    def served(self, share: Share, turn: int) -> None:
        """Note that a row of an account is in this turn."""
        self._account_served[share] = turn

    def forget(self, active: Collection[Share]) -> None:
        """Drop who has no more work."""
        classes = {share.priority for share in active}
        self._account_served = {s: turn for s, turn in self._account_served.items() if s in active}
        self._class_served = {p: turn for p, turn in self._class_served.items() if p in classes}
        self._held_back_since = {p: turn for p, turn in self._held_back_since.items() if p in classes}

    def choose(self, groups: Sequence[Group], crowd: Crowd, turn: int) -> Group:
        """The leader of this turn, of at least one group."""
        priority = self._class_due(groups, crowd, turn)
        self._class_served[priority] = turn
        of_class = [group for group in groups if group.priority == priority]
        candidates = self._may_lead(
            of_class, crowd, turn, is_lower=priority > min(group.priority for group in groups)
        )
        starved = self._starved(candidates, of_class, turn)
        if starved:
            longest = min(self._account_served[group.share] for group in starved)
            return min(
                (group for group in starved if self._account_served[group.share] == longest),
                key=lambda group: order_in_account(group, turn),
            )
        urgent = self._urgent(candidates, of_class, crowd.device)
        if urgent:
            return min(urgent, key=lambda group: (group.customer.deadline, group.customer.arrival))
        return min(candidates, key=lambda group: (self.shares.of(group.share), order_in_account(group, turn)))

    def _class_due(self, groups: Sequence[Group], crowd: Crowd, turn: int) -> Priority:
        """The highest class with work, or a lower one that has waited for too long."""
        present = sorted({group.priority for group in groups})
        if self._burst and self._burst[0] in present and turn <= self._burst[1]:
            return self._burst[0]
        for priority in present[1:]:
            passed_over = turn - 1 - self._class_served[priority]
            if passed_over < CLASS_TURNS[priority]:
                continue
            if any(crowd.has_place(group) for group in groups if group.priority == priority):
                return priority
            if passed_over >= COLD_CLASS_FACTOR * crowd.device.patience:
                self._burst = (priority, turn + HYSTERESIS_TURNS - 1)
                return priority
        return present[0]

    def _may_lead(
        self, groups: Sequence[Group], crowd: Crowd, turn: int, *, is_lower: bool
    ) -> Sequence[Group]:
        """Of one class everybody, or those whose weights have a place, or at last those whose have none.

        Turns of other classes count as well: one that leads seldom would wait for ever otherwise.
        """
        priority = groups[0].priority
        ready, away = _parted(groups, crowd)
        if not ready or not away:
            self._held_back_since.pop(priority, None)
            return groups
        patience = crowd.device.patience * (COLD_CLASS_FACTOR if is_lower else 1)
        if turn - self._held_back_since.setdefault(priority, turn) < patience:
            return ready
        del self._held_back_since[priority]
        if is_lower:
            self._burst = (priority, turn + HYSTERESIS_TURNS - 1)
        # Only those that were held back: else the resident account furthest behind could lead again.
        return away

    def _starved(self, candidates: Sequence[Group], of_class: Sequence[Group], turn: int) -> list[Group]:
        """Those of accounts that were passed over for too long, beside all of their class."""
        waiting = [g for g in candidates if self._account_passed_over(g, turn) >= STARVATION_TURNS]
        if not waiting:
            return []
        most = starved_after(of_class, self.max_rows)
        return [g for g in waiting if self._account_passed_over(g, turn) >= most[g.share]]

    def _account_passed_over(self, group: Group, turn: int) -> int:
        """Consecutive turns, before this one, that brought no row of the group's account."""
        return turn - 1 - self._account_served[group.share]

    def _urgent(self, candidates: Sequence[Group], of_class: Sequence[Group], device: Device) -> list[Group]:
        """Those that miss their deadline at their fair share, make it if they lead, and may borrow for it."""
        hurried = [group for group in candidates if group.customer.deadline < float("inf")]
        if not hurried:
            return []
        weights = {group.share: group.customer.weight for group in of_class}
        behind = self.shares.furthest_behind(hurried[0].priority, weights)
        urgent = []
        for group in hurried:
            left = group.seconds_left(device, self.max_rows)
            time = group.customer.deadline - device.now
            is_needed = left <= time < left * sum(weights.values()) / group.customer.weight
            ahead = self.shares.of(group.share) - behind
            if is_needed and ahead <= BORROWED_STEPS * group.charge:
                urgent.append(group)
        return urgent


def _parted(groups: Sequence[Group], crowd: Crowd) -> tuple[list[Group], list[Group]]:
    """Those that need no load, or one that pushes nothing out; and the others."""
    parts: tuple[list[Group], list[Group]] = ([], [])
    for group in groups:
        parts[not crowd.has_place(group)].append(group)
    return parts


def order_in_account(group: Group, turn: int) -> tuple[bool, float, int, int, int]:
    """Sorts the groups of one account: long unserved ones, nearer deadlines, then who waited longest."""
    is_fresh = turn - 1 - group.last_turn < STARVATION_TURNS
    deadline = group.customer.deadline if is_fresh else 0.0
    return (is_fresh, deadline, group.last_turn, group.customer.arrival, group.stage)
