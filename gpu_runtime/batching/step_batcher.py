"""Which rows share the next denoiser call. Plain Python: no tensors, no clock.

How a turn is decided
---------------------
1. **Who leads.** Accounts are served by virtual time: what an account was given so far, divided by its
   weight. The account furthest behind leads with the request of its that waited longest for a turn. The
   leader's batch key is the turn's key.
2. **Everybody once.** Every request with that key gets its next row, furthest-behind account first, up to
   `max_rows`.
3. **The rest rides along if it is nearly free.** Further rows of many-image requests join while the call is
   predicted to take at most SURPLUS_SLOWDOWN times the call of point 2. Without another request to hold up,
   they all join. So the rows of a 15-image request give way to a request behind it, step by step.

Two guards override point 1:

- **Hysteresis.** Loading weights costs as much as many steps, so a request whose checkpoint is not resident
  waits until those that are have had `Device.patience` turns, or nothing else is left to do.
- **Ageing.** Among those that may lead, a request passed over STARVATION_TURNS turns in a row leads. It does
  not shorten the hysteresis: two queues longer than that would reload each other at every turn.

Assumptions: an account's rows cost what the caller says (`row_cost`); weights are fixed per request; an
account that had nothing to do gains no credit for it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from gpu_runtime.batching.batch_key import BatchKey

SURPLUS_SLOWDOWN = 1.25
"""With two rows sharing a call that costs twice one row's (a CPU), a lone request beside a many-image one is
slowed 2 x 1.25 = 2.5 times at worst, which is the product's target."""

STARVATION_TURNS = 50
"""At 20 ms a step this is a second; at 1 s a step nobody waits a minute for a first turn."""

HYSTERESIS_TURNS = 16
"""Turns that requests with resident weights may take before one that needs a load, if loading is quick."""


