"""Estimates from measured calls."""

from __future__ import annotations

import pytest

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_times import (
    MIN_MEASUREMENTS,
    MOST_SHAPES,
    PROBE_CALLS,
    SHORT_CALL_S,
    CallShape,
    StepTimes,
)
from gpu_runtime.estimates import ESTIMATE_MARGIN, UNMEASURED_CALL_S, UNMEASURED_LOAD_S, Estimates

SHAPE = CallShape("sd15", 512, 512)
KEY = BatchKey(checkpoint="c", family="sd15", width=512, height=512)


def times(*measured: tuple[int, float]) -> StepTimes:
    result = StepTimes()
    for rows, seconds in measured:
        result.record(SHAPE, rows, seconds)
    return result


def test_nothing_measured_is_not_guessed() -> None:
    assert times().estimate(SHAPE, 1) is None
    assert times((1, 1.0)).estimate(CallShape("sd15", 768, 512), 1) is None


@pytest.mark.parametrize(("rows", "expected"), [(1, 1.0), (2, 1.0), (3, 1.5), (4, 2.0), (6, 3.0), (8, 4.0)])
def test_between_and_beyond_two_measurements_a_straight_line(rows: int, expected: float) -> None:
    assert times((2, 1.0), (4, 2.0)).estimate(SHAPE, rows) == pytest.approx(expected)


def test_beyond_a_single_measurement_time_grows_with_the_rows() -> None:
    assert times((2, 1.0)).estimate(SHAPE, 8) == pytest.approx(4.0)


def test_more_rows_are_never_expected_to_take_less() -> None:
    assert times((2, 3.0), (4, 2.0)).estimate(SHAPE, 8) == pytest.approx(3.0)


def test_one_slow_call_is_forgotten() -> None:
    recorded = times((1, 10.0), *[(1, 1.0)] * 7)
    assert recorded.estimate(SHAPE, 1) == pytest.approx(1.0, abs=0.8)


def test_ever_new_shapes_do_not_fill_the_memory() -> None:
    recorded = times((1, 1.0))
    others = [CallShape("sd15", 8 * number, 8) for number in range(1, MOST_SHAPES + 1)]
    for other in others:
        recorded.record(other, 1, 1.0)
        if other is others[0]:
            recorded.record(SHAPE, 2, 2.0)
    assert recorded.estimate(others[0], 1) is None
    assert recorded.estimate(SHAPE, 1) == 1.0


def test_first_turn_allows_for_loading_weights() -> None:
    first = Estimates().turn_s(KEY, rows=2, new_requests=0, is_resident=False)
    assert first == ESTIMATE_MARGIN * (UNMEASURED_CALL_S + UNMEASURED_LOAD_S)


def test_measured_turn_is_estimated_from_its_measurement() -> None:
    estimates = Estimates()
    estimates.record_call(KEY, 2, 0.1)
    estimates.record_encode(KEY, 0.02)
    assert estimates.turn_s(KEY, rows=2, new_requests=3, is_resident=True) == pytest.approx(1.5 * 0.16)


def settled(*measured: tuple[int, float]) -> StepTimes:
    """Enough calls of each row count."""
    return times(*[each for each in measured for _ in range(MIN_MEASUREMENTS)])


def test_rows_beyond_which_time_grows_proportionally_are_found() -> None:
    assert settled((1, 1.0), (2, 1.0), (4, 1.1), (8, 2.1), (16, 4.2)).best_rows(SHAPE) == 4


def test_fewest_rows_of_nearly_the_best_throughput_are_enough() -> None:
    assert settled((1, 1.0), (2, 1.9), (4, 3.7)).best_rows(SHAPE) == 1


def test_while_more_rows_still_gain_no_number_is_best() -> None:
    assert settled((1, 1.0), (2, 1.1), (4, 1.2)).best_rows(SHAPE) is None
    assert settled((4, 1.0)).best_rows(SHAPE) is None
    assert times((1, 1.0), (2, 2.0)).best_rows(SHAPE) is None


def test_short_calls_are_shared_at_any_gain() -> None:
    known = settled((1, SHORT_CALL_S / 4), (2, SHORT_CALL_S / 2), (4, SHORT_CALL_S), (8, 2 * SHORT_CALL_S))
    assert known.best_rows(SHAPE) == 4


def test_larger_calls_are_measured_again_every_so_often() -> None:
    known = settled((1, 1.0), (2, 2.0))
    unlimited = 0
    for _ in range(PROBE_CALLS):
        known.record(SHAPE, 1, 1.0)
        unlimited += known.best_rows(SHAPE) is None
    assert unlimited == 1


def test_what_was_best_is_forgotten_with_what_it_was_learned_from() -> None:
    """Another neighbour on the machine, or another clock of the device: larger calls pay again."""
    known = settled((1, 1.0), (2, 2.0))
    assert known.best_rows(SHAPE) == 1
    for _ in range(20):
        known.record(SHAPE, 2, 1.0)
    assert known.best_rows(SHAPE) is None
