"""Billing meters: usage reported by events, summed a while later, billed at the end of a period."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.fake_stripe.clock import DAY_S, HOUR_S
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, as_list, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

DEDUPE_S = DAY_S
OLDEST_S = 35 * DAY_S
FUTURE_S = 300


def create_meter(fake: Fake, params: Params) -> Obj:
    name = params.need("event_name")
    if any(
        row["event_name"] == name and row["status"] == "active" for row in fake.store.every("billing.meter")
    ):
        raise invalid(f"An active meter with event_name {name} already exists.", param="event_name")
    aggregation, mapping = params.node("default_aggregation"), params.node("customer_mapping")
    now = fake.clock.now()
    meter = {
        "id": fake.store.new_id("mtr"),
        "object": "billing.meter",
        "created": now,
        "customer_mapping": {
            "event_payload_key": mapping.text("event_payload_key") or "stripe_customer_id",
            "type": "by_id",
        },
        "default_aggregation": {
            "formula": aggregation.choice("formula", {"sum", "count", "last"}, aggregation.need("formula"))
        },
        "display_name": params.need("display_name"),
        "event_name": name,
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": now,
        "value_settings": {
            "event_payload_key": params.node("value_settings").text("event_payload_key") or "value"
        },
    }
    fake.store.add(meter)
    emit(fake, "billing.meter.created", meter)
    return meter


def retrieve_meter(fake: Fake, params: Params, meter_id: str) -> Obj:
    return fake.store.get("billing.meter", meter_id)


def list_meters(fake: Fake, params: Params) -> Obj:
    status = params.text("status")
    return page(
        fake.store.every("billing.meter"),
        params,
        url="/v1/billing/meters",
        keep=lambda row: status is None or row["status"] == status,
    )


def deactivate(fake: Fake, params: Params, meter_id: str) -> Obj:
    meter = fake.store.get("billing.meter", meter_id)
    with changing(fake, meter, "billing.meter.deactivated"):
        meter.update(status="inactive", status_transitions={"deactivated_at": fake.clock.now()})
    return meter


def reactivate(fake: Fake, params: Params, meter_id: str) -> Obj:
    meter = fake.store.get("billing.meter", meter_id)
    with changing(fake, meter, "billing.meter.reactivated"):
        meter.update(status="active", status_transitions={"deactivated_at": None})
    return meter


def create_event(fake: Fake, params: Params) -> Obj:
    """Accepted at once; sums show it after the lag. An identifier seen within a day is refused."""
    now, payload = fake.clock.now(), params.table("payload")
    at = params.whole("timestamp", now) or now
    meter = _meter_for(fake, params.need("event_name"))
    if not now - OLDEST_S <= at <= now + FUTURE_S:
        raise invalid(
            "The timestamp must be within the past 35 calendar days or up to 5 minutes in the future.",
            param="timestamp",
        )
    for name in (
        meter["customer_mapping"]["event_payload_key"],
        meter["value_settings"]["event_payload_key"],
    ):
        if name not in payload:
            raise invalid(f"The event payload misses {name}.", param=f"payload[{name}]")
    value = payload[meter["value_settings"]["event_payload_key"]]
    if not re.fullmatch(r"-?\d+(\.\d{1,12})?", value):
        raise invalid(f"The event payload's value is not a number: {value}", param="payload")
    identifier = params.text("identifier") or fake.store.new_id("mevt")
    if any(
        row["identifier"] == identifier and now - row["created"] < DEDUPE_S
        for row in fake.store.every("billing.meter_event")
    ):
        raise invalid(f"An event already exists with identifier {identifier}.", param="identifier")
    event = {
        "object": "billing.meter_event",
        "created": now,
        "event_name": meter["event_name"],
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": at,
    }
    # Stripe's has no id; the store needs one.
    fake.store.add(event | {"id": fake.store.new_id("meterevent")})
    return event


def _meter_for(fake: Fake, name: str) -> Obj:
    for meter in fake.store.every("billing.meter"):
        if meter["event_name"] == name and meter["status"] == "active":
            return meter
    raise invalid(f"No active meter found for event name {name}.", param="event_name")


def usage(
    fake: Fake, meter: Obj, customer: str, *, since: int, until: int, is_billing: bool = False
) -> Decimal:
    """Aggregated value of the events in [since, until). Invoices wait for the lag, summaries do not."""
    key, name = meter["customer_mapping"]["event_payload_key"], meter["value_settings"]["event_payload_key"]
    seen_until = fake.clock.now() - (0 if is_billing else fake.settings.meter_lag_s)
    values = [
        Decimal(row["payload"][name])
        for row in fake.store.every("billing.meter_event")
        if row["event_name"] == meter["event_name"]
        and row["payload"][key] == customer
        and since <= row["timestamp"] < until
        and row["created"] <= seen_until
    ]
    match meter["default_aggregation"]["formula"]:
        case "count":
            return Decimal(len(values))
        case "last":
            return values[-1] if values else Decimal(0)
    return sum(values, Decimal(0))


def summaries(fake: Fake, params: Params, meter_id: str) -> Obj:
    meter = fake.store.get("billing.meter", meter_id)
    start, end = params.whole("start_time"), params.whole("end_time")
    customer = params.need("customer")
    if start is None or end is None or start % 60 or end % 60 or start >= end:
        raise invalid("start_time and end_time must be aligned with minute boundaries.", param="start_time")
    step = {None: end - start, "hour": HOUR_S, "day": DAY_S}.get(params.text("value_grouping_window"))
    if step is None or (step != end - start and (start % step or end % step)):
        raise invalid("The times must be aligned with the grouping window.", param="value_grouping_window")
    rows = []
    for at in range(start, end, step):
        value = usage(fake, meter, customer, since=at, until=at + step)
        if value:
            rows.append(_summary(meter, at, at + step, value))
    return as_list(rows[::-1], url=f"/v1/billing/meters/{meter_id}/event_summaries")


def _summary(meter: Obj, start: int, end: int, value: Decimal) -> Obj:
    return {
        "id": f"mtrusg_{meter['id']}_{start}_{end}",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(value),
        "end_time": end,
        "livemode": False,
        "meter": meter["id"],
        "start_time": start,
    }


ROUTES = [
    Route(
        "POST",
        "/v1/billing/meters",
        create_meter,
        "billing.MeterCreateParams",
        "display_name event_name default_aggregation.formula customer_mapping.type"
        " customer_mapping.event_payload_key value_settings.event_payload_key",
    ),
    Route(
        "GET",
        "/v1/billing/meters",
        list_meters,
        "billing.MeterListParams",
        "status limit starting_after ending_before",
    ),
    Route("GET", "/v1/billing/meters/{id}", retrieve_meter, "billing.MeterRetrieveParams"),
    Route("POST", "/v1/billing/meters/{id}/deactivate", deactivate, "billing.MeterDeactivateParams"),
    Route("POST", "/v1/billing/meters/{id}/reactivate", reactivate, "billing.MeterReactivateParams"),
    Route(
        "POST",
        "/v1/billing/meter_events",
        create_event,
        "billing.MeterEventCreateParams",
        "event_name identifier payload.* timestamp",
    ),
    Route(
        "GET",
        "/v1/billing/meters/{id}/event_summaries",
        summaries,
        "billing.MeterListEventSummariesParams",
        "customer start_time end_time value_grouping_window limit starting_after ending_before",
    ),
]
