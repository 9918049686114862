"""A whole appliance as `deploy/quickstart` makes it, with the starter model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from deploy.appliance.environment import REPOSITORY
from tests.harness.appliance import free_port
from tests.harness.waits import wait_until

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Quickstart:
    """A running `deploy/quickstart`."""

    home: Path
    port: int
    key: str
    output: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def family(self) -> list[psutil.Process]:
        """Every process it started, however deep."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self) -> None:
        """What Ctrl-C does; returns when it has ended."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(timeout=STOP_TIMEOUT_S)


def start_quickstart(home: Path) -> Quickstart:
    """Run it in the foreground of a child process and wait for its first image."""
    port = free_port()
    output = home / "output.txt"
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.appliance", "quickstart"],
        cwd=REPOSITORY,
        env=quickstart_environment(home, port),
        stdin=subprocess.DEVNULL,
        stdout=output.open("wb"),
        stderr=subprocess.STDOUT,
    )

    def is_serving() -> bool:
        if process.poll() is not None:
            pytest.fail(f"quickstart ended with {process.returncode}:\n{output.read_text()}")
        return "Ctrl-C" in output.read_text()

    wait_until(is_serving, what="the first image", timeout_s=START_TIMEOUT_S)
    key = (home / "secrets" / "quickstart_key").read_text().strip()
    return Quickstart(home=home, port=port, key=key, output=output, process=process)


def quickstart_environment(home: Path, port: int) -> dict[str, str]:
    """This process's environment without what would lead it to the tests' own database."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("DARKROOM_", "DJANGO_"))
    }
    ours.pop("DATABASE_URL", None)
    return ours | {"DARKROOM_HOME": str(home), "DARKROOM_PORT": str(port), "DARKROOM_DEVICE": "cpu"}


class SharedQuickstart:
    """At most one at a time, for all files of this process; another is started when a test has ended it."""

    def __init__(self, folders: ExitStack) -> None:
        self._folders = folders
        self._running: Quickstart | None = None

    def running(self) -> Quickstart:
        if self._running is None or self._running.process.poll() is not None:
            folder = tempfile.TemporaryDirectory(prefix="darkroom-quickstart-", ignore_cleanup_errors=True)
            home = Path(self._folders.enter_context(folder))
            home.chmod(0o711)
            self._running = start_quickstart(home)
        return self._running

    def end(self) -> None:
        if self._running is not None and self._running.process.poll() is None:
            self._running.interrupt()


@pytest.fixture(scope="package")
def shared_quickstart() -> Iterator[SharedQuickstart]:
    with ExitStack() as folders:
        shared = SharedQuickstart(folders)
        try:
            yield shared
        finally:
            shared.end()


@pytest.fixture(scope="module")
def quickstart(shared_quickstart: SharedQuickstart) -> Quickstart:
    """What other files have asked of it stays: their jobs, keys and options."""
    return shared_quickstart.running()
