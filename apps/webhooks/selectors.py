"""Reads of deliveries and endpoints that the API and the console need."""

from __future__ import annotations

from django.db.models import Q, QuerySet

from apps.accounts.models import Account
from apps.core.errors import NotFound
from apps.webhooks.models import Delivery, Endpoint


def access_delivery(*, account: Account, event_id: str) -> Delivery:
    """The account's delivery with this `webhook-id`. Raises NotFound, also for another account's."""
    # PostgreSQL holds no NUL, and need not be asked about one.
    found = None
    if event_id.isascii() and event_id.isprintable():
        found = Delivery.objects.filter(account=account, event_id=event_id).first()
    if found is None:
        raise NotFound(what="Delivery", id=event_id[:64])
    return found


def list_deliveries(*, account: Account) -> QuerySet[Delivery]:
    """Newest first, without their bodies."""
    return Delivery.objects.filter(account=account).defer("body").order_by("-id")


def list_troubled_endpoints(*, account: Account) -> QuerySet[Endpoint]:
    """Endpoints that fail at present, are paused or disabled."""
    troubled = Q(failures__gt=0) | Q(disabled_at__isnull=False)
    return Endpoint.objects.filter(troubled, account=account).order_by("-updated_at", "address")
