"""A worker that stood still past its lease and then writes: the fence must turn its results away.

The control runs the same drill with the fence taken out and must be caught by `manage.py invariants`:
otherwise these drills, and the kill drills beside them, would prove nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.drills import unfenced_gpu_cluster
from tests.drills.counting import wait_all_ended
from tests.drills.submitting import has_ended, submit
from tests.harness.appliance import GPU_COMMAND, Appliance, drill_folder
from tests.harness.http_client import Client
from tests.harness.waits import wait_until

pytestmark = [pytest.mark.drill, pytest.mark.slow, pytest.mark.timeout(300)]

DEVICES = ("cpu", "cuda:0")
# Each worker draws for itself whether the last step fails, so that two of them may disagree about a job.
PROMPT = "a moor [fault:oom@2%0.5]"
STEPS = 2
BURST = 4
# A round shows nothing when the worker is frozen at the wrong moment or the draws agree.
ROUNDS = 6
PROBE_TIMEOUT_S = 20.0
TURNED_AWAY = "result dropped, the lease was lost"


@contextmanager
def two_workers(gpu_command: tuple[str, ...]) -> Iterator[Appliance]:
    settings = {"DARKROOM_LEASE_S": "1.5", "DARKROOM_HEARTBEAT_S": "0.3"}
    with (
        drill_folder() as folder,
        Appliance(
            folder, step_ms=400, devices=DEVICES, gpu_command=gpu_command, settings=settings
        ) as appliance,
    ):
        yield appliance


def test_late_results_of_a_frozen_worker_are_turned_away() -> None:
    with two_workers(GPU_COMMAND) as appliance:
        for _ in range(ROUNDS):
            freeze_past_the_lease(appliance)
            if TURNED_AWAY in appliance.logs("gpu-cpu") + appliance.logs("gpu-cuda-0"):
                break
        else:
            pytest.fail("no frozen worker ever wrote late: the drill showed nothing")
        wait_all_ended(appliance)
        assert appliance.invariants() == []


def test_control_without_the_fence_is_caught() -> None:
    program = Path(str(unfenced_gpu_cluster.__file__))
    with two_workers((str(program),)) as appliance:
        for _ in range(ROUNDS):
            # Double settlements eat up the reservations of other jobs, which may then never end.
            with suppress(TimeoutError):
                freeze_past_the_lease(appliance)
            if found := appliance.invariants():
                sys.stdout.write("caught: " + "\n        ".join(found) + "\n")
                return
        pytest.fail("the invariants did not notice that a worker without a fence wrote late")


def freeze_past_the_lease(appliance: Appliance) -> None:
    """Freeze a worker in the last step of its jobs until others have ended them; return when it is back."""
    wait_all_ended(appliance)
    with Client(appliance.port, key=appliance.keys[0]) as client:
        for _ in range(BURST):
            submit(client, PROMPT, steps=STEPS)
        device, held = wait_until(lambda: in_last_step(appliance), what="jobs in their last step")
        with appliance.frozen_pump(device):
            wait_until(lambda: has_ended(appliance, held), what="the other worker")
            # Open jobs, so that there is quota to take away wrongly.
            for _ in range(BURST):
                submit(client, "a fen", steps=STEPS)
        wait_until(lambda: has_worked(client, appliance, device), what="the frozen worker's next job")


def in_last_step(appliance: Appliance) -> tuple[str, list[int]] | None:
    """The device with most jobs that have one step to go, and those jobs."""
    rows = appliance.query(
        "SELECT claimed_by, array_agg(id) FROM generation_generationjob"
        " WHERE state = 'running' AND progress_step = %s GROUP BY 1 ORDER BY count(*) DESC LIMIT 1",
        [STEPS - 1],
    )
    return (rows[0][0].partition("/")[2], rows[0][1]) if rows else None


def has_worked(client: Client, appliance: Appliance, device: str) -> bool:
    """Whether the device ended a job of this moment, hence everything that it had held before."""
    probe = submit(client, "a tarn", steps=1)
    wait_until(lambda: has_ended(appliance, [probe]), what="a probe", timeout_s=PROBE_TIMEOUT_S)
    [[worker]] = appliance.query("SELECT claimed_by FROM generation_generationjob WHERE id = %s", [probe])
    return bool(worker.endswith(f"/{device}"))
