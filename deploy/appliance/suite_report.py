"""What pytest's XML report of a run says: what failed, what was skipped without a word."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.appliance.terminal import Terminal

# CI shows the last 12,000 characters: so many lines of each failure, the last ones, which say what was wrong.
_LINES_A_FAILURE: Final = 15
_WIDTH: Final = 120
_FAILURES_IN_FULL: Final = 4
# pytest's and unittest's words for "nobody said why".
_NO_REASON: Final = frozenset({"", "unconditional skip", "Skipped", "skipped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a check ended."""

    title: str
    status: int
    duration_s: float
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A test that failed, or what it stands on did."""

    name: str
    lines: tuple[str, ...]
    """The end of what pytest told of it."""


def check_skips(report: Path) -> Outcome:
    """Fails if pytest skipped a test without a reason, or wrote no report."""
    started_s = time.monotonic()
    try:
        cases = ET.parse(report).getroot().iter("testcase")  # noqa: S314  # our own file
        silent = [
            f"{case.get('classname')}.{case.get('name')}"
            for case in cases
            for skipped in case.iter("skipped")
            if (skipped.get("message") or "") in _NO_REASON
        ]
    except (OSError, ET.ParseError):
        return Outcome(title="skips have reasons", status=1, duration_s=0.0, note="no report was written")
    return Outcome(
        title="skips have reasons",
        status=1 if silent else 0,
        duration_s=time.monotonic() - started_s,
        note=", ".join(silent),
    )


def list_failures(report: Path) -> list[Failure]:
    """What pytest's XML report says has failed; nothing if there is no report, which `check_skips` tells."""
    try:
        cases = list(ET.parse(report).getroot().iter("testcase"))  # noqa: S314  # our own file
    except (OSError, ET.ParseError):
        return []
    return [
        Failure(
            name=f"{case.get('classname')}.{case.get('name')}",
            lines=tuple((told.text or told.get("message") or "").strip().splitlines()[-_LINES_A_FAILURE:]),
        )
        for case in cases
        for told in (*case.iter("failure"), *case.iter("error"))
    ]


def show_failures(terminal: Terminal, failures: list[Failure]) -> None:
    """Last of all, since that is what CI shows: every failed test, the first few with their reasons."""
    for number, failure in enumerate(failures):
        terminal.line()
        terminal.failed(failure.name)
        for line in failure.lines if number < _FAILURES_IN_FULL else failure.lines[-1:]:
            terminal.line(f"      {line[:_WIDTH]}")
