"""django-q2 entry points. They take keys or names and call one thing; the rows are the truth."""

from __future__ import annotations

from apps.audit.refs import Ref
from apps.core.clock import now
from apps.generation import devices, idempotency, late_holds, lifecycle, picture_store, usage_rollup
from apps.generation.doorbell import ring
from apps.generation.drain import is_draining
from apps.generation.pump import run_pump

HOUSEKEEPING = Ref(kind="process", id=None, label="housekeeping")


def pump(device: str) -> bool:
    """One slice of the GPU worker's loop, which asks for the next; False when the slot is taken."""
    served = run_pump(device=device)
    if served and not is_draining():
        ring(device)
    return served


def reap() -> int:
    """Take back jobs of silent workers and end those past their deadline, also while no worker runs."""
    return lifecycle.reap_expired(actor=HOUSEKEEPING, now=now())


def end_late_holds() -> int:
    """Money that is still held for jobs which have ended."""
    return late_holds.end_late_holds(actor=HOUSEKEEPING, now=now())


def give_back_devices() -> int:
    """Devices that were kept for accounts whose contract has ended."""
    return devices.give_back_unentitled(actor=HOUSEKEEPING, now=now())


def count_uses() -> int:
    """Bring the use counts of the catalogue up to date."""
    return usage_rollup.count_uses(now=now())


def forget_old_keys() -> int:
    """Drop idempotency records past their 48 hours."""
    return idempotency.forget_old_keys(now=now())


def sweep_pictures() -> int:
    """Delete pictures of requests that have ended."""
    return picture_store.sweep_pictures(now=now())
