"""When waiting requests will be done, against a simulation and by hand."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpu_runtime.batching.queue_forecast import Demand, forecast, shared_finish_s
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, Forecast, Priority
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.turns_driving import add, key, plan


def demand(request_id: str, seconds: float, **changes: object) -> Demand:
    fields: dict[str, object] = {"account": request_id, "weight": 1.0, "priority": Priority.INTERACTIVE}
    return Demand(request_id=request_id, seconds=seconds, **{**fields, **changes})  # type: ignore[arg-type]


def ends(*demands: Demand) -> dict[str, float]:
    return {each.request_id: each.seconds for each in forecast(demands)}


def test_lone_request_takes_its_own_time() -> None:
    assert forecast([demand("a", 3.0)]) == [Forecast(request_id="a", position=0, seconds=3.0)]
    assert forecast([]) == []


def test_equal_accounts_share_until_the_shorter_is_done() -> None:
    assert ends(demand("a", 3.0), demand("b", 10.0)) == {"a": 6.0, "b": 13.0}


def test_heavier_account_gets_more_meanwhile() -> None:
    assert ends(demand("a", 3.0, weight=3.0), demand("b", 10.0)) == {"a": 4.0, "b": 13.0}


def test_requests_of_one_account_share_its_part() -> None:
    found = ends(demand("a", 2.0, account="ada"), demand("b", 4.0, account="ada"), demand("c", 100.0))
    assert found == {"a": 8.0, "b": 12.0, "c": 106.0}


def test_lower_classes_come_after_higher_ones() -> None:
    found = forecast([demand("later", 1.0, priority=Priority.BACKGROUND), demand("a", 3.0), demand("b", 3.0)])
    assert [(each.request_id, each.position, each.seconds) for each in found] == [
        ("a", 0, 6.0),
        ("b", 1, 6.0),
        ("later", 2, 7.0),
    ]


def test_no_request_is_done_before_its_steps_one_after_another() -> None:
    """Two share calls of two seconds, each having half of their time, until the shorter one is done."""
    short, long = demand("short", 2.0, alone_s=4.0), demand("long", 10.0, alone_s=20.0)
    later = demand("later", 1.0, alone_s=2.0, priority=Priority.BACKGROUND)
    assert ends(short, long, later) == {"short": 4.0, "long": 20.0, "later": 22.0}


def test_account_among_others_that_want_less() -> None:
    assert shared_finish_s(10.0, 2.0, [(1.0, 1.0), (100.0, 1.0), (100.0, 4.0)]) == 10.0 + 1.0 + 5.0 + 20.0


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.sampled_from("abc"), st.sampled_from([1.0, 2.0, 4.0])), max_size=6
    )
)
def test_step_batcher_keeps_to_the_forecast(waiting: list[tuple[int, str, float]]) -> None:
    """One row a turn, each request with a key of its own; weights belong to accounts."""
    weights = {account: weight for _, account, weight in waiting}
    batcher, left, demands = StepBatcher(1), dict[str, int](), list[Demand]()
    for number, (steps, account, _) in enumerate(waiting):
        name, weight = f"r{number}", weights[account]
        add(batcher, name, account=account, weight=weight, key=key(isolated=name))
        left[name] = steps
        demands.append(demand(name, float(steps), account=account, weight=weight))
    expected, turn = ends(*demands), 0
    while batcher.rows():
        turn += 1
        [row] = plan(batcher).rows
        left[row.request_id] -= 1
        if not left[row.request_id]:
            batcher.retire(row)
            assert turn == pytest.approx(expected[row.request_id], abs=4 * len(waiting))


def test_engine_forecasts_what_it_holds(checkpoint: CheckpointRef) -> None:
    """In this order: a few steps, many steps, a later class."""
    engine = Engine(EngineConfig(device="cpu", dtype="float32"))
    engine.submit(image_request("long", checkpoint, steps=40, account="ada"))
    engine.submit(image_request("short", checkpoint, steps=4, account="ben"))
    engine.submit(image_request("later", checkpoint, steps=1, account="cleo", priority=Priority.BACKGROUND))
    engine.step()
    before = engine.forecast()
    assert [each.request_id for each in before] == ["short", "long", "later"]
    for request_id in ("short", "later"):
        engine.cancel(request_id)
    [alone] = engine.forecast()
    assert alone.position == 0
    assert 0 < alone.seconds <= before[1].seconds
    engine.close()
