"""Money that is still held for jobs which have ended.

A worker of the version before, which goes on beside this one during an upgrade, ends jobs and knows nothing
of holds: what was set aside for them would be set aside for ever.
"""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.billing.ledger.errors import CaptureExceedsHold, HoldEnded
from apps.billing.ledger.selectors import open_holds
from apps.billing.ledger.services import capture, release
from apps.billing.usage import price_used
from apps.generation.choices import TERMINAL_STATES, JobState
from apps.generation.models import GenerationJob
from apps.quotas.budgets import give_back_budget

log = logging.getLogger(__name__)


def end_late_holds(*, actor: Ref, now: datetime) -> int:
    """Capture what usage says, nothing where that says nothing, and release all else; how many holds.

    Holds end in the transaction that ends their job: one that is open beside an ended job is left over.
    """
    left_over = GenerationJob.objects.filter(pk__in=open_holds().values("job_id"), state__in=TERMINAL_STATES)
    return sum(_end(job, actor=actor, now=now) for job in left_over.order_by("pk"))


def _end(job: GenerationJob, *, actor: Ref, now: datetime) -> bool:
    """Whether it was ended; not where somebody else just did."""
    price_micro = price_used(job.pk) if job.state == JobState.SUCCEEDED else 0
    try:
        with transaction.atomic(durable=True):
            # Of two sweeps the second waits here, and finds the hold ended.
            if not open_holds().select_for_update().filter(job_id=job.pk).exists():
                return False
            if job.state == JobState.SUCCEEDED:
                capture(job_id=job.pk, amount_micro=price_micro, now=now)
            else:
                release(job_id=job.pk, now=now)
            if price_micro < job.price_micro:
                give_back_budget(
                    account_id=job.account_id,
                    api_key_id=job.api_key_id,
                    amount_micro=job.price_micro - price_micro,
                    day=job.quota_day,
                )
            audit.record(
                "generation.job.hold_ended_late",
                actor=actor,
                subject=job.ref,
                account_id=job.account_id,
                data={"held_micro": job.price_micro, "captured_micro": price_micro},
                now=now,
            )
    except (CaptureExceedsHold, HoldEnded) as fault:
        log.error("job %d: %s; see `manage.py invariants`", job.pk, fault)
        return False
    return True
