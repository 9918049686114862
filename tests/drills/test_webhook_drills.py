"""`kill -9` of the worker that delivers, to a receiver that fails, hangs and resets: all arrives, signed.

DARKROOM_DRILL_COUNT=20 kills twenty times over 10,000 events; the normal suite does it three times over 240.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from deploy.appliance.environment import REPOSITORY
from tests.drills.counting import drill_count
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.receiver import Fate, Receiver
from tests.harness.waits import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(3000)]

PATHS = 10
"""Per account."""
EVENTS_A_KILL = 500 if os.environ.get("DARKROOM_DRILL_COUNT") else 80
PLACES = 32
"""settings.WEBHOOK_PLACES."""
SEED = 20_260_302
END_TIMEOUT_S = 900.0


class Judge:
    """Verifies every attempt as it comes, then draws its fate: 30 % failures, 5 % hangs, 5 % resets."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {}
        """By account, which is the first part of a path."""
        self.unsigned: list[str] = []
        """What did not verify."""
        self._source = random.Random(SEED)

    def __call__(self, path: str, headers: Mapping[str, str], body: bytes) -> Fate:
        try:
            Webhook(self.secrets[path.split("/")[1]]).verify(body, dict(headers))
        except WebhookVerificationError as error:
            self.unsigned.append(f"{path}: {error}: {body!r}")
        drawn = self._source.random()
        if drawn < 0.30:
            return Fate(status=self._source.choice([500, 502, 503, 404, 302]))
        if drawn < 0.35:
            return Fate(hangs_s=60.0)
        if drawn < 0.40:
            return Fate(resets=True)
        return Fate(status=self._source.choice([200, 201, 202]))


class Feeder:
    """A process that queues events."""

    def __init__(self, appliance: Appliance, receiver: Receiver) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.drills.webhook_feeder", receiver.url(""), str(PATHS)],
            cwd=REPOSITORY,
            env=appliance.variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.secrets: dict[str, str] = json.loads(self._read())
        self.ids: list[str] = []

    def begin(self, count: int) -> None:
        """Queue so many; returns at once."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()

    def end(self) -> None:
        """Wait until they are queued."""
        self.ids += json.loads(self._read())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the feeder ended"
        return line


@contextmanager
def feeding(appliance: Appliance, receiver: Receiver) -> Iterator[Feeder]:
    feeder = Feeder(appliance, receiver)
    try:
        yield feeder
    finally:
        feeder.close()


@contextmanager
def post_office(folder: Path, receiver: Receiver) -> Iterator[Appliance]:
    """PostgreSQL and housekeeping, and nothing else of the appliance."""
    settings = {
        "DJANGO_SETTINGS_MODULE": "tests.drills.webhook_settings",
        "DARKROOM_WEBHOOK_HTTPS": "no",
        "DARKROOM_WEBHOOK_TIMEOUT_S": "1",
        "DARKROOM_FETCH_ALLOW": receiver.allowed,
    }
    parts = {"has_web": False, "has_housekeeping": True}
    with Appliance(folder, devices=(), accounts=2, settings=settings, **parts) as appliance:
        yield appliance


def kill_deliverer(appliance: Appliance, receiver: Receiver) -> None:
    """SIGKILL to the worker of housekeeping that speaks with the receiver."""
    wait_until(lambda: find_deliverer(appliance, receiver), what="a deliverer at work").kill()


def find_deliverer(appliance: Appliance, receiver: Receiver) -> psutil.Process | None:
    for process in appliance.process("qcluster").children(recursive=True):
        with suppress(psutil.Error):
            connections = process.net_connections(kind="tcp")
            if any(each.raddr and each.raddr.port == receiver.port for each in connections):
                return process
    return None


def not_delivered(appliance: Appliance) -> int:
    [[count]] = appliance.query("SELECT count(*) FROM webhooks_delivery WHERE state <> 'delivered'")
    return int(count)


def test_killed_deliverers_lose_nothing() -> None:
    judge, kills = Judge(), drill_count(3)
    with drill_folder() as folder, Receiver(judge) as receiver, post_office(folder, receiver) as appliance:
        with feeding(appliance, receiver) as feeder:
            judge.secrets = feeder.secrets
            began = time.monotonic()
            for _ in range(kills):
                feeder.begin(EVENTS_A_KILL)
                wait_until(partial(has_taken, receiver, len(feeder.ids) // 2), what="deliveries")
                kill_deliverer(appliance, receiver)
                feeder.end()
            # Nobody else would ring before the next minute.
            feeder.begin(1)
            feeder.end()
            wait_until(lambda: not_delivered(appliance) == 0, what="every delivery", timeout_s=END_TIMEOUT_S)
            seconds = time.monotonic() - began
        taken = receiver.taken()
        report(appliance, receiver, kills=kills, seconds=seconds)
        assert judge.unsigned == []
        assert len(set(feeder.ids)) == kills * EVENTS_A_KILL + 1
        assert set(taken) == set(feeder.ids)
        # A kill can double what had arrived and was not yet on record, at most all that were under way.
        assert len(taken) - len(set(taken)) <= kills * PLACES


def has_taken(receiver: Receiver, count: int) -> bool:
    """Whether so many deliveries, and one more, have arrived."""
    return len(receiver.taken()) > count


def report(appliance: Appliance, receiver: Receiver, *, kills: int, seconds: float) -> None:
    """Print the figures, and append them to the file that DARKROOM_DRILL_REPORT names."""
    taken = receiver.taken()
    [[attempts, slowest]] = appliance.query(
        "SELECT count(*), max(attempts) FROM webhooks_attempt"
        " JOIN webhooks_delivery AS delivery ON delivery.id = delivery_id"
    )
    line = json.dumps(
        {
            "drill": "webhooks",
            "kills": kills,
            "events": len(set(taken)),
            "requests": len(receiver.requests),
            "attempts_on_record": attempts,
            "broken_off": receiver.broken_off,
            "doubled": len(taken) - len(set(taken)),
            "most_attempts_of_one": slowest,
            "seconds": round(seconds, 1),
            "load_average": psutil.getloadavg()[0],
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    )
    print(line)
    if target := os.environ.get("DARKROOM_DRILL_REPORT"):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
