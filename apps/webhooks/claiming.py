"""Which due deliveries go next, so that no endpoint and no account can take all places.

Called by the holder of the turn alone, so that what it counts does not change under it. What others hold,
because they ended their turn and wait for their last answers, is counted from the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from apps.webhooks.choices import DeliveryState
from apps.webhooks.circuit import places_of
from apps.webhooks.models import Delivery

# Oldest due rows that one look considers; those of endpoints without a free place are not among them.
LOOK_AT: Final = 200
# Deliveries of a paused endpoint become due spread over this time after the pause.
SPREAD_S: Final = 5.0

EndpointKey = tuple[int, str]
"""Account and address."""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that could be sent, with its endpoint's health."""

    delivery_id: int
    account_id: int
    address: str
    failures: int

    @property
    def endpoint(self) -> EndpointKey:
        return (self.account_id, self.address)


@dataclass(slots=True)
class Places:
    """How many attempts are under way, and how many more may be."""

    total: int
    per_account: int
    per_endpoint: int
    endpoints: Counter[EndpointKey] = field(default_factory=Counter)
    accounts: Counter[int] = field(default_factory=Counter)

    @property
    def free(self) -> int:
        return self.total - self.accounts.total()

    def take(self, due: Due) -> bool:
        """Whether there was a place for it, which is then taken."""
        limit = places_of(failures=due.failures, places=self.per_endpoint)
        if (
            self.free <= 0
            or self.endpoints[due.endpoint] >= limit
            or self.accounts[due.account_id] >= self.per_account
        ):
            return False
        self.endpoints[due.endpoint] += 1
        self.accounts[due.account_id] += 1
        return True

    def is_account_full(self, account_id: int) -> bool:
        return self.accounts[account_id] >= self.per_account


def count_places() -> Places:
    """From the settings and the rows that are under way."""
    total = settings.WEBHOOK_PLACES
    places = Places(
        total=total,
        # Half for any one account: the other half is for everybody else.
        per_account=max(1, total // 2),
        per_endpoint=settings.WEBHOOK_PER_ENDPOINT,
    )
    under_way = Delivery.objects.filter(state=DeliveryState.SENDING).values_list("account_id", "address")
    for account_id, address in under_way:
        places.endpoints[account_id, address] += 1
        places.accounts[account_id] += 1
    return places


def claim_due(*, deliverer: str, now: datetime) -> list[Delivery]:
    """Take what is due and has a place, oldest first."""
    with transaction.atomic():
        _settle_closed(now)
        places = count_places()
        chosen: list[int] = []
        blocked: set[EndpointKey] = set()
        while places.free > 0:
            rows = _due(now, blocked=blocked, full=_full(places), taken=chosen)
            chosen += [due.delivery_id for due in rows if places.take(due)]
            refused = {due.endpoint for due in rows if not _has_place(due, places)}
            if len(rows) < LOOK_AT or refused <= blocked:
                break
            blocked |= refused
        return _mark(chosen, deliverer=deliverer)


def _full(places: Places) -> list[int]:
    return [account_id for account_id in places.accounts if places.is_account_full(account_id)]


def _has_place(due: Due, places: Places) -> bool:
    limit = places_of(failures=due.failures, places=places.per_endpoint)
    return places.endpoints[due.endpoint] < limit and not places.is_account_full(due.account_id)


def _settle_closed(now: datetime) -> None:
    """Put off what is due at paused endpoints, and give up what is due at disabled ones.

    Both leave the index of what is due, so that thousands of them cost nothing at the next look.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE webhooks_delivery AS delivery
               SET due_at = endpoint.paused_until + random() * %s * interval '1 second'
              FROM webhooks_endpoint AS endpoint
             WHERE delivery.state = 'waiting' AND delivery.due_at <= %s AND NOT delivery.is_forced
               AND endpoint.account_id = delivery.account_id AND endpoint.address = delivery.address
               AND endpoint.paused_until > %s AND endpoint.disabled_at IS NULL
            """,
            [SPREAD_S, now, now],
        )
        cursor.execute(
            """
            UPDATE webhooks_delivery AS delivery
               SET state = 'failed', ended_at = %s, last_error = 'The endpoint is disabled: it answered 410.'
              FROM webhooks_endpoint AS endpoint
             WHERE delivery.state = 'waiting' AND delivery.due_at <= %s AND NOT delivery.is_forced
               AND endpoint.account_id = delivery.account_id AND endpoint.address = delivery.address
               AND endpoint.disabled_at IS NOT NULL
            """,
            [now, now],
        )


def _due(now: datetime, *, blocked: Iterable[EndpointKey], full: list[int], taken: list[int]) -> list[Due]:
    """The oldest due rows but for those that are known to have no place."""
    keys = list(blocked)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT delivery.id, delivery.account_id, delivery.address, COALESCE(endpoint.failures, 0)
              FROM webhooks_delivery AS delivery
              LEFT JOIN webhooks_endpoint AS endpoint
                ON endpoint.account_id = delivery.account_id AND endpoint.address = delivery.address
             WHERE delivery.state = 'waiting' AND delivery.due_at <= %s
               AND delivery.account_id <> ALL(%s::bigint[]) AND delivery.id <> ALL(%s::bigint[])
               AND NOT EXISTS (SELECT 1 FROM unnest(%s::bigint[], %s::text[]) AS blocked(account_id, address)
                                WHERE blocked.account_id = delivery.account_id
                                  AND blocked.address = delivery.address)
             ORDER BY delivery.due_at, delivery.id LIMIT %s
            """,
            [now, full, taken, [key[0] for key in keys], [key[1] for key in keys], LOOK_AT],
        )
        return [Due(*row) for row in cursor.fetchall()]


def _mark(ids: list[int], *, deliverer: str) -> list[Delivery]:
    """Part: these are under way now."""
    if not ids:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE webhooks_delivery SET state = 'sending', claimed_by = %s, fence = fence + 1
             WHERE id = ANY(%s) AND state = 'waiting'
            """,
            [deliverer, ids],
        )
    by_id: Mapping[int, Delivery] = Delivery.objects.filter(claimed_by=deliverer).in_bulk(ids)
    return [by_id[pk] for pk in ids if pk in by_id]


def release(*, deliverer: str) -> int:
    """Make what a dead deliverer had under way due again; how many. Its attempts do not count."""
    return Delivery.objects.filter(state=DeliveryState.SENDING, claimed_by=deliverer).update(
        state=DeliveryState.WAITING, claimed_by=""
    )


def list_deliverers() -> list[str]:
    """Everybody who has something under way."""
    under_way = Delivery.objects.filter(state=DeliveryState.SENDING)
    return list(under_way.order_by().values_list("claimed_by", flat=True).distinct())
