"""What the drills measure: how soon interrupted jobs run again, and that nothing was lost or doubled."""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from tests.harness.appliance import Appliance, Row, percentiles
from tests.harness.load import Ledger
from tests.harness.waits import wait_until

OPEN = "('queued', 'running')"
# The contract: an interrupted job runs again within this time.
RERUN_LIMIT_S = 10.0
RERUN_TIMEOUT_S = 120.0
SHARE_PROBE_S = 0.3
# Below it the seconds of a drill are those of its neighbours: other machines' work, or the other half of a
# suite that runs on every core. Run alone (`pytest tests/drills`), drills hold their contract to the second.
USABLE_SHARE = 0.9
END_TIMEOUT_S = 240.0


def drill_count(default: int) -> int:
    """How often each drill kills: DARKROOM_DRILL_COUNT, else few enough for the normal suite."""
    return int(os.environ.get("DARKROOM_DRILL_COUNT") or default)


@dataclass(slots=True)
class Reruns:
    """Interrupted jobs over several kills."""

    seconds: list[float] = field(default_factory=list)
    """From the kill to the next claim, one for each interrupted job."""
    seconds_with_database: list[float] = field(default_factory=list)
    """The same, from the first moment after the kill at which the database answered."""
    kills: int = 0
    ended_anyway: int = 0
    """Were running at the kill, yet ended under the same claim: their result was already on its way."""

    def summary(self) -> dict[str, float]:
        p50, p95, longest = percentiles(self.seconds)
        usable_p50, usable_p95, usable_longest = percentiles(self.seconds_with_database)
        return {
            "kills": self.kills,
            "interrupted": len(self.seconds),
            "ended_anyway": self.ended_anyway,
            "rerun_p50_s": round(p50, 3),
            "rerun_p95_s": round(p95, 3),
            "rerun_max_s": round(longest, 3),
            "rerun_with_database_p50_s": round(usable_p50, 3),
            "rerun_with_database_p95_s": round(usable_p95, 3),
            "rerun_with_database_max_s": round(usable_longest, 3),
        }


def processor_share() -> float:
    """How much of one core is ours now, 0 to 1: neighbours of a higher priority take the rest."""
    started_s, used_s = time.monotonic(), time.process_time()
    while time.monotonic() - started_s < SHARE_PROBE_S:
        pass
    return min(1.0, (time.process_time() - used_s) / (time.monotonic() - started_s))


def assert_reruns_start_soon(reruns: Reruns, *, share: float) -> None:
    """The contract in seconds, which a machine that is taken from us cannot tell anything about.

    Without a database nobody can claim, and how long PostgreSQL recovers is the disk's and the
    processor's affair: the time counts from its first answer.
    """
    slowest_s = percentiles(reruns.seconds_with_database)[1]
    if share < USABLE_SHARE:
        warnings.warn(f"only {share:.0%} of a core was ours; re-runs took {slowest_s:.1f} s", stacklevel=2)
        return
    assert slowest_s <= RERUN_LIMIT_S


def running_jobs(appliance: Appliance) -> list[Row]:
    """Id and fence of every job that a worker holds."""
    return appliance.query("SELECT id, fence FROM generation_generationjob WHERE state = 'running'")


def kill_and_follow(appliance: Appliance, kill: Callable[[], None], reruns: Reruns) -> None:
    """Wait until jobs run, kill, and wait until each of them was claimed again or has ended."""
    held = wait_until(lambda: running_jobs(appliance), what="a running job")
    kill()
    killed_at = time.time()
    reruns.kills += 1
    appliance.query("SELECT 1")
    database_back_at = time.time()
    fences: dict[int, int] = dict(held)
    waiting = set(fences)

    def all_followed() -> bool:
        for job_id, fence, state, claimed_at in _claims(appliance, waiting):
            if fence > fences[job_id]:
                claimed_s = claimed_at.timestamp()
                reruns.seconds.append(max(0.0, claimed_s - killed_at))
                reruns.seconds_with_database.append(max(0.0, claimed_s - database_back_at))
            elif state in ("queued", "running"):
                continue
            else:
                reruns.ended_anyway += 1
            waiting.discard(job_id)
        return not waiting

    wait_until(all_followed, what=f"the next claim of jobs {waiting}", timeout_s=RERUN_TIMEOUT_S)


def _claims(appliance: Appliance, ids: set[int]) -> list[Row]:
    return appliance.query(
        "SELECT id, fence, state, claimed_at FROM generation_generationjob WHERE id = ANY(%s)", [list(ids)]
    )


def wait_all_ended(appliance: Appliance) -> None:
    """Returns when no job is open."""

    def none_open() -> bool:
        [[count]] = appliance.query(f"SELECT count(*) FROM generation_generationjob WHERE state IN {OPEN}")
        return bool(count == 0)

    wait_until(none_open, what="the end of every job", timeout_s=END_TIMEOUT_S)


def assert_promises_kept(appliance: Appliance, ledger: Ledger) -> None:
    """Every accepted job has ended once, one job for each idempotency key, and every invariant holds."""
    wait_all_ended(appliance)
    doubled = {key: ids for key, ids in ledger.ids.items() if len(ids) != 1}
    assert not doubled
    assert not ledger.refusals
    accepted = ledger.accepted
    assert accepted, "the load never got through"
    rows = appliance.query(
        "SELECT id, state, crashes FROM generation_generationjob WHERE id = ANY(%s)", [accepted]
    )
    assert {row[0] for row in rows} == set(accepted)
    strange = [row for row in rows if row[1] != "succeeded" and not (row[1] == "quarantined" and row[2] >= 2)]
    assert not strange, f"ended otherwise: {strange}"
    keys = appliance.query("SELECT key, job_id FROM generation_idempotencyrecord")
    [[jobs]] = appliance.query("SELECT count(*) FROM generation_generationjob")
    assert len(keys) == jobs, "a repeated request made a second job"
    assert appliance.invariants() == []


def report(name: str, appliance: Appliance, ledger: Ledger, reruns: Reruns) -> dict[str, object]:
    """Print the figures, and append them to the file that DARKROOM_DRILL_REPORT names."""
    states = {
        row[0]: row[1]
        for row in appliance.query("SELECT state, count(*) FROM generation_generationjob GROUP BY 1")
    }
    figures: dict[str, object] = {
        "drill": name,
        "accepted": len(ledger.accepted),
        "client_retries": ledger.retries,
        "states": states,
        **reruns.summary(),
        "load_average": psutil.getloadavg()[0],
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    line = json.dumps(figures)
    print(line)
    if target := os.environ.get("DARKROOM_DRILL_REPORT"):
        with Path(target).open("a", encoding="utf-8") as file:
            file.write(line + "\n")
    return figures
