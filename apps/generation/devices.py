"""Devices that are kept for one account each, as its contract says.

While a device is kept, it runs that account's jobs alone and they run nowhere else (`claiming`). A kept
device that is away loses nothing: its account's jobs wait for it, and end as any that waited too long.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db import IntegrityError, transaction

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.audit.services import record
from apps.core.errors import Conflict
from apps.generation.channels import notify_queued
from apps.generation.models import DedicatedDevice, GpuWorker
from apps.plans.selectors import get_entitlements


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDevice:
    """A device as its account sees it."""

    name: str
    is_online: bool
    """Whether its worker takes jobs at present."""


def keep_device(*, account: Account, worker: GpuWorker, actor: Ref, now: datetime) -> DedicatedDevice:
    """Keep the worker's device for `account`, from the next claim on; what runs there goes on to its end.

    Raises Conflict for an account whose plan and contract keep none, and for a device that is kept already.
    """
    entitlements = get_entitlements(account, now=now)
    if not entitlements.dedicated_device:
        raise Conflict(
            problem=f"The plan {entitlements.plan_code} of {account.slug} has no dedicated device:"
            " agree on one in a contract first."
        )
    try:
        with transaction.atomic(durable=True):
            device = DedicatedDevice.objects.create(account=account, worker=worker, created_at=now)
            _record("generation.device.kept", device, actor, now)
            notify_queued()
    except IntegrityError:
        raise Conflict(problem=f"The device {worker.name} is kept for an account already.") from None
    return device


def give_device_back(*, device: DedicatedDevice, actor: Ref, now: datetime) -> bool:
    """Let the device run everybody's jobs again, and any device the account's; False if it did already."""
    with transaction.atomic(durable=True):
        rows = DedicatedDevice.objects.select_for_update(of=("self",)).select_related("worker")
        found = rows.filter(pk=device.pk).first()
        if found is None:
            return False
        _record("generation.device.given_back", found, actor, now)
        found.delete()
        notify_queued()
    return True


def give_back_unentitled(*, actor: Ref, now: datetime) -> int:
    """Give back the devices of accounts whose contract keeps none any more; how many."""
    given = 0
    for device in DedicatedDevice.objects.select_related("account").order_by("pk"):
        if not get_entitlements(device.account, now=now).dedicated_device:
            given += give_device_back(device=device, actor=actor, now=now)
    return given


def kept_devices(*, account: Account, now: datetime) -> list[KeptDevice]:
    """Those of the account, by name; one query."""
    rows = DedicatedDevice.objects.filter(account=account).select_related("worker").order_by("worker__name")
    return [
        KeptDevice(
            name=row.worker.name,
            is_online=row.worker.state == "ready" and row.worker.is_fresh(now=now, lease_s=settings.LEASE_S),
        )
        for row in rows
    ]


def _record(name: str, device: DedicatedDevice, actor: Ref, now: datetime) -> None:
    data = {"worker": device.worker.name}
    record(name, actor=actor, subject=device.ref, account_id=device.account_id, data=data, now=now)
