"""Which rows share the next denoiser call. Plain Python: no tensors, no clock.

How a turn is decided
---------------------
1. **Which class.** Interactive work before background before training (`Priority`). A lower class leads a
   turn after CLASS_TURNS turns that others led, so it is slow and never stands still.
2. **Who leads.** Accounts of the class are served by virtual time (`fair_shares`): what an account was given
   so far in TFLOP, divided by its weight. The account furthest behind leads, with its request of the nearest
   deadline, else with the one that waited longest. The leader's batch key is the turn's key.
3. **How many share.** As many rows as there are requests with that key, of this class or a higher one. More
   rows of many-image requests join while the call is predicted to take at most SURPLUS_SLOWDOWN times as
   long; without another request to hold up, all of them. So the rows of a 15-image request give way to a
   request behind it, step by step. There are never more than `max_rows`, what fits into memory, and b*: the
   rows beyond which a call takes proportionally longer, where more would help nobody and keep others waiting.
4. **Which ones.** The account furthest behind gives the next row, counting those already in the turn; within
   an account one row of every request comes before the second of any. Where there is room for all, rows
   beyond one a request are charged what they add to the call and not their price: nobody falls behind for
   using what was left over. Rows of lower classes then join for RIDE_SLOWDOWN, charged in the same way.

Three guards override point 2:

- **Hysteresis.** Loading weights costs as much as many steps, so a request whose checkpoint is not resident
  waits until those that are have had `Device.patience` turns, or nothing else of its class is left to do.
  Passes of other checkpoints (refiners) gather meanwhile. So does a request whose ControlNets and IP-adapters
  would push out what others wait for (`crowding`).
- **Deadlines.** A request that would miss its deadline at its account's fair share, and makes it if it leads,
  leads, as long as its account is less than BORROWED_STEPS ahead; the account pays it back afterwards.
- **Ageing.** Among those that may lead, an account passed over STARVATION_TURNS turns in a row leads, or more
  of them where so many wait that its weight lets it expect no less (`ageing`); within an account a request
  passed over STARVATION_TURNS turns comes first. It does not shorten the hysteresis: two queues longer than
  that would reload each other at every turn.

A request that makes its images in several passes has a group of rows for each, with its own key and price;
fairness is kept by account all the same.

Assumptions: an account's rows cost what the caller says (`row_cost`); weights are fixed per request; an
account that had nothing to do gains no credit for it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.crowding import Crowd
from gpu_runtime.batching.fair_shares import FairShares, Share
from gpu_runtime.batching.groups import Customer, Group
from gpu_runtime.batching.leading import Leading
from gpu_runtime.batching.sharing import Chosen, Sharing
from gpu_runtime.batching.turns import Device, ExtraNetwork, Room, RowId, Turn
from gpu_runtime.messages import Priority


class _Charged(NamedTuple):
    """What a row was charged for a turn, and what it was before."""

    amount: float
    """Of its account's virtual time."""
    steps_left: int
    last_turn: int
    """Of its group."""


