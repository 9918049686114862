"""The watchdog ends its process, so it is watched in one of its own."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from apps.generation.watchdog import EXIT_HUNG, PATIENCE, Watchdog

REPOSITORY = Path(__file__).resolve().parents[3]


def run(code: str) -> subprocess.CompletedProcess[str]:
    prelude = "import threading\nfrom apps.generation import watchdog as module\n"
    prelude += "from apps.generation.watchdog import Watchdog\n"
    return subprocess.run(
        [sys.executable, "-c", prelude + textwrap.dedent(code)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_hung_tick_ends_the_process_with_the_stacks_of_all_threads() -> None:
    ended = run(
        """
        def a_kernel_that_never_returns():
            threading.Event().wait()

        watchdog = Watchdog(minimum_s=0.05, farewell=lambda cause: print("farewell", cause.code, flush=True))
        watchdog.start()
        watchdog.start()
        watchdog.busy(expected_s=0.0)
        a_kernel_that_never_returns()
        """
    )
    assert ended.returncode == EXIT_HUNG == 75
    assert ended.stdout == "farewell worker_hung\n"
    assert "a_kernel_that_never_returns" in ended.stderr
    assert "no tick completed in time; stacks follow and this worker ends" in ended.stderr


def test_an_idle_loop_and_ticks_that_end_in_time_are_left_alone() -> None:
    ended = run(
        """
        watchdog = Watchdog(minimum_s=0.3, farewell=print)
        watchdog.start()
        for _ in range(10):
            watchdog.busy(expected_s=0.0)
            threading.Event().wait(0.05)
        watchdog.idle()
        threading.Event().wait(0.6)
        """
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("farewell", ["lambda cause: threading.Event().wait()", "lambda cause: 1 / 0"])
def test_a_farewell_that_hangs_or_fails_does_not_keep_the_process(farewell: str) -> None:
    ended = run(
        f"""
        module.FAREWELL_S = 0.05
        Watchdog(minimum_s=60.0, farewell={farewell}).leave(3, cause=module.HUNG)
        """
    )
    assert ended.returncode == 3


@pytest.mark.parametrize(("expected_s", "allowed_s"), [(0.0, 60.0), (6.0, 60.0), (7.0, 70.0)])
def test_a_tick_may_take_ten_times_what_was_expected_and_never_less_than_the_minimum(
    monkeypatch: pytest.MonkeyPatch, expected_s: float, allowed_s: float
) -> None:
    monkeypatch.setattr("apps.generation.watchdog.time.monotonic", lambda: 1000.0)
    watchdog = Watchdog(minimum_s=60.0, farewell=lambda cause: None)
    watchdog.busy(expected_s=expected_s)
    assert (watchdog._deadline, PATIENCE) == (1000.0 + allowed_s, 10.0)
    watchdog.idle()
    assert watchdog._deadline is None
