"""A post office in real time with real commits, and a receiver that it may reach."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction

from apps.accounts.models import Account
from apps.core import clock
from apps.webhooks.deliverer import run_deliverer
from apps.webhooks.models import Attempt, Delivery
from apps.webhooks.services import queue_delivery
from apps.webhooks.wishes import WebhookWish
from tests.cast import assemble_cast
from tests.harness.receiver import Receiver

LIFETIME = timedelta(hours=1)


@pytest.fixture
def receiver(settings: Any) -> Iterator[Receiver]:
    """Reachable by plain http, as an operator would allow it."""
    with Receiver() as receiver:
        settings.FETCH_ALLOW = [receiver.allowed]
        settings.WEBHOOK_HTTPS = False
        yield receiver


@dataclass(frozen=True, slots=True)
class PostOffice:
    """Ada's and Cleo's accounts, and what is sent for them."""

    account: Account
    strangers_account: Account
    receiver: Receiver

    def queue(self, path: str = "/hook", *, by_stranger: bool = False, **options: Any) -> Delivery:
        """A message that needs no job."""
        account = self.strangers_account if by_stranger else self.account
        fields: dict[str, Any] = {
            "account_id": account.pk,
            "job_id": None,
            "event": "webhook.test",
            "target": WebhookWish(url=self.receiver.url(path), dialect="test").target,
            "expires_at": clock.now() + LIFETIME,
            "now": clock.now(),
        }
        with transaction.atomic():
            return queue_delivery(**(fields | options))

    def deliver(self, **options: Any) -> int:
        """One turn of a deliverer that leaves when nothing is due at once."""
        return run_deliverer(linger_s=0.0, **options)


@pytest.fixture
def office(transactional_db: None, receiver: Receiver, settings: Any) -> Iterator[PostOffice]:
    """Failed attempts are repeated within the test: every delay is a few hundredths of a second."""
    settings.WEBHOOK_RETRY_S = (0.02,) * 6
    settings.WEBHOOK_TIMEOUT_S = 5.0
    cast = assemble_cast(now=clock.now())
    yield PostOffice(cast.account, cast.strangers_account, receiver)
    connection.close()


def reread(delivery: Delivery) -> Delivery:
    return Delivery.objects.get(pk=delivery.pk)


def statuses(delivery: Delivery) -> list[int | None]:
    """Of its attempts, in order."""
    return list(Attempt.objects.filter(delivery=delivery).values_list("status", flat=True))
