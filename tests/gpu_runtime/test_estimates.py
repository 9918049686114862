"""What the engine expects of times that it has measured, and of those it has not."""

from __future__ import annotations

import pytest

from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.batching.step_batcher import HYSTERESIS_TURNS
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
