"""`kill -9` while two hundred tenants spend money: every event is billed once, to the micro-dollar.

An event is one accepted call of one image: delivered, it is a row of usage; the tenth part that fails or is
canceled is given back. DARKROOM_DRILL_COUNT is the number of kills, with 2,000 events each: 50 are 100,000.
Callers ask for ten at a time, and workers end together what they have claimed, by the product's own services.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.appliance.environment import REPOSITORY
from tests.drills.counting import drill_count
from tests.drills.money_worker import BATCH
from tests.harness.appliance import Appliance, drill_folder
from tests.harness.waits import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(3600)]

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # a folder of its own within
KEEPS_WHAT_IT_SAID = {"synchronous_commit": "on"}
"""Off without fsync: PostgreSQL, killed, would forget its last commits, and events with them."""
TENANTS = 200
EVENTS_A_KILL = 2000
SHARDS = 3
DATABASE_KILLS = 10
"""Every so many kills one is of a database session, after which PostgreSQL restarts all of itself."""
END_TIMEOUT_S = 1800.0


@pytest.fixture(scope="module")
def appliance() -> Iterator[Appliance]:
    with (
        # In memory: what a process that is killed has written is there, on a disk or not.
        drill_folder(parent=MEMORY) as folder,
        Appliance(
            folder, accounts=TENANTS, devices=(), has_web=False, fsync=False, postgres=KEEPS_WHAT_IT_SAID
        ) as appliance,
    ):
        appliance.run_python("-m", "tests.drills.money_worker", "setup")
        yield appliance


class Workers:
    """The processes that ask and deliver; those that die are started again until all has been asked."""

    def __init__(self, appliance: Appliance, events: int) -> None:
        self._appliance = appliance
        self._events = events
        self._running = [self._start(shard) for shard in range(SHARDS)]
        self._ended: set[int] = set()

    def _start(self, shard: int) -> subprocess.Popen[bytes]:
        file = self._appliance.folder / f"shard-{shard}"
        words = [str(shard), str(SHARDS), str(self._events), str(file)]
        return subprocess.Popen(
            [sys.executable, "-m", "tests.drills.money_worker", *words],
            cwd=REPOSITORY,
            env=self._appliance.variables,
            stderr=(self._appliance.folder / f"shard-{shard}.log").open("ab"),
        )

    def kill_one(self, dice: random.Random) -> None:
        """SIGKILL to one that still works, which is then started again."""
        shard = dice.choice([shard for shard in range(SHARDS) if shard not in self._ended] or [0])
        self._running[shard].kill()
        self._running[shard].wait()
        self._running[shard] = self._start(shard)
        self._ended.discard(shard)

    def have_ended(self) -> bool:
        """Raises AssertionError with the log of one that ended otherwise than by itself."""
        for shard, process in enumerate(self._running):
            status = process.poll()
            if status is not None:
                assert status == 0, (self._appliance.folder / f"shard-{shard}.log").read_text()[-3000:]
                self._ended.add(shard)
        return len(self._ended) == SHARDS

    def end(self) -> None:
        for process in self._running:
            process.kill()
            process.wait()


def test_every_event_is_billed_once(appliance: Appliance) -> None:
    kills = drill_count(10)
    events = kills * EVENTS_A_KILL
    dice = random.Random(20260302)
    started = time.monotonic()
    workers = Workers(appliance, events)
    try:
        for kill in range(1, kills + 1):
            threshold = kill * events // (kills + 1) - dice.randrange(EVENTS_A_KILL // 2)
            wait_until(
                lambda: workers.have_ended() or accepted(appliance) >= threshold,  # noqa: B023  # waited for here
                what=f"{threshold} events",
                timeout_s=END_TIMEOUT_S,
            )
            if kill % DATABASE_KILLS == 0:
                appliance.kill_backend()
            else:
                workers.kill_one(dice)
        wait_until(workers.have_ended, what="the end of all events", timeout_s=END_TIMEOUT_S)
    finally:
        workers.end()
    seconds = time.monotonic() - started
    end_the_rest(appliance)
    assert_billed_once(appliance, events)
    report(appliance, events=events, kills=kills, seconds=seconds)


def accepted(appliance: Appliance) -> int:
    [[count]] = appliance.query("SELECT count(*) FROM generation_idempotencyrecord")
    return int(count)


def end_the_rest(appliance: Appliance) -> None:
    """What the last killed worker left: one that starts anew takes it back and ends it."""
    appliance.run_python("-m", "tests.drills.money_worker", "rest", str(SHARDS))


def assert_billed_once(appliance: Appliance, events: int) -> None:
    """Nothing lost, nothing billed twice, the books balance and agree with the usage of every tenant."""
    assert accepted(appliance) == events
    states: dict[str, int] = dict(
        appliance.query("SELECT state, count(*) FROM generation_generationjob GROUP BY 1")
    )
    assert sum(states.values()) == events
    assert states.keys() <= {"succeeded", "failed", "canceled", "quarantined"}, states
    assert states["succeeded"] > events * 0.8
    [[billed, distinct]] = appliance.query("SELECT count(*), count(DISTINCT job_id) FROM billing_usageevent")
    assert billed == distinct == states["succeeded"]
    assert appliance.query("SELECT COALESCE(sum(amount_micro), 0) FROM billing_ledgerline") == [(0,)]
    assert appliance.query(DIFFERENCES_SQL) == []
    assert appliance.invariants() == []


# What each tenant was given, less what its usage cost, is what it has; nothing is held any more.
DIFFERENCES_SQL = """
SELECT account.id, given.micro, usage.micro, has.micro, has.held
  FROM accounts_account AS account
  JOIN LATERAL (SELECT COALESCE(sum(amount_micro), 0) AS micro FROM billing_ledgerentry
                 WHERE account_id = account.id AND name IN ('top_up', 'grant')) AS given ON true
  JOIN LATERAL (SELECT COALESCE(sum(price_micro), 0) AS micro FROM billing_usageevent
                 WHERE account_id = account.id) AS usage ON true
  JOIN LATERAL (SELECT COALESCE(sum(balance_micro), 0) AS micro,
                       COALESCE(sum(balance_micro) FILTER (WHERE kind = 'held'), 0) AS held
                  FROM billing_ledgeraccount WHERE account_id = account.id) AS has ON true
 WHERE given.micro - usage.micro <> has.micro OR has.held <> 0
"""


def report(appliance: Appliance, *, events: int, kills: int, seconds: float) -> None:
    """Print the figures, and append them to the file that DARKROOM_DRILL_REPORT names."""
    figures = {
        "drill": "money",
        "events": events,
        "tenants": TENANTS,
        "kills": kills,
        "batch": BATCH,
        "seconds": round(seconds, 1),
        "states": dict(appliance.query("SELECT state, count(*) FROM generation_generationjob GROUP BY 1")),
        "fundings": dict(appliance.query("SELECT funding, count(*) FROM billing_usageevent GROUP BY 1")),
    }
    line = json.dumps(figures)
    print(line)
    if target := os.environ.get("DARKROOM_DRILL_REPORT"):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
