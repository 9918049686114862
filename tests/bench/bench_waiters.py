"""Whether other pages stay quick while hundreds of requests wait for their images, and what waiting costs.

Regime: gunicorn as shipped (2 processes of up to 1,000 threads), 500 connections, each with one synchronous
request. The worker stands still (SIGSTOP), so that every request waits, for as long as pages are sampled one
after another: `/healthz` (no database), a fetch of a waiting job (authentication and five queries), the
console's sign-in page (a template). Then the worker goes on and every request gets its image.

- baseline: the same pages with nobody waiting.
- memory: private bytes (USS) of the web processes, before and with all requests waiting.
- all answered: from the worker's first step to the last of the 500 answers.
"""

from __future__ import annotations

import subprocess
import sys
import time

import psutil

from tests.bench.driving import collect, generate_text, hammering, wait_until_idle
from tests.bench.reporting import Rounds, publish, read_arguments, spread
from tests.harness.appliance import Appliance, drill_folder, percentiles
from tests.harness.http_client import FETCH, Client
from tests.harness.seed import CHECKPOINT
from tests.harness.waits import wait_until

# Longer than a round: nobody may take the frozen worker for dead.
SETTINGS = {"DARKROOM_LEASE_S": "300", "DARKROOM_SYNC_WAIT_S": "120"}
SAMPLES = 60
PAGES = ("healthz", "fetch", "sign-in page")


def main() -> None:
    arguments = read_arguments(__doc__, rounds=3, waiters=500)
    alone = {page: Rounds(f"{page}, nobody waiting (baseline), p95", "ms") for page in PAGES}
    crowded = {page: Rounds(f"{page}, {arguments.waiters} waiting, p95", "ms") for page in PAGES}
    memory = Rounds("web memory, all waiting", "MiB")
    growth = Rounds("web memory, growth for one waiter", "KiB")
    answered = Rounds("all answered after the worker goes on", "s")
    every: dict[str, list[float]] = {}
    with drill_folder() as folder, Appliance(folder, settings=SETTINGS) as appliance:
        text = generate_text(appliance.keys[0], steps=1, is_instant=False)
        for _ in range(arguments.rounds):
            job_id = make_job(appliance)
            note(alone, every, sample(appliance, job_id))
            before = web_memory(appliance)
            with hammering(appliance.port, [text] * arguments.waiters, seconds=0) as client:
                with appliance.frozen_pump():
                    wait_until_all_wait(appliance, client, arguments.waiters)
                    note(crowded, every, sample(appliance, job_id))
                    memory.values.append(web_memory(appliance) / 2**20)
                    growth.values.append((web_memory(appliance) - before) / arguments.waiters / 1024)
                    assert client.poll() is None
                started = time.monotonic()
                found = collect(client)
                answered.values.append(time.monotonic() - started)
            assert found.statuses == {"200": arguments.waiters}, found.statuses
            wait_until_idle(appliance)
        assert appliance.invariants() == []
    publish(
        "waiters",
        [*alone.values(), *crowded.values(), memory, growth, answered],
        settings={"waiters": arguments.waiters, "rounds": arguments.rounds, "samples": SAMPLES},
        details={name: spread(values, [50, 95, 99]) for name, values in every.items()},
        target=arguments.json,
    )


def make_job(appliance: Appliance) -> int:
    """A job to fetch."""
    fields: dict[str, object] = {"prompt": "a tarn", "model_id": CHECKPOINT, "instant_response": True}
    with Client(appliance.port, key=appliance.keys[0]) as client:
        return int(
            client.post("/api/v7/images/text-to-image", fields | {"width": 64, "height": 64}).json()["id"]
        )


def sample(appliance: Appliance, job_id: int) -> dict[str, list[float]]:
    """Milliseconds of each page, several times, in turn."""
    paths = dict(zip(PAGES, ("/healthz", f"{FETCH}/{job_id}", "/console/login/"), strict=True))
    durations: dict[str, list[float]] = {page: [] for page in PAGES}
    with Client(appliance.port, key=appliance.keys[0]) as client:
        for _ in range(SAMPLES):
            for page, path in paths.items():
                started = time.monotonic()
                status = client.get(path).status
                durations[page].append((time.monotonic() - started) * 1000)
                assert status == 200, (path, status)
    return durations


def note(
    figures: dict[str, Rounds], every: dict[str, list[float]], durations: dict[str, list[float]]
) -> None:
    """Add one round's figures."""
    for page, values in durations.items():
        figures[page].values.append(percentiles(values, [95])[0])
        every.setdefault(figures[page].name.removesuffix(", p95"), []).extend(values)


def web_memory(appliance: Appliance) -> float:
    """Private bytes of all web processes."""
    master = appliance.process("gunicorn")
    return float(
        sum(process.memory_full_info().uss for process in [master, *master.children(recursive=True)])
    )


def wait_until_all_wait(appliance: Appliance, client: subprocess.Popen[str], count: int) -> None:
    """Returns when every request has been accepted and its thread sleeps."""

    def all_wait() -> bool:
        [[waiting]] = appliance.query("SELECT count(*) FROM generation_generationjob WHERE state = 'queued'")
        threads = sum(worker.num_threads() for worker in appliance.web_workers())
        return bool(waiting >= count and threads >= count and not is_busy(appliance))

    assert client.poll() is None
    wait_until(all_wait, what=f"{count} waiting requests", timeout_s=180)


def is_busy(appliance: Appliance) -> bool:
    """Whether the web processes still work on what was sent."""
    return any(process.cpu_percent(interval=0.2) > 5 for process in map(psutil.Process, pids(appliance)))


def pids(appliance: Appliance) -> list[int]:
    return [worker.pid for worker in appliance.web_workers()]


if __name__ == "__main__":
    sys.exit(main())
