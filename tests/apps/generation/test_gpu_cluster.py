"""`manage.py gpu_cluster` as real processes on the test database: what survives the death of which part."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest
from django.db import connection

from apps.artifacts.models import Artifact
from apps.catalog.models import CatalogEntry
from apps.generation.models import GenerationJob, GpuWorker
from tests.apps.generation import faulty_gpu_cluster
from tests.apps.generation.studio import Studio, assert_invariants_hold, reread, states, trail, usage

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[3]
# Processes start on a busy machine; what is waited for takes one or two seconds.
PROCESS_PATIENCE_S = 40.0


def database_url() -> str:
    """The test database as another process reaches it."""
    known = connection.settings_dict
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    return "postgresql:///?" + urlencode(
        {theirs: known[ours] for ours, theirs in names.items() if known[ours]}
    )


class ClusterProcess:
    """One `gpu_cluster` in a process group of its own."""

    def __init__(
        self, home: Path, *, program: Sequence[str] = ("manage.py", "gpu_cluster"), **environment: str
    ) -> None:
        home.mkdir(exist_ok=True)
        self.log = home / f"cluster-{len(list(home.iterdir()))}.log"
        settings = {
            "DATABASE_URL": database_url(),
            "DARKROOM_HOME": str(home),
            "DARKROOM_RUNTIME": "fake",
            "DARKROOM_HEARTBEAT_S": "0.2",
            "DARKROOM_DRAIN_GRACE_S": "10",
            "DJANGO_SETTINGS_MODULE": "tests.apps.generation.cluster_settings",
        }
        with self.log.open("w") as log:
            self.main = subprocess.Popen(
                [sys.executable, *program, "--device", "cpu"],
                cwd=REPOSITORY,
                env={**os.environ, **settings, **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.main.pid).children(recursive=True)

    def worker_pid(self) -> int | None:
        """The process that holds the slot, once it serves."""
        row = GpuWorker.objects.filter(state="ready").first()
        return row.pid if row is not None and psutil.pid_exists(row.pid) else None

    def output(self) -> str:
        return self.log.read_text()

    def end(self) -> None:
        if self.main.poll() is None:
            os.killpg(self.main.pid, signal.SIGKILL)
        self.main.wait(PROCESS_PATIENCE_S)


@pytest.fixture
def start_cluster(live: Studio, tmp_path: Path, settings: Any) -> Iterator[Callable[..., ClusterProcess]]:
    home = tmp_path / "home"
    settings.ARTIFACT_DIR = home / "artifacts"
    started: list[ClusterProcess] = []

    def start(**options: Any) -> ClusterProcess:
        started.append(ClusterProcess(home, **options))
        return started[-1]

    yield start
    for cluster in started:
        cluster.end()
        print(cluster.output())


def wait_for(is_true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PROCESS_PATIENCE_S
    while not (found := is_true()):
        assert time.monotonic() < deadline, "what was waited for did not happen"
        time.sleep(0.02)
    return found


def has_begun(job: GenerationJob) -> bool:
    row = reread(job)
    return row.state == "running" and row.progress_step > 0


def wait_for_end(*jobs: GenerationJob) -> None:
    wait_for(lambda: all(reread(job).is_terminal for job in jobs))


def is_gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_it_serves_slice_after_slice_refuses_a_second_one_and_drains_at_sigterm(
    live: Studio, start_cluster: Callable[..., ClusterProcess]
) -> None:
    cluster = start_cluster(DARKROOM_FAKE_STEP_MS="20")
    first = live.submit(num_images=2)
    wait_for_end(first)
    worker_pid = wait_for(cluster.worker_pid)

    second = start_cluster()
    assert second.main.wait(PROCESS_PATIENCE_S) == 1
    assert (
        "CommandError: device cpu is served by another gpu_cluster of this installation; stop that one first"
        in second.output()
    )

    # Two seconds of steps: the job outlives the slice it began in.
    long = live.submit(steps=100)
    wait_for_end(long)
    assert states(first, long) == ["succeeded", "succeeded"]
    assert (reread(long).attempt, cluster.worker_pid()) == (1, worker_pid)

    last = live.submit(steps=40)
    wait_for(lambda: has_begun(last))
    family = cluster.family()
    os.killpg(cluster.main.pid, signal.SIGTERM)
    assert cluster.main.wait(PROCESS_PATIENCE_S) == 0
    assert all(is_gone(process) for process in family)
    assert states(last) == ["succeeded"]
    assert reread(last).attempt == 1
    assert GpuWorker.objects.get().state == "stopped"
    assert usage(live.account) == (0, 3)
    assert_invariants_hold()


def test_jobs_of_a_killed_worker_run_again_whether_it_was_busy_or_idle(
    live: Studio, start_cluster: Callable[..., ClusterProcess]
) -> None:
    cluster = start_cluster(DARKROOM_FAKE_STEP_MS="20")
    job = live.submit(steps=100)
    wait_for(lambda: has_begun(job))
    busy = cluster.worker_pid()
    assert busy is not None
    os.kill(busy, signal.SIGKILL)
    wait_for_end(job)
    row = reread(job)
    assert (row.state, row.attempt, row.crashes) == ("succeeded", 2, 1)
    assert trail(job) == ["submitted", "requeued", "succeeded"]

    idle = wait_for(cluster.worker_pid)
    assert idle != busy
    os.kill(idle, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(idle) or is_gone(psutil.Process(idle)))
    after = live.submit(steps=5)
    wait_for_end(after)
    assert (states(after), reread(after).crashes) == (["succeeded"], 0)
    assert cluster.main.poll() is None
    assert_invariants_hold()


def test_killing_the_main_process_leaves_no_orphan_and_the_next_one_recovers(
    live: Studio, start_cluster: Callable[..., ClusterProcess]
) -> None:
    cluster = start_cluster(DARKROOM_FAKE_STEP_MS="20")
    job = live.submit(steps=100)
    wait_for(lambda: has_begun(job))
    family = cluster.family()
    assert len(family) >= 4
    os.kill(cluster.main.pid, signal.SIGKILL)
    cluster.main.wait(PROCESS_PATIENCE_S)
    wait_for(lambda: all(is_gone(process) for process in family))
    assert states(job) == ["running"]
    start_cluster()
    wait_for_end(job)
    row = reread(job)
    assert (row.state, row.attempt, row.crashes) == ("succeeded", 2, 1)
    assert_invariants_hold()


def test_a_hang_and_a_lost_device_cost_the_guilty_job_alone(
    live: Studio, start_cluster: Callable[..., ClusterProcess], tmp_path: Path
) -> None:
    """With the real engine: each ends the process, which says why before it goes; the next one goes on.

    Its successor would call it "worker_crashed": these codes can only come from the farewell, hence no
    later after the verdict than a farewell may take, whatever else the machine has to do.
    """
    weights = tmp_path / "weights"
    CatalogEntry.objects.filter(pk=live.checkpoint.pk).update(path=str(weights))
    cluster = start_cluster(
        program=[str(faulty_gpu_cluster.__file__), str(weights)],
        DARKROOM_RUNTIME="torch",
        DARKROOM_CPU_THREADS="1",
        DARKROOM_WATCHDOG_MIN_S="2",
        PYTHONPATH=str(REPOSITORY),
    )
    fresh = submit_small(live, "a fen")
    wait_for_end(fresh)
    for prompt, code, verdict in (
        ("hanging", "worker_hung", "no tick completed in time"),
        ("sticky", "device_lost", "the device is lost"),
    ):
        with frozen(wait_for(cluster.worker_pid)):
            healthy = [submit_small(live, f"a moor {number}") for number in range(2)]
            guilty = submit_small(live, prompt)
        wait_for_end(guilty, *healthy)
        row = reread(guilty)
        assert (row.state, row.error_code, row.crashes) == ("quarantined", code, 2)
        assert trail(guilty) == ["submitted", "requeued", "quarantined"]
        # They were in flight with it, then each ran alone.
        assert [(job.state, job.crashes) for job in map(reread, healthy)] == [("succeeded", 1)] * 2
        assert cluster.output().count(verdict) == 2
        following = submit_small(live, "a fen")
        wait_for_end(following)
        assert digest_of(following) == digest_of(fresh)
    assert usage(live.account) == (0, 7)
    assert_invariants_hold()


def submit_small(live: Studio, prompt: str) -> GenerationJob:
    return live.submit(prompt, seed=5, width=64, height=64, steps=4)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Jobs that are submitted inside are claimed together."""
    process = psutil.Process(pid)
    process.suspend()
    yield
    process.resume()


def digest_of(job: GenerationJob) -> str:
    return Artifact.objects.get(job_id=job.pk).sha256
