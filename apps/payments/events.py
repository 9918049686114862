"""What a genuine message from Stripe is about. Only its ids are used; what is true is fetched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.payments.errors import EventRefused
from apps.payments.seen import id_of

THIN = "v2.core.event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """The few fields of an event that are looked at."""

    event_id: str
    type: str
    is_live: bool
    object_kind: str
    object_id: str
    """Empty for a preview, which is not an object yet."""
    customer_id: str
    intent_id: str
    subscription_id: str


def peek(body: bytes) -> tuple[str, str]:
    """Id and type that a body claims, before it is believed; empty when it cannot be read."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(data, dict):
        return "", ""
    return _text(data.get("id"), 255), _text(data.get("type"), 100)


def _text(value: Any, most: int) -> str:
    """Any: JSON. NUL and half a character are none for PostgreSQL."""
    if not isinstance(value, str):
        return ""
    return value[:most].replace("\0", "").encode(errors="ignore").decode()


def read_message(body: bytes) -> Message:
    """Raises EventRefused for what no event of Stripe's looks like."""
    try:
        data = json.loads(body)
        return _read_thin(data) if data["object"] == THIN else _read_snapshot(data)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise EventRefused(reason="it does not look like an event of Stripe's.") from None


def _read_snapshot(data: Mapping[str, Any]) -> Message:
    about = data["data"]["object"]
    kind = str(about["object"])
    before = data["data"].get("previous_attributes") or {}
    object_id = str(about.get("id") or "")
    customer_id = object_id if kind == "customer" else id_of(about.get("customer") or before.get("customer"))
    return Message(
        event_id=_text(data["id"], 255),
        type=_text(data["type"], 100),
        is_live=bool(data["livemode"]),
        object_kind=_text(kind, 255),
        object_id=_text(object_id, 255),
        customer_id=_text(customer_id, 255),
        intent_id=_text(object_id if kind == "payment_intent" else id_of(about.get("payment_intent")), 255),
        subscription_id=_text(object_id if kind == "subscription" else id_of(about.get("subscription")), 255),
    )


def _read_thin(data: Mapping[str, Any]) -> Message:
    """An event that names its object and says nothing of it: Stripe's meters send these."""
    related = data.get("related_object") or {}
    return Message(
        event_id=_text(data["id"], 255),
        type=_text(data["type"], 100),
        is_live=bool(data["livemode"]),
        object_kind=_text(related.get("type"), 255),
        object_id=_text(related.get("id"), 255),
        customer_id="",
        intent_id="",
        subscription_id="",
    )
