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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Final

from deploy.appliance.debian import install_debian_packages
from deploy.appliance.environment import REPOSITORY
from deploy.appliance.postgres import PrivateCluster
from deploy.appliance.suite_report import Failure, Outcome, check_skips, list_failures, show_failures
from deploy.appliance.terminal import Terminal

_BIN: Final = Path(sys.executable).parent
# One process more than cores, since drills wait for most of their time. More than four would need more of
# PostgreSQL's connections than its defaults allow.
_PROCESSES: Final = min(4, (os.cpu_count() or 1) + 1)
# A file's tests stay in one process, since they share what is slow to set up. The order is that of
# tests/slowest_first.py.
_PARALLEL: Final = (f"--numprocesses={_PROCESSES}", "--dist=loadfile", "--no-loadscope-reorder")
# What some tests need besides the packages of pyproject.toml.
_DEBIAN_PACKAGES: Final = {
    "shellcheck": "shellcheck",
    "nodejs": "node",
    "jq": "jq",
    "curl": "curl",
    "chromium": "chromium",
    "prometheus": "promtool",
}
# What pytest's own summary names; skipped tests of one reason are one line.
_NAMED: Final = "-rfEs"
# Beside other busy processes a test that waits for its own may give up. So many that failed may pass when
# they are run again, alone; the end of the run names them, since each is a defect of the test at least.
_UNSTEADY_AT_MOST: Final = 3
_TESTS: Final = "tests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One command of the suite."""

    title: str
    command: tuple[str, ...]


def list_checks(pytest_arguments: list[str], home: Path) -> list[Check]:
    """The checks, cheapest first; pytest writes its XML report and its cache into `home`."""
    return [
        Check(title="format", command=("ruff", "format", "--check", ".")),
        Check(title="lint", command=("ruff", "check", ".")),
        # Afresh: with the cache of an earlier run Django's plugin misses managers that are there.
        Check(title="types", command=("mypy", "--cache-dir", os.devnull)),
        Check(title="import contracts", command=("lint-imports",)),
        Check(title="system checks", command=("python", "manage.py", "check")),
        Check(title="migrations", command=("python", "manage.py", "makemigrations", "--check", "--dry-run")),
        Check(title=_TESTS, command=_pytest(home, report_of(home), *_PARALLEL, *pytest_arguments)),
    ]


def report_of(home: Path) -> Path:
    """Where the first run of the tests leaves its report."""
    return home / "pytest.xml"


def _pytest(home: Path, report: Path, *arguments: str) -> tuple[str, ...]:
    # A cache of this run alone: it says which tests failed, and pytest reads that itself.
    cache = f"cache_dir={home / 'pytest-cache'}"
    return ("pytest", _NAMED, "-o", cache, f"--junitxml={report}", *arguments)


def run_suite(pytest_arguments: list[str]) -> int:
    """Runs every check; 0 if all passed and every skipped test says why."""
    terminal = Terminal()
    install_debian_tools(terminal)
    with _stop_is_an_exception(), tempfile.TemporaryDirectory(prefix="darkroom-test-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # as root, PostgreSQL runs as another account that must pass through
        with throw_away_postgres(home, terminal) as database_url:
            environment = suite_environment(database_url, home / "darkroom")
            outcomes = [_run(check, environment, terminal) for check in list_checks(pytest_arguments, home)]
            outcomes.append(check_skips(report_of(home)))
            failures = list_failures(report_of(home))
            unsteady = run_again(outcomes, failures, home, environment, terminal)
    _summarise(terminal, outcomes)
    show_failures(terminal, failures)
    if unsteady:
        terminal.warn("The tests named above failed beside others and passed alone. Mend them.")
    return 0 if all(outcome.status == 0 for outcome in outcomes) else 1


def run_again(
    outcomes: list[Outcome],
    failures: list[Failure],
    home: Path,
    environment: dict[str, str],
    terminal: Terminal,
) -> bool:
    """Runs the tests that failed, if they are few, alone. If all pass, `outcomes` says so; whether it did."""
    place = next(number for number, outcome in enumerate(outcomes) if outcome.title == _TESTS)
    first = outcomes[place]
    if first.status != 1 or not 0 < len(failures) <= _UNSTEADY_AT_MOST:
        return False
    report = home / "again.xml"
    command = _pytest(home, report, "--last-failed", "--last-failed-no-failures=none")
    again = _run(Check(title="what failed, again and alone", command=command), environment, terminal)
    outcomes.insert(place + 1, again)
    # Nothing selected is status 5, which is no proof of anything.
    if again.status == 0:
        outcomes[place] = replace(first, status=0, note=f"{len(failures)} unsteady, see below")
    return again.status == 0


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
            terminal.done(outcome.title, f"{text}  {outcome.note}".rstrip())
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
