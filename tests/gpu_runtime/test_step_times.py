"""Estimates from measured calls."""

from __future__ import annotations

import pytest

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_times import CallShape, StepTimes
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


def test_first_turn_allows_for_loading_weights() -> None:
    first = Estimates().turn_s(KEY, rows=2, new_requests=0, is_resident=False)
    assert first == ESTIMATE_MARGIN * (UNMEASURED_CALL_S + UNMEASURED_LOAD_S)


def test_measured_turn_is_estimated_from_its_measurement() -> None:
    estimates = Estimates()
    estimates.record_call(KEY, 2, 0.1)
    estimates.record_encode(KEY, 0.02)
    assert estimates.turn_s(KEY, rows=2, new_requests=3, is_resident=True) == pytest.approx(1.5 * 0.16)