@dataclass(slots=True)
class StepBatcher:
    """Holds the requests that want steps and picks the rows of each turn."""

    max_rows: int
    """Most rows (images) in one turn."""
    _customers: dict[str, Customer] = field(default_factory=dict)
    """Of every request that was added and not removed, with rows or between passes."""
    _groups: dict[tuple[str, int], Group] = field(default_factory=dict)
    """Those with rows, by request and stage."""
    _shares: FairShares = field(default_factory=FairShares)
    _leading: Leading = field(init=False)
    _charged: dict[RowId, _Charged] = field(default_factory=dict)
    """Rows of the latest turn."""
    _turn: int = 0
    _arrivals: int = 0

    def __post_init__(self) -> None:
        self._leading = Leading(self._shares, self.max_rows)

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
        stage: int = 0,
        steps: int = 0,
        networks: frozenset[ExtraNetwork] = frozenset(),
        priority: Priority = Priority.INTERACTIVE,
        deadline: float | None = None,
    ) -> None:
        """Take a request of `images` rows, each costing `row_cost` and bringing `forward_rows` to a call.

        `steps` are the calls that each row wants and `deadline` the time, by the clock of `Device.now`, at
        which the request should be done; without both it is served without regard to a deadline. `networks`
        are what its steps need on the device beside the checkpoint.
        The request is known until `remove`. Raises ValueError when it is already.
        """
        if request_id in self._customers:
            raise ValueError(f"request {request_id!r} is already waiting")
        self._arrivals += 1
        self._customers[request_id] = Customer(
            share=Share(priority, account),
            weight=weight,
            deadline=float("inf") if deadline is None or not steps else deadline,
            arrival=self._arrivals,
        )
        for index in range(images):
            self.join(
                request_id,
                stage,
                index,
                key=key,
                row_cost=row_cost,
                forward_rows=forward_rows,
                steps=steps,
                networks=networks,
            )

    def join(
        self,
        request_id: str,
        stage: int,
        index: int,
        *,
        key: BatchKey,
        row_cost: float,
        forward_rows: int,
        steps: int = 0,
        networks: frozenset[ExtraNetwork] = frozenset(),
    ) -> None:
        """Take one row of a known request into a pass. What is said of the pass counts for its first row.

        Raises KeyError for a request that was never added or is removed, ValueError for a row that is in the
        pass already.
        """
        customer = self._customers[request_id]
        group = self._groups.get((request_id, stage))
        if group is None:
            group = Group(
                request_id=request_id,
                stage=stage,
                customer=customer,
                key=key,
                row_cost=row_cost,
                forward_rows=forward_rows,
                networks=networks,
                last_turn=self._turn,
            )
            self._enter(group)
        if index in group.steps_left:
            raise ValueError(f"image {index} of request {request_id!r} is already in pass {stage}")
        group.steps_left[index] = steps

    def rekey(self, request_id: str, key: BatchKey, stage: int = 0) -> None:
        """Give the rows of a pass another key. Raises KeyError when the request has none in that pass.

        Those that were in the latest turn got nothing of it, and have it back.
        """
        group = self._groups[request_id, stage]
        group.key = key
        for index in group.rows:
            charged = self._charged.pop(RowId(request_id, index, stage), None)
            if charged:
                group.steps_left[index] = charged.steps_left
                group.last_turn = min(group.last_turn, charged.last_turn)
                self._shares.charge(group.share, -charged.amount)

    def remove(self, request_id: str) -> None:
        """Forget a request with all its rows; an unknown id is ignored."""
        if self._customers.pop(request_id, None):
            for place in [place for place in self._groups if place[0] == request_id]:
                self._leave(place)

    def retire(self, row: RowId) -> None:
        """Forget one row that has done the steps of its pass. Its request stays known."""
        place = row.request_id, row.stage
        del self._groups[place].steps_left[row.index]
        if not self._groups[place].steps_left:
            self._leave(place)

    def has_rows(self) -> bool:
        """Whether an image wants steps."""
        return bool(self._groups)

    def rows(self) -> dict[str, tuple[int, ...]]:
        """The images that still want steps, by request, whichever pass they are in."""
        found: dict[str, tuple[int, ...]] = {}
        for group in self._groups.values():
            found[group.request_id] = (*found.get(group.request_id, ()), *group.rows)
        return {request_id: tuple(sorted(rows)) for request_id, rows in found.items()}

    def keys(self) -> dict[BatchKey, int]:
        """For each key that may come next, the most forward rows a turn of it could bring."""
        found: dict[BatchKey, list[int]] = {}
        for group in self._groups.values():
            found.setdefault(group.key, []).extend([group.forward_rows] * len(group.steps_left))
        return {key: sum(heapq.nlargest(self.max_rows, rows)) for key, rows in found.items()}

    def plan(self, device: Device) -> Turn | None:
        """Decide on the next turn and charge its accounts; None when nobody waits."""
        if not self._groups:
            return None
        self._turn += 1
        groups = list(self._groups.values())
        crowd = Crowd.of(groups, device)
        leader = self._leading.choose(groups, crowd, self._turn)
        chosen = Sharing(
            leader=leader,
            groups=groups,
            shares=self._shares,
            crowd=crowd,
            room=Room(rows=self.max_rows, forward_rows=device.most_rows(leader.key)),
            turn=self._turn,
        ).rows()
        self._charged = {}
        for each in chosen:
            self._serve(each)
        self._shares.forgive(self._active())
        return Turn(key=leader.key, rows=tuple(each.row for each in chosen))

    def _serve(self, chosen: Chosen) -> None:
        """Note that a row is in this turn, and charge its account."""
        group, index = chosen.group, chosen.index
        amount = chosen.part * group.charge
        self._charged[chosen.row] = _Charged(amount, group.steps_left[index], group.last_turn)
        group.last_turn = self._turn
        group.steps_left[index] = max(0, group.steps_left[index] - 1)
        self._leading.served(group.share, self._turn)
        self._shares.charge(group.share, amount)

    def _enter(self, group: Group) -> None:
        active = self._active()
        share = group.share
        if share not in active:
            self._shares.enter(share, active)
        self._leading.enter(share, self._turn)
        self._groups[group.request_id, group.stage] = group

    def _leave(self, place: tuple[str, int]) -> None:
        del self._groups[place]
        self._leading.forget(self._active())

    def _active(self) -> frozenset[Share]:
        """Accounts with work, in each class."""
        return frozenset(group.share for group in self._groups.values())
