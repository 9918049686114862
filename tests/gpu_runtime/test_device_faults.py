"""A fault says what was wrong and keeps nothing of what failed."""

from __future__ import annotations

import gc
import logging
import weakref

import pytest

from gpu_runtime import device_faults
from gpu_runtime.device_faults import as_fault
from gpu_runtime.errors import DeviceLost, OutOfMemory, RuntimeFault, WeightsCorrupt


class HalfLoaded:
    """Stands for a network whose loading fails."""


def load(error: Exception, seen: list[weakref.ref[HalfLoaded]]) -> None:
    """Fail with the error, raised from another one, while a half-loaded object is a local variable."""
    network = HalfLoaded()
    seen.append(weakref.ref(network))
    try:
        raise KeyError("a tensor")
    except KeyError as cause:
        raise error from cause


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WeightsCorrupt("lacks a tensor"), WeightsCorrupt("lacks a tensor")),
        (TypeError("odd"), RuntimeFault("TypeError while loading: odd")),
        (MemoryError("full"), OutOfMemory("out of memory while loading: full")),
    ],
)
def test_fault_keeps_nothing_alive(
    error: Exception, expected: RuntimeFault, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What pytest captures would keep the frames.
    monkeypatch.setattr(device_faults.log, "disabled", True)
    seen: list[weakref.ref[HalfLoaded]] = []
    gc.disable()
    try:
        try:
            load(error, seen)
        except (WeightsCorrupt, TypeError, MemoryError) as raised:
            fault = as_fault(raised, "loading")
        assert seen[0]() is None
    finally:
        gc.enable()
    assert type(fault) is type(expected)
    assert str(fault) == str(expected)


def test_unexpected_error_is_logged_with_where_it_came_from(caplog: pytest.LogCaptureFixture) -> None:
    try:
        load(TypeError("odd"), [])
    except TypeError as raised:
        as_fault(raised, "loading")
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "in load" in caplog.text
    assert "KeyError: 'a tensor'" in caplog.text


def test_fault_that_was_meant_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    as_fault(WeightsCorrupt("lacks a tensor"), "loading")
    assert caplog.records == []


def test_errors_that_lead_back_to_themselves_end() -> None:
    first, second = TypeError("first"), TypeError("second")
    first.__context__, second.__context__ = second, first
    assert str(as_fault(first, "loading")) == "TypeError while loading: first"


def test_lost_device_is_raised() -> None:
    with pytest.raises(DeviceLost, match="the device failed while loading: CUDA error: lost"):
        as_fault(RuntimeError("CUDA error: lost"), "loading")
