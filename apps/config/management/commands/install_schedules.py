"""`manage.py install_schedules`: the recurring tasks of the housekeeping process, as rows of django-q2."""

from __future__ import annotations

from django.core.management.base import BaseCommand
from django_q.models import Schedule

# Task -> minutes between runs. Each is short and safe to run twice; the rows they look at are the truth.
SCHEDULES = {
    "apps.generation.tasks.reap": 1,
    "apps.generation.tasks.end_late_holds": 5,
    "apps.generation.tasks.give_back_devices": 5,
    "apps.generation.tasks.count_uses": 1,
    "apps.audit.tasks.seal_audit_events": 1,
    "apps.artifacts.tasks.purge_expired_artifacts": 5,
    "apps.artifacts.tasks.sweep_unreferenced_files": 60,
    "apps.retention.tasks.sweep": 1,
    "apps.generation.tasks.forget_old_keys": 60,
    "apps.generation.tasks.sweep_pictures": 10,
    "apps.plans.tasks.end_periods": 5,
    "apps.plans.tasks.refresh_licence": 60,
    "apps.quotas.tasks.announce_thresholds": 1,
    "apps.quotas.tasks.reconcile_months": 60,
    "apps.webhooks.tasks.deliver": 1,
    "apps.mails.tasks.send_due": 1,
    "apps.mails.tasks.prune": 60,
    "apps.accounts.tasks.erase_closed": 60,
    "apps.webhooks.tasks.forget_expired": 5,
    "apps.webhooks.tasks.prune": 60,
    "apps.payments.tasks.handle_events": 1,
    "apps.payments.tasks.send": 1,
    "apps.payments.tasks.end_closed": 1,
    "apps.payments.tasks.fill_wallets": 1,
    "apps.payments.tasks.meter_usage": 10,
    "apps.payments.tasks.reconcile": 60,
    "apps.payments.tasks.prune": 60,
    "apps.billing.tasks.expire_grants": 10,
    "apps.billing.tasks.follow_invoices": 60,
    "apps.metrics.tasks.roll_up_jobs": 1,
    "apps.metrics.tasks.measure": 5,
    "apps.metrics.tasks.check_invariants": 360,
    "apps.metrics.tasks.prune": 60,
    "apps.catalog.imports.tasks.reap": 1,
    "apps.catalog.imports.tasks.watch": 1,
    "apps.catalog.imports.tasks.sweep": 60,
}


class Command(BaseCommand):
    """Idempotent: existing schedules keep their times."""

    help = "Creates the housekeeping schedules that are missing."

    def handle(self, *args: str, **options: str) -> None:
        for task, minutes in SCHEDULES.items():
            Schedule.objects.update_or_create(
                name=task,
                defaults={"func": task, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1},
            )
