"""A whole appliance as `deploy/quickstart` makes it, with the starter model."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def quickstart() -> Iterator[Quickstart]:
    with tempfile.TemporaryDirectory(prefix="darkroom-quickstart-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o711)
        running = start_quickstart(home)
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.interrupt()
