"""`deploy/test`: every check that CI runs, in order, against a throw-away PostgreSQL.

All checks run even if one fails, so that one run tells everything; each command is printed, to be copied.
"""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final

from deploy.appliance.debian import install_debian_packages
from deploy.appliance.environment import REPOSITORY
from deploy.appliance.postgres import PrivateCluster
from deploy.appliance.terminal import Terminal

_BIN: Final = Path(sys.executable).parent
# One process more than cores, since drills wait for most of their time. More than four would need more of
# PostgreSQL's connections than its defaults allow.
_PROCESSES: Final = min(4, (os.cpu_count() or 1) + 1)
# A file's tests stay in one process, since they share what is slow to set up. The order is that of
# tests/slowest_first.py.
_PARALLEL: Final = (f"--numprocesses={_PROCESSES}", "--dist=loadfile", "--no-loadscope-reorder")
# What some tests need besides the packages of pyproject.toml.
_DEBIAN_PACKAGES: Final = {"shellcheck": "shellcheck", "nodejs": "node", "jq": "jq", "curl": "curl"}
# What pytest's own summary names; skipped tests of one reason are one line.
_NAMED: Final = "-rfEs"
# CI shows the last 12,000 characters: so many lines of each failure, the last ones, which say what was wrong.
_LINES_A_FAILURE: Final = 15
_WIDTH: Final = 120
_FAILURES_IN_FULL: Final = 4
# pytest's and unittest's words for "nobody said why".
_NO_REASON: Final = frozenset({"", "unconditional skip", "Skipped", "skipped"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One command of the suite."""

    title: str
    command: tuple[str, ...]


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


def list_checks(pytest_arguments: list[str], report: Path) -> list[Check]:
    """The checks, cheapest first; pytest writes its XML report to `report`."""
    return [
        Check(title="format", command=("ruff", "format", "--check", ".")),
        Check(title="lint", command=("ruff", "check", ".")),
        Check(title="types", command=("mypy",)),
        Check(title="import contracts", command=("lint-imports",)),
        Check(title="system checks", command=("python", "manage.py", "check")),
        Check(title="migrations", command=("python", "manage.py", "makemigrations", "--check", "--dry-run")),
        Check(
            title="tests", command=("pytest", _NAMED, *_PARALLEL, f"--junitxml={report}", *pytest_arguments)
        ),
    ]


def run_suite(pytest_arguments: list[str]) -> int:
    """Runs every check; 0 if all passed and every skipped test says why."""
    terminal = Terminal()
    install_debian_tools(terminal)
    with _stop_is_an_exception(), tempfile.TemporaryDirectory(prefix="darkroom-test-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # as root, PostgreSQL runs as another account that must pass through
        with throw_away_postgres(home, terminal) as database_url:
            report = home / "pytest.xml"
            environment = suite_environment(database_url, home / "darkroom")
            outcomes = [_run(check, environment, terminal) for check in list_checks(pytest_arguments, report)]
            outcomes.append(check_skips(report))
            failures = list_failures(report)
    _summarise(terminal, outcomes)
    show_failures(terminal, failures)
    return 0 if all(outcome.status == 0 for outcome in outcomes) else 1


def install_debian_tools(terminal: Terminal) -> None:
    """As root, installs the programs that some tests need; elsewhere those tests are skipped and say so."""
    missing = [package for package, program in _DEBIAN_PACKAGES.items() if shutil.which(program) is None]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        with terminal.step(f"Installing {', '.join(missing)}") as step:
            problem = install_debian_packages(missing, step)
        if problem:
            terminal.warn(problem)


@contextmanager
def throw_away_postgres(home: Path, terminal: Terminal) -> Iterator[str]:
    """A fresh cluster that forgets nothing but survives nothing either; yields its DATABASE_URL."""
    # Races are tested with a hundred connections at once, in each of several processes.
    cluster = PrivateCluster(home, fsync=False, max_connections=500)
    try:
        with terminal.step("Throw-away PostgreSQL") as step:
            cluster.ensure(step)
            cluster.start()
        yield cluster.url
    finally:
        cluster.destroy()


def suite_environment(database_url: str, home: Path) -> dict[str, str]:
    """The developer's environment without the appliance's settings, and those of the suite."""
    # Compiled files are kept, whatever the developer prefers: else each process compiles every test anew.
    theirs = ("DARKROOM_", "PG", "PYTHONDONTWRITEBYTECODE")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return inherited | {
        "DATABASE_URL": database_url,
        "DARKROOM_HOME": str(home),
        "DARKROOM_SECRET_KEY": secrets.token_urlsafe(32),
        "DARKROOM_KEY_PEPPER": secrets.token_urlsafe(32),
        # The processes of the suite share the cores already, and those that tests start share them too.
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "PATH": f"{_BIN}{os.pathsep}{inherited.get('PATH', '/usr/bin:/bin')}",
    }


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


def _run(check: Check, environment: dict[str, str], terminal: Terminal) -> Outcome:
    terminal.heading(check.title, f"$ .venv/bin/{shlex.join(check.command)}")
    started_s = time.monotonic()
    program, *arguments = check.command
    status = subprocess.run([str(_BIN / program), *arguments], cwd=REPOSITORY, env=environment).returncode
    return Outcome(title=check.title, status=status, duration_s=time.monotonic() - started_s)


def _summarise(terminal: Terminal, outcomes: list[Outcome]) -> None:
    terminal.heading("Summary")
    for outcome in outcomes:
        text = f"{outcome.duration_s:7.1f} s"
        if outcome.status == 0:
            terminal.done(outcome.title, text)
        else:
            terminal.failed(f"{outcome.title:<52} {text}  {outcome.note or f'exit status {outcome.status}'}")


@contextmanager
def _stop_is_an_exception() -> Iterator[None]:
    """SIGTERM unwinds like Ctrl-C does, so that PostgreSQL stops whatever happens."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
