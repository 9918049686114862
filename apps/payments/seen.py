"""Objects of Stripe's as we read them: plain values, checked where they come in. Knows nothing of our rows.

Money is in micro-USD, times are aware. Amounts in another currency raise UnexpectedAnswer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from apps.billing.money import from_cents
from apps.payments.stripe_api import Json

CURRENCY: Final = "usd"


class UnexpectedAnswer(Exception):
    """Stripe sent something that this installation does not deal in."""


def moment(value: Any) -> datetime:
    """A Unix time as a moment (Any: JSON)."""
    return datetime.fromtimestamp(int(value), tz=UTC)


def optional_moment(value: Any) -> datetime | None:
    return None if value is None else moment(value)


def id_of(value: Any) -> str:
    """The id of a field that is either an id or the expanded object; "" for none."""
    if value is None:
        return ""
    return str(value["id"]) if isinstance(value, Mapping) else str(value)


def money(value: Any, currency: str = CURRENCY) -> int:
    """Cents of a field as micro-USD; null is 0."""
    if currency.lower() != CURRENCY:
        raise UnexpectedAnswer(f"an amount in {currency}: this installation sells in {CURRENCY}")
    return from_cents(int(value or 0))


def texts(value: Any) -> dict[str, str]:
    """Metadata; null is none."""
    return {str(name): str(text) for name, text in (value or {}).items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerSeen:
    id: str
    is_deleted: bool
    default_card_id: str
    metadata: Mapping[str, str]


def read_customer(data: Json) -> CustomerSeen:
    settings = data.get("invoice_settings") or {}
    return CustomerSeen(
        id=data["id"],
        is_deleted=bool(data.get("deleted")),
        default_card_id=id_of(settings.get("default_payment_method")),
        metadata=texts(data.get("metadata")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CardSeen:
    id: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int


def read_card(data: Json) -> CardSeen:
    card = data["card"]
    return CardSeen(
        id=data["id"],
        brand=str(card.get("brand") or "card"),
        last4=str(card["last4"]),
        exp_month=int(card["exp_month"]),
        exp_year=int(card["exp_year"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionSeen:
    id: str
    customer_id: str
    status: str
    """Stripe's: incomplete, incomplete_expired, trialing, active, past_due, unpaid, canceled, paused."""
    is_collection_paused: bool
    item_id: str
    price_id: str
    amount_micro: int
    """Of the price, for a month."""
    period_start: datetime
    period_end: datetime
    trial_end: datetime | None
    cancel_at: datetime | None
    """When it ends by itself; the end of the period if it was canceled for then."""
    discount_ids: tuple[str, ...]
    """What makes it cheaper now."""
    schedule_id: str
    next_price_id: str
    """Of the schedule's coming phase; "" for none or the same."""
    owed_since: datetime | None
    """Since when its last invoice has been open; None when that is paid."""
    ended_at: datetime | None
    metadata: Mapping[str, str]
    created: datetime


def read_subscription(data: Json) -> SubscriptionSeen:
    """Of a subscription with `schedule` and `latest_invoice` expanded."""
    [item] = data["items"]["data"]
    period_end = moment(item["current_period_end"])
    cancel_at = optional_moment(data.get("cancel_at"))
    return SubscriptionSeen(
        id=data["id"],
        customer_id=id_of(data["customer"]),
        status=data["status"],
        is_collection_paused=data.get("pause_collection") is not None,
        item_id=item["id"],
        price_id=item["price"]["id"],
        amount_micro=money(item["price"].get("unit_amount"), data.get("currency") or CURRENCY),
        period_start=moment(item["current_period_start"]),
        period_end=period_end,
        trial_end=optional_moment(data.get("trial_end")),
        cancel_at=cancel_at or (period_end if data.get("cancel_at_period_end") else None),
        discount_ids=tuple(id_of(each) for each in data.get("discounts") or []),
        schedule_id=id_of(data.get("schedule")),
        next_price_id=_next_price(data.get("schedule"), item["price"]["id"]),
        owed_since=_owed_since(data.get("latest_invoice")),
        ended_at=optional_moment(data.get("ended_at")),
        metadata=texts(data.get("metadata")),
        created=moment(data["created"]),
    )


