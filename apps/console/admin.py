"""django-q2's own rows in the console: what failed and what recurs, to look at."""

from __future__ import annotations

from django.contrib import admin
from django_q.models import Failure, OrmQ, Schedule, Success

from apps.audit.admin_bases import ReadOnlyAdmin

# Django looks for pages in modules named admin alone.
from apps.console import catalog_admin, imports_admin, subscriptions_admin  # noqa: F401

# django-q2 registers pages that change and delete rows past the audit log.
for model in (Failure, OrmQ, Schedule, Success):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(Failure)
class FailureAdmin(ReadOnlyAdmin[Failure]):
    list_display = ["name", "func", "started", "stopped", "result"]
    ordering = ["-started"]


@admin.register(Schedule)
class ScheduleAdmin(ReadOnlyAdmin[Schedule]):
    list_display = ["name", "schedule_type", "minutes", "next_run"]
