"""The decisions about bytes: what leaves first, and what is kept free. No torch."""

from __future__ import annotations

from typing import Any

import pytest

from gpu_runtime.weights.budget import (
    FIRST_GUESS,
    FIXED_RELOAD_S,
    RECENT_S,
    RESERVE_MARGIN,
    ActivationPeaks,
    Candidate,
    ReloadCost,
    configured_bytes,
    eviction_order,
)

GB = 10**9


def candidate(key: str, **changes: Any) -> Candidate:
    fields: dict[str, Any] = {"size_bytes": GB, "idle_s": 60.0, "reload_s": 1.0, "is_wanted": False}
    fields["is_leftover"] = False
    return Candidate(key=key, **{**fields, **changes})


@pytest.mark.parametrize(
    "better",
    [{"size_bytes": 2 * GB}, {"idle_s": 120.0}, {"reload_s": 0.5}],
    ids=["larger", "longer idle", "cheaper to reload"],
)
def test_component_that_differs_in_one_thing_leaves_first(better: dict[str, Any]) -> None:
    order = eviction_order([candidate("stays"), candidate("leaves", **better)])
    assert [each.key for each in order] == ["leaves", "stays"]


def test_score_is_bytes_times_idle_seconds_over_reload_seconds() -> None:
    assert candidate("a", size_bytes=3 * GB, idle_s=10.0, reload_s=2.0).score == 15 * GB


def test_staged_giant_leaves_before_a_cold_small_one_idle_as_long() -> None:
    flux = candidate("flux", size_bytes=24 * GB, reload_s=0.5)
    encoder = candidate("encoder", size_bytes=GB // 4, reload_s=0.5)
    assert [each.key for each in eviction_order([encoder, flux])] == ["flux", "encoder"]


def test_what_a_held_request_needs_leaves_last_whatever_its_score() -> None:
    wanted = candidate("wanted", is_wanted=True, size_bytes=100 * GB, idle_s=1e6)
    assert [each.key for each in eviction_order([wanted, candidate("idle")])] == ["idle", "wanted"]


def test_leftover_of_a_broken_checkpoint_leaves_before_any_that_is_whole() -> None:
    leftover = candidate("leftover", is_leftover=True, size_bytes=1, idle_s=0.0)
    assert [each.key for each in eviction_order([candidate("whole"), leftover])] == ["leftover", "whole"]


def test_wanted_leftover_stays_longer_than_what_nobody_waits_for() -> None:
    leftover = candidate("leftover", is_leftover=True, is_wanted=True)
    assert [each.key for each in eviction_order([leftover, candidate("whole")])] == ["whole", "leftover"]


def test_reload_takes_longer_from_disk_and_follows_measured_rates() -> None:
    cost = ReloadCost()
    assert cost.seconds(5 * GB, is_staged=True) == pytest.approx(FIXED_RELOAD_S + 1.0)
    assert cost.seconds(5 * GB, is_staged=False) == pytest.approx(FIXED_RELOAD_S + 6.0)
    for _ in range(50):
        cost.record_copy(GB, FIXED_RELOAD_S + 0.02)
        cost.record_staging(GB, FIXED_RELOAD_S + 2.0)
    assert cost.seconds(5 * GB, is_staged=True) == pytest.approx(FIXED_RELOAD_S + 0.1, rel=1e-3)
    assert cost.seconds(5 * GB, is_staged=False) == pytest.approx(FIXED_RELOAD_S + 10.1, rel=1e-3)


def test_load_too_short_to_time_teaches_nothing() -> None:
    cost = ReloadCost()
    cost.record_copy(100, FIXED_RELOAD_S / 2)
    assert cost.seconds(5 * GB, is_staged=True) == pytest.approx(FIXED_RELOAD_S + 1.0)


def test_components_used_this_instant_are_told_apart_by_size() -> None:
    order = eviction_order([candidate("small", idle_s=0.0, size_bytes=1), candidate("large", idle_s=0.0)])
    assert [each.key for each in order] == ["large", "small"]


@pytest.mark.parametrize(("megabytes", "expected"), [(0, None), (1, 2**20), (0.5, 2**19), (2048, 2**31)])
def test_configured_megabytes(megabytes: float, expected: int | None) -> None:
    assert configured_bytes(megabytes) == expected


def test_reserve_is_a_guess_before_anything_was_measured() -> None:
    assert ActivationPeaks().reserve(80 * GB, now=0.0) == FIRST_GUESS * 80 * GB


def test_reserve_follows_the_largest_measured_peak() -> None:
    peaks = ActivationPeaks()
    peaks.record("sdxl", width=1024, height=1024, rows=2, size_bytes=4 * GB, now=0.0)
    peaks.record("sd15", width=512, height=512, rows=2, size_bytes=GB, now=1.0)
    assert peaks.reserve(80 * GB, now=1.0) == RESERVE_MARGIN * 4 * GB


def test_peak_of_a_shape_is_its_largest() -> None:
    peaks = ActivationPeaks()
    for size in (GB, 3 * GB, 2 * GB):
        peaks.record("sdxl", width=1024, height=1024, rows=2, size_bytes=size, now=0.0)
    assert peaks.reserve(80 * GB, now=0.0) == RESERVE_MARGIN * 3 * GB


def test_shape_that_was_not_seen_for_long_is_forgotten() -> None:
    peaks = ActivationPeaks()
    peaks.record("sdxl", width=2048, height=2048, rows=16, size_bytes=40 * GB, now=0.0)
    peaks.record("sd15", width=512, height=512, rows=2, size_bytes=GB, now=RECENT_S)
    assert peaks.reserve(80 * GB, now=RECENT_S) == RESERVE_MARGIN * 40 * GB
    assert peaks.reserve(80 * GB, now=RECENT_S + 1) == RESERVE_MARGIN * GB


def test_reserve_is_never_more_than_the_device() -> None:
    peaks = ActivationPeaks()
    peaks.record("sdxl", width=2048, height=2048, rows=16, size_bytes=79 * GB, now=0.0)
    assert peaks.reserve(80 * GB, now=0.0) == 80 * GB