def _owed_since(invoice: Any) -> datetime | None:
    if not isinstance(invoice, Mapping) or invoice["status"] not in ("open", "uncollectible"):
        return None
    return moment(invoice["created"])


def _next_price(schedule: Any, present: str) -> str:
    """Price of the phase after the present one; a schedule that has ended or is not expanded has none."""
    if not isinstance(schedule, Mapping) or schedule["status"] not in ("active", "not_started"):
        return ""
    current = schedule.get("current_phase")
    start = current["end_date"] if current else 0
    later = [phase for phase in schedule["phases"] if phase["start_date"] >= start]
    price = id_of(later[0]["items"][0]["price"]) if later else ""
    return "" if price == present else price


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentSeen:
    id: str
    status: str
    customer_id: str
    received_micro: int
    charge_id: str
    metadata: Mapping[str, str]
    created: datetime
    error: str
    """Why the last attempt failed, for people; "" if it did not."""


def read_intent(data: Json) -> IntentSeen:
    failure = data.get("last_payment_error") or {}
    return IntentSeen(
        id=data["id"],
        status=data["status"],
        customer_id=id_of(data.get("customer")),
        received_micro=money(data.get("amount_received"), data["currency"]),
        charge_id=id_of(data.get("latest_charge")),
        metadata=texts(data.get("metadata")),
        created=moment(data["created"]),
        error=str(failure.get("message") or ""),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSeen:
    id: str
    url: str
    status: str
    """open, complete or expired."""
    payment_status: str
    """paid, unpaid or no_payment_required."""
    customer_id: str
    subtotal_micro: int
    tax_micro: int
    total_micro: int
    intent_id: str
    subscription_id: str
    setup_id: str
    metadata: Mapping[str, str]


def read_session(data: Json) -> SessionSeen:
    details = data.get("total_details") or {}
    currency = data.get("currency") or CURRENCY
    return SessionSeen(
        id=data["id"],
        url=str(data.get("url") or ""),
        status=str(data.get("status") or ""),
        payment_status=str(data.get("payment_status") or ""),
        customer_id=id_of(data.get("customer")),
        subtotal_micro=money(data.get("amount_subtotal"), currency),
        tax_micro=money(details.get("amount_tax"), currency),
        total_micro=money(data.get("amount_total"), currency),
        intent_id=id_of(data.get("payment_intent")),
        subscription_id=id_of(data.get("subscription")),
        setup_id=id_of(data.get("setup_intent")),
        metadata=texts(data.get("metadata")),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundSeen:
    id: str
    status: str
    """pending, requires_action, succeeded, failed or canceled."""
    amount_micro: int
    intent_id: str
    metadata: Mapping[str, str]
    created: datetime


def read_refund(data: Json) -> RefundSeen:
    return RefundSeen(
        id=data["id"],
        status=str(data.get("status") or "pending"),
        amount_micro=money(data["amount"], data["currency"]),
        intent_id=id_of(data.get("payment_intent")),
        metadata=texts(data.get("metadata")),
        created=moment(data["created"]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeMove:
    """What a dispute did to our balance at Stripe: one when the bank took money, one if it gave it back."""

    id: str
    fee_micro: int
    """Above zero: taken from us; below: given back."""
    net_micro: int
    """What our balance there changed by, the fee included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisputeSeen:
    id: str
    status: str
    """warning_*, needs_response, under_review, won, lost or prevented."""
    reason: str
    amount_micro: int
    intent_id: str
    moves: tuple[DisputeMove, ...]
    created: datetime


def read_dispute(data: Json) -> DisputeSeen:
    return DisputeSeen(
        id=data["id"],
        status=data["status"],
        reason=str(data.get("reason") or ""),
        amount_micro=money(data["amount"], data["currency"]),
        intent_id=id_of(data.get("payment_intent")),
        moves=tuple(_read_move(each) for each in data.get("balance_transactions") or []),
        created=moment(data["created"]),
    )


def _read_move(data: Json) -> DisputeMove:
    return DisputeMove(
        id=data["id"],
        fee_micro=money(data["fee"], data["currency"]),
        net_micro=money(data["net"], data["currency"]),
    )
