"""What the engine expects of times that it has measured, and of those it has not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.batching.cost import row_tflop
from gpu_runtime.batching.step_times import MIN_MEASUREMENTS
from gpu_runtime.batching.turns import HYSTERESIS_TURNS, UNLIMITED_ROWS
from gpu_runtime.estimates import (
    ESTIMATE_MARGIN,
    MAX_PATIENCE_S,
    MAX_REPEAT_PATIENCE_S,
    UNMEASURED_CALL_S,
    UNMEASURED_LOAD_S,
    WORK_PER_LOAD,
    Estimates,
)
from tests.gpu_runtime.driving import image_request

KEY = batch_key(image_request("r"))
LARGE = batch_key(image_request("r", width=1024, height=1024))


def measured(call_s: float) -> Estimates:
    estimates = Estimates()
    for _ in range(30):
        estimates.record_call(KEY, 2, call_s)
    return estimates


def test_unmeasured_turn_is_generous_and_more_so_when_it_loads() -> None:
    resident = Estimates().turn_s(KEY, rows=2, new_requests=0, is_resident=True)
    assert resident == ESTIMATE_MARGIN * UNMEASURED_CALL_S
    cold = Estimates().turn_s(KEY, rows=2, new_requests=0, is_resident=False)
    assert cold == ESTIMATE_MARGIN * (UNMEASURED_CALL_S + UNMEASURED_LOAD_S)


def test_measured_turn_is_what_was_measured_with_a_margin() -> None:
    assert measured(0.2).turn_s(KEY, rows=2, new_requests=0, is_resident=True) == ESTIMATE_MARGIN * 0.2


def test_patience_is_the_usual_before_anything_was_measured_and_when_loading_is_quick() -> None:
    assert Estimates().patience(5.0) == HYSTERESIS_TURNS
    assert measured(0.1).patience(None) == HYSTERESIS_TURNS
    assert measured(0.1).patience(0.2) == HYSTERESIS_TURNS


def test_slow_load_is_worth_its_multiple_of_steps() -> None:
    assert measured(0.1).patience(2.0) == pytest.approx(WORK_PER_LOAD * 2.0 / 0.1)


def test_patience_ends_before_callers_give_up() -> None:
    assert measured(0.1).patience(600.0) == pytest.approx(MAX_PATIENCE_S / 0.1)


def test_steps_that_would_be_lost_are_worth_their_multiple() -> None:
    assert measured(0.1).patience(0.2, 4) == HYSTERESIS_TURNS
    assert measured(0.1).patience(0.2, 40) == WORK_PER_LOAD * 40
    assert measured(0.1).patience(None, 10**6) == pytest.approx(MAX_REPEAT_PATIENCE_S / 0.1)


def test_turn_that_repeats_steps_takes_as_much_longer() -> None:
    turn_s = measured(0.2).turn_s(KEY, rows=2, new_requests=0, is_resident=False, repeated_turns=9)
    assert turn_s == pytest.approx(ESTIMATE_MARGIN * (10 * 0.2 + UNMEASURED_LOAD_S))


def test_call_of_a_shape_that_never_ran_is_expected_by_its_operations() -> None:
    assert Estimates().call_cost(LARGE, 3) == 3.0
    work = row_tflop(LARGE) / row_tflop(KEY)
    assert measured(0.2).call_cost(LARGE, 2) == pytest.approx(0.2 * work)


def test_tokens_beyond_the_usual_have_times_of_their_own() -> None:
    estimates = measured(0.2)
    estimates.record_call(replace(KEY, shape=(4096,)), 2, 0.5)
    assert estimates.call_cost(KEY, 2) == pytest.approx(0.2)


def test_before_anything_was_measured_the_kind_of_device_says_how_many_rows_are_worth_it() -> None:
    assert Estimates().best_rows(LARGE) == UNLIMITED_ROWS
    assert Estimates("cpu").best_rows(LARGE) == 1
    assert Estimates("cpu").best_rows(KEY) == 256
    assert Estimates("cuda").best_rows(LARGE) == 1
    assert Estimates("cuda").best_rows(batch_key(image_request("r", width=512, height=512))) == 7


def test_calls_become_larger_until_one_shows_no_gain() -> None:
    """A large model on a CPU: one row first, then two, found to take twice as long."""
    estimates, tried = Estimates("cpu"), []
    for _ in range(4 * MIN_MEASUREMENTS):
        rows = estimates.best_rows(LARGE)
        tried.append(rows)
        estimates.record_call(LARGE, rows, 2.0 * rows)
    assert tried == [1] * MIN_MEASUREMENTS + [2] * MIN_MEASUREMENTS + [1] * 2 * MIN_MEASUREMENTS


def test_calls_that_gain_by_more_rows_become_larger() -> None:
    estimates = Estimates("cpu")
    for _ in range(5 * MIN_MEASUREMENTS):
        estimates.record_call(LARGE, estimates.best_rows(LARGE), 1.0)
    assert estimates.best_rows(LARGE) == 32


def test_decode_is_expected_like_a_call_until_it_was_measured() -> None:
    estimates = measured(0.2)
    assert estimates.decode_cost(KEY) == estimates.call_cost(KEY, 1)
    estimates.record_decode(KEY, 1, 0.7)
    assert estimates.decode_cost(KEY) == 0.7
