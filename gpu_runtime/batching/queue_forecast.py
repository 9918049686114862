"""When waiting requests will be done, given fair shares: queue positions and ETAs. Pure functions, no clock.

The device is taken for a fluid: classes of priority one after another; within a class every account with
work has the device in proportion to its weight; within an account every request has an equal part. While a
request is done, each other account gets as much as its weight allows in the same virtual time, or all it
wants if that is less. This is what the step batcher tends to; turns, loads of weights and what comes later
are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gpu_runtime.messages import Forecast, Priority


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one request still wants."""

    request_id: str
    account: str
    weight: float
    priority: Priority
    seconds: float
    """Of the device: its part of the calls that it shares now."""
    alone_s: float = 0.0
    """What its steps take one after another, however much it shares them."""


def shared_finish_s(own_s: float, own_weight: float, others: Iterable[tuple[float, float]]) -> float:
    """Seconds until an account was given `own_s` of the device beside others of its class.

    `others` are what each other account wants, in seconds, and its weight.
    """
    virtual = own_s / own_weight
    return own_s + sum(min(wanted, virtual * weight) for wanted, weight in others)


def forecast(demands: Sequence[Demand]) -> list[Forecast]:
    """Position and seconds of each request, the next to be done first."""
    ends: list[tuple[float, str]] = []
    start_s = 0.0
    for priority in sorted({demand.priority for demand in demands}):
        of_class = [demand for demand in demands if demand.priority == priority]
        ends += [(start_s + max(each.alone_s, _end_s(each, of_class)), each.request_id) for each in of_class]
        start_s = max(seconds for seconds, _ in ends)
    return [
        Forecast(request_id=request_id, position=position, seconds=seconds)
        for position, (seconds, request_id) in enumerate(sorted(ends))
    ]


def _end_s(demand: Demand, of_class: Sequence[Demand]) -> float:
    own, wanted, weights = 0.0, dict[str, float](), dict[str, float]()
    for other in of_class:
        if other.account == demand.account:
            own += min(other.seconds, demand.seconds)
            continue
        wanted[other.account] = wanted.get(other.account, 0.0) + other.seconds
        weights[other.account] = max(weights.get(other.account, 0.0), other.weight)
    return shared_finish_s(own, demand.weight, [(s, weights[account]) for account, s in wanted.items()])
