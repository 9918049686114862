"""What an operator should look at first: rules over the figures of `/metrics`, worst first.

The same facts wake people through deploy/monitoring/alerts.yaml; here nothing has to last for minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.urls import reverse

from apps.metrics import measuring
from apps.metrics.collecting import keeping, messages, operations, work
from apps.metrics.last_hour import LastHour
from apps.metrics.readings import Readings

BAD: Final = "bad"
WARN: Final = "warn"
NOTE: Final = "note"
ORDER: Final = (BAD, WARN, NOTE)

QUEUE_S: Final = 120.0
LATE_S: Final = 900.0
HOUSEKEEPING_S: Final = 600.0
STRIPE_S: Final = 3600.0
SOON: Final = timedelta(days=14)
BACKUP_AGE: Final = timedelta(hours=26)
DISK_LOW: Final = 0.10
DISK_FULL: Final = 0.02
BAD_SHARE: Final = 0.05
FEWEST_JOBS: Final = 10
"""Ended jobs of an hour below which a share of failures says little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that needs attention."""

    tone: str
    """bad, warn or note."""
    text: str
    """What is so, and what to do."""
    url: str = ""
    """Where to do it; empty where that is no page."""
    link: str = ""
    """What the page is called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the rules look at."""

    readings: Readings
    hour: LastHour
    quarantined: int
    """Jobs of a day."""
    now: datetime


def notices(facts: Facts) -> list[Notice]:
    """Worst first, and within a tone in the order of the rules."""
    found = [notice for rule in RULES for notice in rule(facts)]
    return sorted(found, key=lambda notice: ORDER.index(notice.tone))


def _listed(tone: str, text: str, page: str, link: str, query: str = "") -> Notice:
    """With a link to a list of the console."""
    return Notice(tone=tone, text=text, url=reverse(f"admin:{page}_changelist") + query, link=link)


def _workers(facts: Facts) -> Iterator[Notice]:
    ready = facts.readings.value(work.WORKERS, "ready")
    silent = int(facts.readings.value(work.WORKERS, work.SILENT_STATE))
    if not ready:
        waiting = int(sum(facts.readings.of(work.QUEUED).values()))
        text = f"No GPU worker takes jobs; {_jobs(waiting)} wait. Start one with: manage.py gpu_cluster"
        yield Notice(tone=BAD, text=text)
    if silent:
        yield _listed(
            WARN,
            f"{silent} GPU worker{_s(silent)} fell silent without saying so.",
            "generation_gpuworker",
            "GPU workers",
        )


def _queue(facts: Facts) -> Iterator[Notice]:
    oldest = facts.readings.value(work.OLDEST, "interactive")
    if oldest > QUEUE_S:
        yield _listed(
            WARN,
            f"The oldest interactive job has waited {_time(oldest)}.",
            "generation_generationjob",
            "Jobs",
            "?state__exact=queued",
        )


def _failures(facts: Facts) -> Iterator[Notice]:
    jobs = facts.hour.all
    if jobs.ended >= FEWEST_JOBS and jobs.failed_share > BAD_SHARE:
        yield _listed(
            WARN,
            f"{jobs.failed_share:.0%} of the jobs of the last hour failed ({jobs.failed} of {jobs.ended}).",
            "generation_generationjob",
            "Failed jobs",
            "?state__exact=failed",
        )
    if facts.quarantined:
        yield _listed(
            WARN,
            f"{_jobs(facts.quarantined)} crashed {'its' if facts.quarantined == 1 else 'their'} worker twice"
            " within a day, and will not be tried again.",
            "generation_generationjob",
            "Quarantined jobs",
            "?state__exact=quarantined",
        )


def _housekeeping(facts: Facts) -> Iterator[Notice]:
    late = facts.readings.value(operations.SCHEDULE_LAG)
    if late > HOUSEKEEPING_S:
        text = f"Housekeeping is {_time(late)} late: webhooks, mail, Stripe, deletion and counts stand still."
        yield Notice(tone=BAD, text=f"{text} Start it with: manage.py qcluster")
    for series, what in (
        (keeping.RETENTION_LAG, "Images that should be deleted are kept: the oldest has been due for"),
        (keeping.SEAL_LAG, "The audit log's hash chain is behind by"),
    ):
        late = facts.readings.value(series)
        if late > LATE_S:
            yield Notice(tone=WARN, text=f"{what} {_time(late)}.")


def _money(facts: Facts) -> Iterator[Notice]:
    total = facts.readings.value(measuring.LEDGER_SUM)
    if total:
        yield Notice(
            tone=BAD, text=f"The ledger sums to {total:.6f} USD, not to 0. Run: manage.py invariants"
        )
    for (check,), count in sorted(facts.readings.of(measuring.VIOLATIONS).items()):
        if count:
            text = f"An invariant is broken ({check}: {int(count)}). Run: manage.py invariants"
            yield Notice(tone=BAD, text=text)


def _stripe(facts: Facts) -> Iterator[Notice]:
    readings = facts.readings
    failed = int(readings.value(messages.EVENTS, "failed"))
    if failed:
        yield _listed(
            WARN,
            f"{failed} message{_s(failed)} of Stripe's could not be handled.",
            "payments_stripeevent",
            "Stripe's messages",
            "?state__exact=failed",
        )
    late = max(readings.of(messages.OUTBOX_LAG).values(), default=0.0)
    if late > STRIPE_S:
        yield Notice(tone=WARN, text=f"Stripe has not been told of something for {_time(late)}.")
    differs = readings.value(messages.RECONCILED)
    if differs:
        yield _listed(
            WARN,
            f"Our books and Stripe's differ by {differs:.2f} USD on the last day compared.",
            "payments_reconcilereport",
            "Reconciliation",
        )


def _told(facts: Facts) -> Iterator[Notice]:
    """Mails and webhooks."""
    readings = facts.readings
    waiting, dead = (int(readings.value(messages.MAILS, state)) for state in ("queued", "dead"))
    if waiting and not settings.SMTP_URL:
        yield _listed(
            WARN,
            f"{waiting} mail{_s(waiting)} wait{'' if waiting > 1 else 's'}: no mail server is set"
            " (DARKROOM_SMTP_URL).",
            "mails_mail",
            "Mails",
        )
    elif readings.value(messages.MAIL_LAG) > LATE_S:
        late = _time(readings.value(messages.MAIL_LAG))
        yield _listed(WARN, f"Mail has been due for {late}.", "mails_mail", "Mails")
    if dead:
        yield _listed(WARN, f"{dead} mail{_s(dead)} could not be delivered.", "mails_mail", "Mails")
    failed = int(readings.value(messages.WEBHOOKS_FAILED))
    if failed:
        yield _listed(
            WARN,
            f"{failed} webhook{_s(failed)} could not be delivered within a day.",
            "webhooks_delivery",
            "Deliveries",
            "?state__exact=failed",
        )
    if readings.value(messages.WEBHOOK_LAG) > LATE_S:
        late = _time(readings.value(messages.WEBHOOK_LAG))
        yield _listed(WARN, f"Webhooks have been due for {late}.", "webhooks_delivery", "Deliveries")


def _models(facts: Facts) -> Iterator[Notice]:
    failed = int(facts.readings.value(operations.IMPORTS, "failed"))
    if failed:
        yield _listed(
            WARN, f"{failed} import{_s(failed)} failed within a day.", "catalog_modelimport", "Imports"
        )


def _disk(facts: Facts) -> Iterator[Notice]:
    seen = set()
    for (folder,), size in facts.readings.of(keeping.DISK_SIZE).items():
        free = facts.readings.value(keeping.DISK_FREE, folder)
        if size and free / size < DISK_LOW and (free, size) not in seen:
            # Two folders of one disk fill up together.
            seen.add((free, size))
            tone = BAD if free / size < DISK_FULL else WARN
            yield Notice(
                tone=tone,
                text=f"The disk of {folder} is nearly full: {_bytes(free)} of {_bytes(size)} are free.",
            )


def _ends(facts: Facts) -> Iterator[Notice]:
    for series, what in (
        (operations.LICENCE_END, "licence"),
        (operations.CERTIFICATE_END, "certificate of the proxy"),
    ):
        ends = facts.readings.find(series)
        if ends is None:
            continue
        left_s = ends - facts.now.timestamp()
        if left_s <= 0:
            yield Notice(tone=BAD, text=f"The {what} ended {_time(-left_s)} ago.")
        elif left_s < SOON.total_seconds():
            yield Notice(tone=WARN, text=f"The {what} ends in {_time(left_s)}.")
    if settings.TLS_CERTIFICATE and facts.readings.find(operations.CERTIFICATE_END) is None:
        text = f"The certificate {settings.TLS_CERTIFICATE} cannot be read: nobody would warn of its end."
        yield Notice(tone=WARN, text=text)


def _backup(facts: Facts) -> Iterator[Notice]:
    last = facts.readings.find(operations.BACKUP)
    if last is None:
        text = (
            f"No backup is on record. Let what makes them touch {settings.BACKUP_STAMP} after each success."
        )
        yield Notice(tone=NOTE, text=text)
        return
    age_s = facts.now.timestamp() - last
    if age_s > BACKUP_AGE.total_seconds():
        yield Notice(tone=WARN, text=f"The last backup succeeded {_time(age_s)} ago.")


RULES: Final[tuple[Callable[[Facts], Iterator[Notice]], ...]] = (
    _workers,
    _money,
    _housekeeping,
    _queue,
    _failures,
    _disk,
    _ends,
    _stripe,
    _told,
    _models,
    _backup,
)


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _jobs(count: int) -> str:
    return f"{count} job{_s(count)}"


def _time(seconds: float) -> str:
    """Roughly, in the largest unit of which there are at least two."""
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}s"
    count = int(seconds)
    return f"{count} second{_s(count)}"


def _bytes(count: float) -> str:
    return f"{count / 10**9:.1f} GB"