@dataclass(frozen=True, slots=True)
class RowId:
    """One image of one request."""

    request_id: str
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the next denoiser call computes."""

    key: BatchKey
    rows: tuple[RowId, ...]
    """At least one, no duplicates, all of requests with this key."""


@dataclass(slots=True, kw_only=True)
class _Waiting:
    """One request with rows that still have steps to do."""

    request_id: str
    account: str
    weight: float
    key: BatchKey
    rows: list[int]
    row_cost: float
    forward_rows: int
    arrival: int
    last_turn: int
    """Turn of its latest row, or of its arrival: decides who waited longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the batcher has to know about the device to plan a turn."""

    resident: Collection[str]
    """Digests of the checkpoints that need no loading."""
    call_cost: Callable[[BatchKey, int], float]
    """Predicted duration of a call of so many forward rows, in any unit."""
    row_limit: Callable[[BatchKey], int]
    """Most forward rows that fit into memory at this key."""
    patience: int = HYSTERESIS_TURNS
    """Turns that requests with resident weights may take before one that needs a load."""


@dataclass(slots=True)
class StepBatcher:
    """Holds the requests that want steps and picks the rows of each turn."""

    max_rows: int
    """Most rows (images) in one turn."""
    _requests: dict[str, _Waiting] = field(default_factory=dict)
    _virtual: dict[str, float] = field(default_factory=dict)
    """Cost given to each active account, divided by its weight."""
    _turn: int = 0
    _arrivals: int = 0
    _turns_since_load: int = 0

    def add(
        self,
        request_id: str,
        *,
        account: str,
        weight: float,
        key: BatchKey,
        images: int,
        row_cost: float,
        forward_rows: int,
    ) -> None:
        """Take a request of `images` rows, each costing `row_cost` and bringing `forward_rows` to a call."""
        if request_id in self._requests:
            raise ValueError(f"request {request_id!r} is already waiting")
        if account not in self._virtual:
            self._virtual[account] = min(self._virtual.values(), default=0.0)
        self._arrivals += 1
        self._requests[request_id] = _Waiting(
            request_id=request_id,
            account=account,
            weight=weight,
            key=key,
            rows=list(range(images)),
            row_cost=row_cost,
            forward_rows=forward_rows,
            arrival=self._arrivals,
            last_turn=self._turn,
        )

    def remove(self, request_id: str) -> None:
        """Forget a request with all its rows; an unknown id is ignored."""
        waiting = self._requests.pop(request_id, None)
        if waiting and all(other.account != waiting.account for other in self._requests.values()):
            del self._virtual[waiting.account]

    def retire(self, row: RowId) -> None:
        """Forget one row that has done its steps."""
        waiting = self._requests[row.request_id]
        waiting.rows.remove(row.index)
        if not waiting.rows:
            self.remove(row.request_id)

    def rows(self) -> dict[str, tuple[int, ...]]:
        """The rows that still want steps, by request."""
        return {request_id: tuple(waiting.rows) for request_id, waiting in self._requests.items()}

    def keys(self) -> dict[BatchKey, int]:
        """For each key that may come next, the most forward rows a turn of it could bring."""
        found: dict[BatchKey, list[int]] = {}
        for waiting in self._requests.values():
            found.setdefault(waiting.key, []).extend([waiting.forward_rows] * len(waiting.rows))
        return {key: sum(heapq.nlargest(self.max_rows, rows)) for key, rows in found.items()}

    def plan(self, device: Device) -> Turn | None:
        """Decide on the next turn and charge its accounts; None when nobody waits."""
        if not self._requests:
            return None
        self._turn += 1
        leader = self._choose_leader(device)
        candidates = self._in_order(leader)
        room = _Room(rows=self.max_rows, forward_rows=device.row_limit(leader.key))
        chosen = [RowId(w.request_id, w.rows[0]) for w in candidates if room.take(w)]
        chosen += self._surplus(candidates[: len(chosen)], room, device)
        self._charge(chosen)
        return Turn(key=leader.key, rows=tuple(chosen))

    def _choose_leader(self, device: Device) -> _Waiting:
        candidates = self._may_lead(device)
        starved = [w for w in candidates if self._passed_over(w) >= STARVATION_TURNS]
        if starved:
            return min(starved, key=lambda w: (w.last_turn, w.arrival))
        return min(candidates, key=self._precedence)

    def _may_lead(self, device: Device) -> list[_Waiting]:
        """Everybody, or those whose weights are there, or at last those whose weights are not."""
        waiting = list(self._requests.values())
        ready = [w for w in waiting if w.key.checkpoint in device.resident]
        if not ready or len(ready) == len(waiting):
            self._turns_since_load = 0
            return waiting
        if self._turns_since_load < device.patience:
            self._turns_since_load += 1
            return ready
        self._turns_since_load = 0
        # Only those that were held back: else the resident account furthest behind could lead again.
        return [w for w in waiting if w.key.checkpoint not in device.resident]

    def _passed_over(self, waiting: _Waiting) -> int:
        """Consecutive turns, before this one, that brought no row of the request."""
        return self._turn - 1 - waiting.last_turn

    def _precedence(self, waiting: _Waiting) -> tuple[float, int, int]:
        return (self._virtual[waiting.account], waiting.last_turn, waiting.arrival)

    def _in_order(self, leader: _Waiting) -> list[_Waiting]:
        """Requests that may share the leader's call, in the order in which they get a first row.

        The leader is first. Each next one is of the account that is furthest behind, counting the rows
        already given in this turn; within an account, who waited longest.
        """
        queues: dict[str, list[_Waiting]] = {}
        for waiting in self._requests.values():
            if waiting.key == leader.key and waiting is not leader:
                queues.setdefault(waiting.account, []).append(waiting)
        heap: list[tuple[float, int, int, str]] = []

        def offer(account: str, virtual: float) -> None:
            if queues.get(account):
                first = queues[account][-1]
                heapq.heappush(heap, (virtual, first.last_turn, first.arrival, account))

        for queue in queues.values():
            queue.sort(key=lambda w: (w.last_turn, w.arrival), reverse=True)
        for account in queues:
            given = leader.row_cost / leader.weight if account == leader.account else 0.0
            offer(account, self._virtual[account] + given)
        ordered = [leader]
        while heap:
            virtual, _, _, account = heapq.heappop(heap)
            waiting = queues[account].pop()
            ordered.append(waiting)
            offer(account, virtual + waiting.row_cost / waiting.weight)
        return ordered

    def _surplus(self, sharing: Sequence[_Waiting], room: _Room, device: Device) -> list[RowId]:
        """Second and further rows of the requests in this turn, one of each request at a time."""
        key = sharing[0].key
        is_contended = len(self._requests) > 1
        most = SURPLUS_SLOWDOWN * device.call_cost(key, room.taken) if is_contended else float("inf")
        chosen: list[RowId] = []
        for nth in range(1, max(len(w.rows) for w in sharing)):
            for waiting in sharing:
                if nth >= len(waiting.rows):
                    continue
                if is_contended and device.call_cost(key, room.taken + waiting.forward_rows) > most:
                    return chosen
                if not room.take(waiting):
                    return chosen
                chosen.append(RowId(waiting.request_id, waiting.rows[nth]))
        return chosen

    def _charge(self, rows: Sequence[RowId]) -> None:
        for row in rows:
            waiting = self._requests[row.request_id]
            waiting.last_turn = self._turn
            self._virtual[waiting.account] += waiting.row_cost / waiting.weight


@dataclass(slots=True)
class _Room:
    """What is left of a turn's two limits."""

    rows: int
    forward_rows: int
    taken: int = 0
    """Forward rows taken so far."""

    def take(self, waiting: _Waiting) -> bool:
        """Make room for one row, or refuse. The first always fits: a smaller turn does not exist."""
        if self.taken and (self.rows < 1 or self.taken + waiting.forward_rows > self.forward_rows):
            self.rows = 0
            return False
        self.rows -= 1
        self.taken += waiting.forward_rows
        return True
