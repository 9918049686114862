"""Classes of priority, deadlines, passes, and calls that are long enough: what a turn makes of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from gpu_runtime.batching.leading import BORROWED_STEPS, CLASS_TURNS, COLD_CLASS_FACTOR, STARVATION_TURNS
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import HYSTERESIS_TURNS, Device, RowId
from gpu_runtime.messages import Priority
from tests.gpu_runtime.turns_driving import add, device, key, plan, requests_of

LOWER = [Priority.BACKGROUND, Priority.TRAINING]


def leaders(batcher: StepBatcher, turns: int, where: Device | None = None) -> list[str]:
    """Request that led each of the next turns."""
    return [plan(batcher, where).rows[0].request_id for _ in range(turns)]


def test_interactive_goes_before_background_before_training() -> None:
    batcher = StepBatcher(1)
    for priority in reversed(Priority):
        add(batcher, priority.name, priority=priority, weight=100.0 if priority else 1.0)
    assert leaders(batcher, 5) == ["INTERACTIVE"] * 5
    batcher.remove("INTERACTIVE")
    assert leaders(batcher, 5) == ["BACKGROUND"] * 5
    batcher.remove("BACKGROUND")
    assert leaders(batcher, 2) == ["TRAINING"] * 2


@pytest.mark.parametrize("priority", LOWER)
def test_lower_class_gets_a_turn_every_so_often(priority: Priority) -> None:
    batcher = StepBatcher(1)
    add(batcher, "now")
    for index in range(200):
        add(batcher, f"later{index}", priority=priority)
    turns = 4 * (CLASS_TURNS[priority] + 1)
    served = [index for index, leader in enumerate(leaders(batcher, turns)) if leader != "now"]
    assert served == [nth * (CLASS_TURNS[priority] + 1) - 1 for nth in range(1, 5)]


def test_classes_are_fair_each_by_itself() -> None:
    """Work that Ada had done in the background costs her nothing in the foreground."""
    batcher = StepBatcher(1)
    add(batcher, "later", account="ada", priority=Priority.BACKGROUND)
    leaders(batcher, 100)
    add(batcher, "ada", account="ada")
    add(batcher, "ben", account="ben")
    assert Counter(leaders(batcher, 20)) == {"ada": 10, "ben": 10}


def test_lower_class_rides_along_where_it_costs_nothing() -> None:
    batcher = StepBatcher(16)
    add(batcher, "now")
    add(batcher, "later", images=3, priority=Priority.BACKGROUND)
    add(batcher, "elsewhere", priority=Priority.BACKGROUND, key=key(side=768))
    assert requests_of(plan(batcher, device(linear=False))) == {"now": 1, "later": 3}
    assert requests_of(plan(batcher, device(linear=True))) == {"now": 1}


def test_rows_that_rode_for_nothing_are_not_charged() -> None:
    batcher = StepBatcher(16)
    add(batcher, "many", images=15, account="ada")
    add(batcher, "one", account="ben")
    for _ in range(20):
        assert requests_of(plan(batcher, device(linear=False))) == {"many": 15, "one": 1}
    add(batcher, "other", account="ben", key=key(side=768))
    assert Counter(leaders(batcher, 20))["other"] <= 10


def test_lower_class_that_needs_a_load_waits_longer_and_then_has_some_turns() -> None:
    batcher = StepBatcher(1)
    add(batcher, "now")
    add(batcher, "later", key=key(checkpoint="cold"), priority=Priority.BACKGROUND)
    resident, led = "c", []
    for _ in range(2 * COLD_CLASS_FACTOR * HYSTERESIS_TURNS):
        turn = plan(batcher, device(resident=(resident,)))
        resident = turn.key.checkpoint
        led.append(turn.rows[0].request_id)
    first = led.index("later")
    assert first == COLD_CLASS_FACTOR * HYSTERESIS_TURNS
    assert led[first : first + HYSTERESIS_TURNS + 1] == ["later"] * HYSTERESIS_TURNS + ["now"]


def test_interactive_does_not_wait_for_the_weights_of_lower_classes() -> None:
    batcher = StepBatcher(1)
    add(batcher, "later", priority=Priority.BACKGROUND)
    add(batcher, "now", key=key(checkpoint="cold"))
    assert leaders(batcher, 1, device(resident=("c",))) == ["now"]


@pytest.mark.parametrize("priority", [Priority.INTERACTIVE, Priority.BACKGROUND])
def test_wait_for_a_load_goes_on_while_other_classes_have_their_turns(priority: Priority) -> None:
    """However long loads take, and however often a class leads that needs none."""
    batcher = StepBatcher(1)
    add(batcher, "now")
    add(batcher, "later", priority=Priority.BACKGROUND)
    add(batcher, "cold", priority=priority, key=key(checkpoint="cold"))
    where = replace(device(resident=("c",)), patience=4 * CLASS_TURNS[Priority.BACKGROUND])
    turns = COLD_CLASS_FACTOR * where.patience + 2 * CLASS_TURNS[Priority.BACKGROUND]
    assert "cold" in leaders(batcher, turns, where)


def test_account_with_many_starved_requests_does_not_hold_up_others() -> None:
    """Each with a key of its own, so that one leads at a time."""
    batcher = StepBatcher(1)
    for index in range(300):
        add(batcher, f"ada{index}", account="ada", key=key(isolated=str(index)))
    add(batcher, "ben", account="ben", key=key(isolated="ben"))
    leaders(batcher, 3 * STARVATION_TURNS)
    assert Counter(name[:3] for name in leaders(batcher, 40)) == {"ada": 20, "ben": 20}


def test_returning_account_still_owes_what_it_was_given() -> None:
    """Else one that leaves between its images, or between two passes of one, would be given more."""
    batcher = StepBatcher(1)
    add(batcher, "ben", account="ben")
    given: Counter[str] = Counter()
    for index in range(20):
        add(batcher, f"ada{index}", account="ada", row_cost=3.0)
        while not given[f"ada{index}"]:
            given[plan(batcher).rows[0].request_id] += 1
        batcher.remove(f"ada{index}")
    assert given["ben"] >= 3 * 19


class TestDeadlines:
    """A row costs one unit of time a step; the clock stands still unless told."""

    def test_nearer_deadline_of_an_account_goes_first(self) -> None:
        batcher = StepBatcher(1)
        add(batcher, "whenever", account="ada", steps=5)
        add(batcher, "soon", account="ada", steps=5, deadline=1000.0)
        add(batcher, "sooner", account="ada", steps=5, deadline=900.0)
        assert leaders(batcher, 2) == ["sooner"] * 2
        batcher.remove("sooner")
        assert leaders(batcher, 2) == ["soon"] * 2

    def test_request_that_would_miss_its_deadline_leads(self) -> None:
        batcher = StepBatcher(1)
        add(batcher, "hurried", account="ada", steps=10, deadline=12.0)
        for name in ("b", "c"):
            add(batcher, name, steps=10)
        steps = 0
        for now in range(12):
            steps += plan(batcher, replace(device(), now=float(now))).rows[0].request_id == "hurried"
            if steps == 10:
                break
        assert steps == 10

    def test_request_with_time_enough_waits_its_turn(self) -> None:
        batcher = StepBatcher(1)
        add(batcher, "leisurely", account="ada", steps=10, deadline=1000.0)
        add(batcher, "b", steps=10)
        assert Counter(leaders(batcher, 10)) == {"leisurely": 5, "b": 5}

    def test_request_that_is_late_already_takes_nothing_from_others(self) -> None:
        batcher = StepBatcher(1)
        add(batcher, "late", account="ada", steps=10, deadline=5.0)
        add(batcher, "b", steps=10)
        assert Counter(leaders(batcher, 10, replace(device(), now=6.0))) == {"late": 5, "b": 5}

    def test_deadlines_do_not_enlarge_a_share(self) -> None:
        """Ada puts a deadline on everything, always just about to be missed."""
        batcher, turns = StepBatcher(1), 160
        add(batcher, "b", steps=turns)
        given: Counter[str] = Counter()
        for now in range(turns):
            add(batcher, f"ada{now}", account="ada", steps=2, deadline=now + 3.0)
            leader = plan(batcher, replace(device(), now=float(now))).rows[0].request_id
            given[leader[:3]] += 1
        assert abs(given["ada"] - given["b"]) <= BORROWED_STEPS + 2

    def test_old_requests_of_the_same_account_still_get_their_turns(self) -> None:
        batcher = StepBatcher(1)
        add(batcher, "whenever", account="ada", steps=5)
        add(batcher, "hurried", account="ada", steps=10**6, deadline=10.0**7)
        served = leaders(batcher, 3 * STARVATION_TURNS)
        assert served.count("whenever") >= 2


class TestPasses:
    """Rows that go on to another checkpoint or size."""

    def test_row_enters_its_next_pass_with_the_key_of_that_pass(self) -> None:
        batcher = StepBatcher(16)
        add(batcher, "a", images=2)
        batcher.retire(RowId("a", 0))
        batcher.join("a", 1, 0, key=key(side=1024), row_cost=4.0, forward_rows=2)
        assert batcher.rows() == {"a": (0, 1)}
        assert batcher.keys() == {key(): 1, key(side=1024): 2}
        assert {plan(batcher).rows for _ in range(4)} == {(RowId("a", 1),), (RowId("a", 0, 1),)}

    def test_rows_of_one_pass_share_a_turn(self) -> None:
        batcher = StepBatcher(16)
        add(batcher, "a", images=2)
        for index in range(2):
            batcher.retire(RowId("a", index))
            batcher.join("a", 1, index, key=key(side=1024), row_cost=4.0, forward_rows=1)
        assert plan(batcher).rows == (RowId("a", 0, 1), RowId("a", 1, 1))

    def test_request_between_its_passes_is_known_and_has_no_rows(self) -> None:
        batcher = StepBatcher(16)
        add(batcher, "a")
        batcher.retire(RowId("a", 0))
        assert batcher.rows() == {}
        assert batcher.plan(device()) is None
        with pytest.raises(ValueError, match="already waiting"):
            add(batcher, "a")
        batcher.join("a", 1, 0, key=key(), row_cost=1.0, forward_rows=1)
        assert plan(batcher).rows == (RowId("a", 0, 1),)

    def test_removal_takes_every_pass(self) -> None:
        batcher = StepBatcher(16)
        add(batcher, "a", images=2)
        batcher.retire(RowId("a", 0))
        batcher.join("a", 1, 0, key=key(side=1024), row_cost=4.0, forward_rows=2)
        batcher.remove("a")
        assert batcher.rows() == {}
        with pytest.raises(KeyError):
            batcher.join("a", 1, 1, key=key(), row_cost=1.0, forward_rows=1)

    def test_row_enters_a_pass_once(self) -> None:
        batcher = StepBatcher(16)
        add(batcher, "a")
        with pytest.raises(ValueError, match="image 0 of request 'a' is already in pass 0"):
            batcher.join("a", 0, 0, key=key(), row_cost=1.0, forward_rows=1)

    def test_new_key_of_a_pass_counts_from_the_next_turn(self) -> None:
        batcher = StepBatcher(16)
        for name in "ab":
            add(batcher, name)
        batcher.rekey("a", replace(key(), shape=(154,)))
        assert [requests_of(plan(batcher)) for _ in range(2)] == [{"a": 1}, {"b": 1}]
        with pytest.raises(KeyError):
            batcher.rekey("a", key(), stage=1)

    def test_images_gather_before_the_refiner_is_loaded(self) -> None:
        """Four requests of six steps arrive one after another; the last step of each is the refiner's."""
        batcher, resident, loads = StepBatcher(4), "c", 0
        left = {f"r{index}": 6 for index in range(4)}
        for turn_number in range(60):
            if turn_number < 4:
                add(batcher, f"r{turn_number}")
            if not batcher.rows():
                break
            turn = plan(batcher, device(resident=(resident,), linear=False))
            loads += turn.key.checkpoint != resident
            resident = turn.key.checkpoint
            for row in turn.rows:
                left[row.request_id] -= 1
                if left[row.request_id] == 1:
                    batcher.retire(row)
                    batcher.join(row.request_id, 1, 0, key=key(checkpoint="r"), row_cost=1.0, forward_rows=1)
                elif not left[row.request_id]:
                    batcher.retire(row)
        assert not any(left.values())
        assert loads == 1


