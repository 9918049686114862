"""Two real processes count; one is killed. What it handed over stays, and its successor adds to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from django.db import connection

from apps.config.version import REPOSITORY_ROOT
from apps.core import clock
from apps.metrics.middleware import REQUESTS
from apps.metrics.storing import list_stored

PROGRAM = """
import sys
import django
django.setup()
from apps.core.flushing import Flusher
from apps.metrics.middleware import REQUESTS
from apps.core.counters import tally
flusher = Flusher("web", every_s=0.05)
flusher.start()
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        tally.count(REQUESTS, "native", "GET", "200")
    flusher.stop()
    flusher = Flusher("web", every_s=0.05)
    flusher.start()
    print("handed over", flush=True)
"""

pytestmark = pytest.mark.django_db(transaction=True)


class WebProcess:
    """One that counts as many requests as it is told to."""

    def __init__(self) -> None:
        settings = connection.settings_dict
        host = f"{settings['NAME']}?host={settings['HOST']}&port={settings['PORT'] or 5432}"
        credentials = f"{settings['USER']}:{settings['PASSWORD']}".removesuffix(":")
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=REPOSITORY_ROOT,
            env=dict(os.environ) | {"DATABASE_URL": f"postgresql://{credentials}@/{host}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def serve(self, count: int) -> None:
        """Returns when they are counted and handed over."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{count}\n")
        self.process.stdin.flush()
        assert self._line() == "handed over"

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def processes() -> Iterator[list[WebProcess]]:
    """Ended with the test."""
    started = [WebProcess(), WebProcess()]
    yield started
    for each in started:
        each.kill()


def served() -> float:
    [row] = [row for row in list_stored(now=clock.now()) if row.series == REQUESTS.name]
    return row.value


def test_totals_never_fall_whoever_is_killed(processes: list[WebProcess]) -> None:
    one, two = processes
    one.serve(3)
    two.serve(4)
    assert served() == 7
    one.kill()
    assert served() == 7
    two.serve(2)
    assert served() == 9
    processes[0] = WebProcess()
    processes[0].serve(5)
    assert served() == 14
