"""After how many turns without a row an account counts as starved, and leads the next one.

Virtual time serves everybody in proportion to weight, and ageing is for what it does not foresee: deadlines
of others, held back weights, a plan of next to no weight. It must not come first: where many accounts share
no call, each waits for all others, the lightest for longest, and if all of them counted as starved their
weights would count for nothing. So the limit grows with the turns that are between two of an account anyway.
Plain Python.
"""

from __future__ import annotations

from collections.abc import Sequence

from gpu_runtime.batching.fair_shares import Share
from gpu_runtime.batching.groups import Group

STARVATION_TURNS = 50
"""An account passed over so often leads. At 20 ms a step this is a second; at 1 s a step nobody waits a
minute for a first turn."""

TURNS_OF_EACH_OTHER = 25
"""Many accounts: it is never more than this for each of the others, so that one with a twelfth of their
weight has its due share."""

OVERDUE = 2.0
"""Between the two: this many times the turns from one to the next that its weight lets it expect."""


def starved_after(groups: Sequence[Group], max_rows: int) -> dict[Share, float]:
    """Turns for each account, where all of these groups wait and a turn has `max_rows` rows at most.

    At least STARVATION_TURNS. Virtual times advance together, so between two turns of an account they advance
    by what its turn was charged, and all accounts take the turns that go into so much: counted here as if its
    turns were as large as they can be and all others of one row, of the cheapest kind.
    """
    cheapest: dict[Share, float] = {}
    largest_turn: dict[Share, float] = {}
    for group in groups:
        share, charge = group.share, group.charge
        turn = charge * min(max_rows, len(group.steps_left))
        if share in cheapest:
            charge, turn = min(charge, cheapest[share]), max(turn, largest_turn[share])
        cheapest[share], largest_turn[share] = charge, turn
    turns_a_unit = sum(1.0 / charge for charge in cheapest.values())
    most = TURNS_OF_EACH_OTHER * (len(cheapest) - 1)
    return {
        share: max(STARVATION_TURNS, min(OVERDUE * charge * turns_a_unit, most))
        for share, charge in largest_turn.items()
    }
