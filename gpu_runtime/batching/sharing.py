"""Who joins the leader of a turn. See `step_batcher` for the rules in words."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpu_runtime.batching.crowding import Crowd
from gpu_runtime.batching.fair_shares import FairShares, Share
from gpu_runtime.batching.groups import Group
from gpu_runtime.batching.leading import order_in_account
from gpu_runtime.batching.turns import Room, RowId

SURPLUS_SLOWDOWN = 1.25
"""With two rows sharing a call that costs twice one row's (a CPU), a lone request beside a many-image one is
slowed 2 x 1.25 = 2.5 times at worst, which is the product's target."""

RIDE_SLOWDOWN = 1.05
"""What rows of a lower class may add to a call: less than the noise of its duration."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """One row of a turn."""

    group: Group
    index: int
    part: float
    """How much of its price it adds to the call, 0 to 1."""

    @property
    def row(self) -> RowId:
        """The row's name."""
        return RowId(self.group.request_id, self.index, self.group.stage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """One turn whose leader is known."""

    leader: Group
    groups: Sequence[Group]
    """All that wait, the leader among them."""
    shares: FairShares
    crowd: Crowd
    room: Room
    turn: int

    def rows(self) -> list[Chosen]:
        """The rows of the turn: of the leader's class and those above it, then of lower ones."""
        leader = self.leader
        together = self._together()
        sharing = [group for group in together if group.priority <= leader.priority]
        first_rows = self._first_rows(sharing)
        is_contended = any(
            group.request_id != leader.request_id and group.priority <= leader.priority
            for group in self.groups
        )
        most = SURPLUS_SLOWDOWN * self._cost(first_rows) if is_contended else float("inf")
        chosen = self._while_cheap(self._in_order(sharing), at_any_cost=first_rows, most=most)
        if len(chosen) < sum(len(group.steps_left) for group in sharing):
            # There was not room for all: whoever got it pays for it.
            return [replace(each, part=1.0) for each in chosen]
        most = RIDE_SLOWDOWN * self._cost(self.room.taken)
        lower = [group for group in together if group.priority > leader.priority]
        return chosen + self._while_cheap(self._rows_of_lower(lower), at_any_cost=0, most=most)

    def _together(self) -> list[Group]:
        """All with the leader's key whose networks may be on the device at once with the leader's.

        Where not all may, higher classes go before lower ones, and there accounts that are further behind.
        """
        alike = [group for group in self.groups if group.key == self.leader.key]
        if not any(group.networks for group in alike):
            return alike
        alike.sort(key=self._precedence)
        return self.crowd.together(self.leader, alike)

    def _precedence(self, group: Group) -> tuple[bool, int, float, int]:
        arrival = group.customer.arrival
        return group is not self.leader, group.priority, self.shares.of(group.share), arrival

    def _first_rows(self, sharing: Sequence[Group]) -> int:
        """Forward rows of a turn that has one row of every request, as far as there is room."""
        rows = sum(sorted(group.forward_rows for group in sharing)[: self.room.rows])
        return max(self.leader.forward_rows, min(rows, self.room.forward_rows))

    def _in_order(self, sharing: Sequence[Group]) -> Iterator[tuple[Group, int]]:
        """All rows of the groups, the leader's next one first.

        Each next one is of the highest class, there of the account that is furthest behind, counting the rows
        already given in this turn.
        """
        leader = self.leader
        yield leader, leader.rows[0]
        of_accounts: dict[Share, list[Group]] = {}
        for group in sharing:
            of_accounts.setdefault(group.share, []).append(group)
        queues = {share: self._of_account(groups) for share, groups in of_accounts.items()}
        heap: list[tuple[int, float, int, Share, Group, int]] = []

        def offer(share: Share, virtual: float) -> None:
            following = next(queues[share], None)
            if following is not None:
                group, index = following
                # No two entries are of one arrival: the order never depends on what follows it.
                arrival = group.customer.arrival
                heapq.heappush(heap, (share.priority, virtual, arrival, share, group, index))

        for share in queues:
            given = leader.charge if share == leader.share else 0.0
            offer(share, self.shares.of(share) + given)
        while heap:
            _, virtual, _, share, group, index = heapq.heappop(heap)
            yield group, index
            offer(share, virtual + group.charge)

    def _of_account(self, groups: list[Group]) -> Iterator[tuple[Group, int]]:
        """Rows of one account but for the leader's first: one of every group, then a second of each."""
        groups.sort(key=lambda group: order_in_account(group, self.turn))
        for nth in range(max(len(group.steps_left) for group in groups)):
            for group in groups:
                if nth < len(group.steps_left) and not (group is self.leader and nth == 0):
                    yield group, group.rows[nth]

    def _rows_of_lower(self, lower: Sequence[Group]) -> Iterator[tuple[Group, int]]:
        """Rows of lower classes with the leader's key, the highest of them and furthest behind first."""
        ordered = sorted(lower, key=lambda group: (group.priority, self.shares.of(group.share)))
        return ((group, index) for group in ordered for index in group.rows)

    def _while_cheap(
        self, rows: Iterator[tuple[Group, int]], *, at_any_cost: int, most: float
    ) -> list[Chosen]:
        """Rows in their order as long as there is room, and the call costs at most `most`.

        Up to `at_any_cost` forward rows it may cost more. Rows beyond those have a part in their price.
        """
        chosen: list[Chosen] = []
        for group, index in rows:
            taken, part = self.room.taken, 1.0
            if taken and taken + group.forward_rows > at_any_cost:
                before, after = self._cost(taken), self._cost(taken + group.forward_rows)
                if after > most:
                    break
                price = before * group.forward_rows / taken
                part = min(1.0, max(0.0, after - before) / price) if price > 0 else 1.0
            if not self.room.take(group.forward_rows):
                break
            chosen.append(Chosen(group, index, part))
        return chosen

    def _cost(self, forward_rows: int) -> float:
        return self.crowd.device.call_cost(self.leader.key, forward_rows)
