"""Rows of GPU workers: who serves which device, and its signs of life."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

import psutil

from apps.generation.models import GpuWorker
from gpu_runtime.messages import EngineInfo, HeldWeights


def worker_name(device: str) -> str:
    """The slot's name: one a device of a host. A restarted process takes the same one over."""
    return f"{socket.gethostname()[:40]}/{device}"


def lock_name(worker: str) -> str:
    """The session lock that proves its holder to be the only process in the slot."""
    return f"gpu-worker:{worker}"


def is_held_by_this_process(name: str) -> bool:
    """Whether this very process was the slot's last holder: it lost the slot, but did not die."""
    return GpuWorker.objects.filter(
        name=name, host=socket.gethostname(), pid=os.getpid(), started_at__gte=process_start()
    ).exists()


def process_start() -> datetime:
    """When this process began: a process id alone may have been another's."""
    return datetime.fromtimestamp(psutil.Process().create_time(), tz=UTC)


def register_worker(*, name: str, now: datetime) -> GpuWorker:
    """Take the slot over: a new start with this process's id, nothing known of the device yet."""
    worker, _ = GpuWorker.objects.update_or_create(
        name=name,
        defaults={
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "state": "starting",
            "started_at": now,
            "heartbeat_at": now,
        },
    )
    return worker


def _held(weights: HeldWeights) -> dict[str, object]:
    return {
        "name": weights.name,
        "family": weights.family,
        "residency": weights.residency.value,
        "size_bytes": weights.size_bytes,
        "is_pinned": weights.is_pinned,
        "idle_s": round(weights.idle_s, 1),
    }


def beat(
    *,
    worker_id: int,
    state: str,
    info: EngineInfo | None,
    step_ms: float,
    tflop_per_s: float,
    now: datetime,
) -> None:
    """Write a sign of life and what the engine holds now."""
    changes: dict[str, object] = {
        "heartbeat_at": now,
        "state": state,
        "step_ms": step_ms,
        "tflop_per_s": tflop_per_s,
    }
    if info is not None:
        changes |= {
            "runtime": info.runtime,
            "device": info.device,
            "device_name": info.device_name,
            "reason": info.reason,
            "resident": list(info.resident),
            "weights": [_held(weights) for weights in info.held],
            "weights_bytes": info.weights_bytes,
            "weights_budget_bytes": info.weights_budget_bytes,
        }
    GpuWorker.objects.filter(pk=worker_id).update(**changes)
