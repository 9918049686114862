"""Starts the client process of a benchmark and reads what it found."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from deploy.appliance.environment import REPOSITORY
from tests.harness.appliance import Appliance
from tests.harness.http_client import GENERATE
from tests.harness.seed import CHECKPOINT
from tests.harness.waits import wait_until


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one client process saw."""

    statuses: dict[str, int]
    elapsed_s: float
    durations_ms: list[float]
    jobs: list[int]
    """The job of each answer in `durations_ms`, 0 without one."""
    sent_at_s: list[float]
    """When each of these requests was sent, by the wall clock."""
    client_cpu_s: float

    @property
    def per_minute(self) -> float:
        return self.statuses.get("200", 0) / self.elapsed_s * 60


def hammer(port: int, requests: Sequence[str], *, seconds: float) -> Found:
    """A connection for each request text, each repeating it for `seconds`; in a process of its own."""
    with hammering(port, requests, seconds=seconds) as client:
        return collect(client)


@contextmanager
def hammering(port: int, requests: Sequence[str], *, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """As `hammer`, while the block goes on with something else; `collect` then waits for the client."""
    client = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.raw_client"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert client.stdin is not None
        client.stdin.write(json.dumps({"port": port, "requests": list(requests), "seconds": seconds}))
        client.stdin.close()
        yield client
    finally:
        client.kill()
        client.wait()
        assert client.stdout is not None
        client.stdout.close()


def collect(client: subprocess.Popen[str]) -> Found:
    """What the client found, once it has ended."""
    assert client.stdout is not None
    return Found(**json.loads(client.stdout.read().splitlines()[-1]))


def get_text(path: str) -> str:
    """A GET as it travels."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def post_text(path: str, key: str, fields: dict[str, object]) -> str:
    """A POST of JSON as it travels."""
    body = json.dumps(fields)
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n\r\n{body}"
    )


def generate_text(key: str, *, steps: int, is_instant: bool) -> str:
    """A small image, whose request waits for it unless it is instant."""
    fields: dict[str, object] = {
        "prompt": "a lighthouse on a cliff, late afternoon, oil on canvas",
        "negative_prompt": "blurry",
        "model_id": CHECKPOINT,
        "width": 64,
        "height": 64,
        "samples": 1,
        "num_inference_steps": steps,
        "seed": 7,
        "instant_response": is_instant,
    }
    return post_text(GENERATE, key, fields)


def processor_seconds(appliance: Appliance) -> dict[str, float]:
    """What each part has used so far. Less exact than its digits: processes that ended are not in it."""
    parts = {"web": [appliance.process("gunicorn")], "worker": [appliance.process("gpu_cluster")]}
    if pid := appliance.cluster.pid:
        parts["postgresql"] = [psutil.Process(pid)]
    return {name: sum(_tree_seconds(process) for process in found) for name, found in parts.items()}


def _tree_seconds(process: psutil.Process) -> float:
    total = 0.0
    for member in [process, *process.children(recursive=True)]:
        with suppress(psutil.Error):
            times = member.cpu_times()
            total += times.user + times.system
    return total


def wait_until_idle(appliance: Appliance) -> None:
    """Returns when no job is open."""

    def is_idle() -> bool:
        [[count]] = appliance.query(
            "SELECT count(*) FROM generation_generationjob WHERE state IN ('queued', 'running')"
        )
        return bool(count == 0)

    wait_until(is_idle, what="the end of all jobs", timeout_s=600)
