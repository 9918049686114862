"""Who shares the next call. No torch, no clock: a turn is one unit of time unless a test says otherwise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gpu_runtime.batching.ageing import STARVATION_TURNS, TURNS_OF_EACH_OTHER, starved_after
from gpu_runtime.batching.batch_key import BatchKey, batch_key
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import HYSTERESIS_TURNS, RowId
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.turns_driving import add, device, key, plan, requests_of


def test_nothing_waiting_gives_no_turn() -> None:
    assert StepBatcher(4).plan(device()) is None


def test_lone_request_gets_all_of_its_rows() -> None:
    batcher = StepBatcher(16)
    add(batcher, "a", images=15)
    assert plan(batcher).rows == tuple(RowId("a", index) for index in range(15))


def test_requests_with_equal_keys_share_a_turn() -> None:
    batcher = StepBatcher(16)
    for name in "abc":
        add(batcher, name)
    assert requests_of(plan(batcher)) == {"a": 1, "b": 1, "c": 1}


@pytest.mark.parametrize("other", [key(checkpoint="d"), key(side=768), key(isolated="b")], ids=str)
def test_requests_with_different_keys_do_not_share_a_turn(other: BatchKey) -> None:
    batcher = StepBatcher(16)
    add(batcher, "a")
    add(batcher, "b", key=other)
    assert [requests_of(plan(batcher)) for _ in range(4)] == [{"a": 1}, {"b": 1}] * 2


def test_isolated_request_has_a_key_of_its_own() -> None:
    alone = batch_key(image_request("a", is_isolated=True))
    assert alone != batch_key(image_request("b", is_isolated=True))
    assert alone != batch_key(image_request("a"))


def test_key_ignores_what_may_differ_within_a_call() -> None:
    other = image_request(
        "b", prompt="x", seeds=(1, 2), steps=9, guidance_scale=1.0, account="ben", weight=3.0
    )
    assert batch_key(image_request("a")) == batch_key(other)


def test_turn_has_at_most_max_rows() -> None:
    batcher = StepBatcher(4)
    for index in range(10):
        add(batcher, f"r{index}", images=3)
    assert len(plan(batcher).rows) == 4


def test_turn_stays_within_what_fits_into_memory() -> None:
    batcher = StepBatcher(16)
    for name in "abcd":
        add(batcher, name, forward_rows=2)
    assert len(plan(batcher, device(limit=4)).rows) == 2
    assert len(plan(batcher, device(limit=1)).rows) == 1


def test_single_image_behind_fifteen_joins_the_very_next_turn() -> None:
    batcher = StepBatcher(16)
    add(batcher, "many", images=15)
    plan(batcher)
    add(batcher, "one")
    assert requests_of(plan(batcher)) == {"many": 1, "one": 1}


def test_single_image_behind_fifteen_takes_at_most_two_and_a_half_times_its_time_alone() -> None:
    batcher, where = StepBatcher(16), device(linear=True)
    add(batcher, "many", images=15)
    plan(batcher, where)
    add(batcher, "one")
    steps, elapsed = 20, 0.0
    while steps:
        turn = plan(batcher, where)
        elapsed += where.call_cost(turn.key, len(turn.rows))
        steps -= requests_of(turn)["one"]
    assert elapsed <= 2.5 * 20


def test_rows_that_cost_nothing_extra_all_ride_along() -> None:
    batcher = StepBatcher(16)
    add(batcher, "many", images=15)
    add(batcher, "one")
    assert requests_of(plan(batcher, device(linear=False))) == {"many": 15, "one": 1}


def test_single_image_of_the_same_account_is_not_starved_either() -> None:
    batcher = StepBatcher(16)
    add(batcher, "many", images=15, account="ada")
    add(batcher, "other-size", account="ada", key=key(side=768))
    assert [requests_of(plan(batcher))["other-size"] for _ in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize(("weight", "share"), [(1.0, 0.5), (3.0, 0.75), (9.0, 0.9)])
def test_rows_are_shared_in_proportion_to_weight(weight: float, share: float) -> None:
    batcher = StepBatcher(4)
    for index in range(20):
        add(batcher, f"ada{index}", account="ada", weight=weight)
        add(batcher, f"ben{index}", account="ben")
    given: Counter[str] = Counter()
    for _ in range(100):
        given.update(row.request_id[:3] for row in plan(batcher).rows)
    assert given["ada"] / given.total() == pytest.approx(share, abs=0.02)


def test_expensive_rows_count_for_what_they_cost() -> None:
    batcher = StepBatcher(1)
    add(batcher, "big", row_cost=4.0, key=key(side=1024))
    add(batcher, "small", row_cost=1.0)
    given: Counter[str] = Counter()
    for _ in range(100):
        given.update(requests_of(plan(batcher)))
    assert given["small"] == pytest.approx(4 * given["big"], abs=4)


def test_idle_account_gains_no_credit() -> None:
    batcher = StepBatcher(1)
    add(batcher, "ada")
    for _ in range(30):
        plan(batcher)
    add(batcher, "ben")
    given: Counter[str] = Counter()
    for _ in range(10):
        given.update(requests_of(plan(batcher)))
    assert given == {"ada": 5, "ben": 5}


def test_request_passed_over_too_often_leads() -> None:
    batcher = StepBatcher(1)
    add(batcher, "rich", weight=1e9)
    add(batcher, "poor", weight=1e-9)
    served = [requests_of(plan(batcher))["poor"] for _ in range(3 * STARVATION_TURNS)]
    gaps = [
        b - a for a, b in zip(*[[i for i, s in enumerate(served) if s][n:] for n in (0, 1)], strict=False)
    ]
    assert gaps
    assert max(gaps) <= STARVATION_TURNS + 1


@settings(max_examples=4, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(weights=st.lists(st.integers(1, 8), min_size=100, max_size=100))
def test_weights_hold_among_many_accounts_that_share_no_call(weights: list[int]) -> None:
    batcher = StepBatcher(16)
    for index, weight in enumerate(weights):
        add(batcher, f"r{index}", weight=float(weight), key=key(side=8 * (index + 1)))
    rounds = 4
    given: Counter[str] = Counter()
    unserved, gaps = dict.fromkeys(range(100), 0), dict.fromkeys(range(100), 0)
    for _ in range(rounds * sum(weights)):
        served = requests_of(plan(batcher))
        given.update(served)
        for index in unserved:
            unserved[index] = 0 if served[f"r{index}"] else unserved[index] + 1
            gaps[index] = max(gaps[index], unserved[index])
    for index, weight in enumerate(weights):
        # A turn more or less is what the end of the last round leaves open.
        assert given[f"r{index}"] == pytest.approx(rounds * weight, rel=0.1, abs=1.0)
        assert gaps[index] <= max(STARVATION_TURNS, 2 * sum(weights) / weight) + 1


def test_account_among_many_is_starved_after_twice_the_turns_that_its_weight_lets_it_expect() -> None:
    batcher = StepBatcher(4)
    for index in range(100):
        weight = 1.0 if index else 0.5
        add(batcher, f"r{index}", weight=weight, key=key(side=8 * (index + 1)), images=9 if index == 1 else 1)
    after = starved_after(list(batcher._groups.values()), batcher.max_rows)
    by_account = {share.account: turns for share, turns in after.items()}
    assert by_account["r0"] == pytest.approx(2 * (99 + 0.5) / 0.5)
    assert by_account["r1"] == pytest.approx(4 * 2 * 99.5), "its turns are four rows"
    assert by_account["r2"] == pytest.approx(2 * 99.5)
    add(batcher, "poor", weight=1e-9)
    after = starved_after(list(batcher._groups.values()), batcher.max_rows)
    assert max(after.values()) == TURNS_OF_EACH_OTHER * 100


def test_rows_that_are_given_another_key_have_back_what_they_were_charged() -> None:
    batcher = StepBatcher(16)
    add(batcher, "long", images=2, steps=5)
    add(batcher, "short", steps=5)
    where = device(linear=False)
    assert requests_of(plan(batcher, where)) == {"long": 2, "short": 1}
    group = batcher._groups["long", 0]
    for _ in range(2):
        # For each of its rows, as the engine does.
        batcher.rekey("long", replace(key(), shape=(154,)))
    assert batcher._shares.of(group.share) == 0.0
    assert batcher._shares.of(batcher._groups["short", 0].share) == 1.0
    assert (group.steps_left, group.last_turn) == ({0: 5, 1: 5}, 0)
    # The next turn is its own, since it is behind now; then it pays like everybody.
    assert requests_of(plan(batcher, where)) == {"long": 2}
    assert batcher._shares.of(group.share) > 0.0
    batcher.rekey("short", key())
    assert batcher._shares.of(batcher._groups["short", 0].share) == 1.0, "it was not in the latest turn"


def test_loading_another_checkpoint_waits_while_resident_ones_have_work() -> None:
    batcher = StepBatcher(4)
    add(batcher, "resident")
    add(batcher, "cold", key=key(checkpoint="cold"))
    leaders = [next(iter(requests_of(plan(batcher, device(resident=("c",)))))) for _ in range(20)]
    assert leaders.index("cold") == HYSTERESIS_TURNS


def test_patience_may_be_longer_than_usual() -> None:
    batcher = StepBatcher(4)
    add(batcher, "resident")
    add(batcher, "cold", key=key(checkpoint="cold"))
    where = replace(device(resident=("c",)), patience=3 * HYSTERESIS_TURNS)
    leaders = [next(iter(requests_of(plan(batcher, where)))) for _ in range(60)]
    assert leaders.index("cold") == 3 * HYSTERESIS_TURNS


def run_with_room_for_one(batcher: StepBatcher, steps: dict[str, int]) -> tuple[int, int]:
    """Serve requests of so many steps until all are done. Returns loads and turns."""
    resident, loads, turns = "", 0, 0
    while batcher.rows():
        turn = plan(batcher, device(resident=(resident,)))
        turns += 1
        if turn.key.checkpoint != resident:
            resident = turn.key.checkpoint
            loads += 1
        for row in turn.rows:
            steps[row.request_id] -= 1
            if not steps[row.request_id]:
                batcher.retire(row)
    return loads, turns


@pytest.mark.parametrize("max_rows", [1, 2, 16])
@pytest.mark.parametrize("accounts", [1, 2, 40])
def test_two_long_queues_without_room_for_both_do_not_thrash(max_rows: int, accounts: int) -> None:
    """With 100 requests a checkpoint and one row a turn, all of them are passed over for long."""
    batcher, steps = StepBatcher(max_rows), {}
    for index in range(200):
        name, checkpoint = f"r{index}", "c" if index % 2 else "d"
        add(batcher, name, key=key(checkpoint=checkpoint), account=f"a{index // 2 % accounts}")
        steps[name] = 10
    loads, turns = run_with_room_for_one(batcher, steps)
    assert set(steps.values()) == {0}
    assert turns >= 2000 / max_rows
    assert loads <= turns / HYSTERESIS_TURNS + 2


def test_three_checkpoints_without_room_all_get_their_share() -> None:
    batcher = StepBatcher(4)
    for name in ("c", "d", "e"):
        add(batcher, name, images=200, key=key(checkpoint=name))
    given: Counter[str] = Counter()
    resident = ""
    for _ in range(30 * HYSTERESIS_TURNS):
        turn = plan(batcher, device(resident=(resident,)))
        resident = turn.key.checkpoint
        given[resident] += 1
    assert max(given.values()) <= 1.25 * min(given.values())


def test_loading_does_not_wait_when_nothing_else_is_left() -> None:
    batcher = StepBatcher(4)
    add(batcher, "cold", key=key(checkpoint="cold"))
    assert requests_of(plan(batcher, device(resident=("c",)))) == {"cold": 1}


def test_retired_rows_do_not_come_back() -> None:
    batcher = StepBatcher(16)
    add(batcher, "a", images=2)
    batcher.retire(RowId("a", 0))
    assert plan(batcher).rows == (RowId("a", 1),)
    batcher.retire(RowId("a", 1))
    assert batcher.plan(device()) is None


def test_removed_request_is_forgotten_and_may_come_again() -> None:
    batcher = StepBatcher(16)
    add(batcher, "a")
    batcher.remove("a")
    batcher.remove("a")
    assert batcher.rows() == {}
    add(batcher, "a")
    assert batcher.rows() == {"a": (0,)}


def test_request_cannot_be_added_twice() -> None:
    batcher = StepBatcher(16)
    add(batcher, "a")
    with pytest.raises(ValueError, match="already waiting"):
        add(batcher, "a")


WAITING = st.fixed_dictionaries(
    {
        "images": st.integers(1, 6),
        "account": st.sampled_from(["ada", "ben", "cleo"]),
        "weight": st.sampled_from([0.01, 0.5, 1.0, 7.0]),
        "key": st.sampled_from([key(), key(side=768), key(checkpoint="cold")]),
        "row_cost": st.sampled_from([1.0, 4.0]),
        "forward_rows": st.sampled_from([1, 2]),
    }
)


@settings(max_examples=60, deadline=None)
@given(
    waiting=st.lists(WAITING, min_size=1, max_size=7),
    max_rows=st.integers(1, 8),
    limit=st.integers(1, 8),
    linear=st.booleans(),
)
def test_every_turn_is_sound_and_nobody_starves(
    waiting: list[dict[str, Any]], max_rows: int, limit: int, linear: bool
) -> None:
    """With room for one checkpoint: the one that led last is resident."""
    batcher, resident = StepBatcher(max_rows), "c"
    for index, fields in enumerate(waiting):
        add(batcher, f"r{index}", **fields)
    accounts = {f"r{index}": fields["account"] for index, fields in enumerate(waiting)}
    unserved = dict.fromkeys(accounts.values(), 0)
    for _ in range(3 * STARVATION_TURNS):
        turn = plan(batcher, device(resident=(resident,), linear=linear, limit=limit))
        resident = turn.key.checkpoint
        assert len(set(turn.rows)) == len(turn.rows) <= max_rows
        members = [waiting[int(row.request_id[1:])] for row in turn.rows]
        assert all(member["key"] == turn.key for member in members)
        assert len(members) == 1 or sum(member["forward_rows"] for member in members) <= limit
        served = {accounts[row.request_id] for row in turn.rows}
        unserved = {account: 0 if account in served else turns + 1 for account, turns in unserved.items()}
        # Its weights may be away while it is starved.
        assert max(unserved.values()) <= STARVATION_TURNS + HYSTERESIS_TURNS + 1 + len(unserved)
