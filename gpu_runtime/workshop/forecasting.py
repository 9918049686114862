"""When everything that the Workshop holds will be done. Pure functions.

The engine says when its requests are, as if the device were its own, and operations are sized by what they
took before. Each side has half of the time while both have work: whatever ends after S seconds alone ends
after S and as much of the other side's work as comes meanwhile, S at most.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from gpu_runtime.batching.queue_forecast import Demand, forecast
from gpu_runtime.messages import Forecast
from gpu_runtime.workshop.estimates import OperationTimes
from gpu_runtime.workshop.held import HeldWork, Stage


def forecasts(
    engine: Iterable[Forecast], works: Collection[HeldWork], times: OperationTimes
) -> list[Forecast]:
    """Of all requests, the next to be done first. An image that the engine does not have yet is left out."""
    engine_s = {each.request_id: each.seconds for each in engine}
    demands = [_demand(held, times) for held in works]
    operations_s = {each.request_id: each.seconds for each in forecast(demands)}
    busy_engine_s = max(engine_s.values(), default=0.0)
    busy_operations_s = max(operations_s.values(), default=0.0)
    ends = dict[str, float]()
    for request_id, seconds in engine_s.items():
        ends[request_id] = seconds + min(seconds, busy_operations_s)
    for request_id, seconds in operations_s.items():
        beside = seconds + min(seconds, busy_engine_s)
        # Operations on its first images run while the engine makes the others.
        ends[request_id] = ends.get(request_id, 0.0) + beside
    ordered = sorted((seconds, request_id) for request_id, seconds in ends.items())
    return [
        Forecast(request_id=request_id, position=position, seconds=seconds)
        for position, (seconds, request_id) in enumerate(ordered)
    ]


def _demand(held: HeldWork, times: OperationTimes) -> Demand:
    request = held.request
    seconds = sum(
        times.left_s([each.name for each in course.operations[course.position :]], course.share)
        for course in held.courses
    )
    # The images whose operations have not begun.
    begun = sum(course.index is not None and not course.is_between for course in held.courses)
    to_come = held.steps.images - held.images_done - begun
    if held.stage is not Stage.AFTER:
        seconds += to_come * times.left_s([each.name for each in request.after])
        away = held.images_returned + sum(course.is_between for course in held.courses)
        seconds += (held.steps.images - away) * times.left_s([each.name for each in request.between])
    return Demand(
        request_id=held.request_id,
        account=request.account,
        weight=request.weight,
        priority=request.priority,
        seconds=seconds,
    )