class TestLongEnoughCalls:
    """b*: more rows would only make the others wait."""

    def test_turn_has_no_more_rows_than_are_worth_it(self) -> None:
        batcher = StepBatcher(16)
        add(batcher, "a", images=15, forward_rows=2)
        assert len(plan(batcher, replace(device(), best_rows=lambda _key: 5)).rows) == 2
        assert len(plan(batcher, replace(device(), best_rows=lambda _key: 1)).rows) == 1

    def test_accounts_take_turns_in_the_rows_that_are_worth_it(self) -> None:
        batcher, where = StepBatcher(16), replace(device(), best_rows=lambda _key: 1)
        add(batcher, "many", images=15)
        add(batcher, "one")
        assert Counter(leaders(batcher, 20, where)) == {"many": 10, "one": 10}

    @pytest.mark.parametrize("best_rows", [3, 8, 10**6])
    def test_account_with_more_requests_gets_no_more_of_a_full_turn(self, best_rows: int) -> None:
        batcher, where = StepBatcher(16), replace(device(), best_rows=lambda _key: best_rows)
        add(batcher, "ada", images=15)
        for index in range(8):
            add(batcher, f"dora{index}", account="dora", images=15)
        given = Counter(row.request_id[:3] for _ in range(40) for row in plan(batcher, where).rows)
        assert abs(given["ada"] - given["dor"]) <= 1

    def test_rows_of_one_account_are_one_of_every_request_first(self) -> None:
        batcher, where = StepBatcher(16), replace(device(), best_rows=lambda _key: 3)
        add(batcher, "many", account="ada", images=15)
        add(batcher, "one", account="ada")
        add(batcher, "other", account="ada")
        assert requests_of(plan(batcher, where)) == {"many": 1, "one": 1, "other": 1}
