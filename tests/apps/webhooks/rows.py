"""Deliveries for tests that send nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction

from apps.accounts.models import Account
from apps.core import clock
from apps.webhooks.models import Delivery
from apps.webhooks.services import queue_delivery
from apps.webhooks.wishes import WebhookWish


def queue_row(account: Account, *, url: str = "https://example.com/hook", **fields: Any) -> Delivery:
    """Queued now; its body expires in an hour."""
    values: dict[str, Any] = {
        "account_id": account.pk,
        "job_id": None,
        "event": "webhook.test",
        "target": WebhookWish(url=url, dialect="test").target,
        "expires_at": clock.now() + timedelta(hours=1),
        "now": clock.now(),
    }
    with transaction.atomic():
        return queue_delivery(**(values | fields))
