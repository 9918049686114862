"""Subscription schedules: phases that follow each other, such as a cheaper plan from the next period on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from tests.fake_stripe.clock import Due, next_boundary
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page
from tests.fake_stripe.subscription_objects import items_of, period_of, quantity_for, read_price, set_price
from tests.fake_stripe.subscription_states import UPDATED, end
from tests.fake_stripe.subscriptions import live_subscription

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

LIVE_STATES = {"active", "not_started"}


def create(fake: Fake, params: Params) -> Obj:
    """From a subscription: its present period is the first phase."""
    subscription = live_subscription(fake, params.need("from_subscription"))
    if subscription["schedule"]:
        raise invalid("You cannot migrate a subscription that is already attached to a schedule.")
    if subscription["cancel_at_period_end"]:
        raise invalid("You cannot migrate a subscription that is canceled at the end of its period.")
    start, over = period_of(subscription)
    object_id = fake.store.new_id("sub_sched")
    schedule = {
        "id": object_id,
        "object": "subscription_schedule",
        "application": None,
        "billing_mode": subscription["billing_mode"],
        "canceled_at": None,
        "completed_at": None,
        "created": fake.clock.now(),
        "current_phase": {"start_date": start, "end_date": over},
        "customer": subscription["customer"],
        "default_settings": {
            "billing_cycle_anchor": "automatic",
            "collection_method": "charge_automatically",
        },
        "end_behavior": "release",
        "livemode": False,
        "metadata": merge_metadata({}, params),
        "phases": [
            _phase(
                [(item["price"], item.get("quantity")) for item in items_of(subscription)],
                start=start,
                over=over,
                proration="create_prorations",
            )
        ],
        "released_at": None,
        "released_subscription": None,
        "status": "active",
        "subscription": subscription["id"],
        "test_clock": None,
    }
    fake.store.add(schedule)
    with changing(fake, subscription, UPDATED):
        subscription["schedule"] = object_id
    emit(fake, "subscription_schedule.created", schedule)
    return schedule


def _phase(items: list[tuple[Obj, int | None]], *, start: int, over: int, proration: str) -> dict[str, Any]:
    return {
        "add_invoice_items": [],
        "application_fee_percent": None,
        "billing_cycle_anchor": None,
        "collection_method": None,
        "currency": "usd",
        "default_payment_method": None,
        "default_tax_rates": [],
        "description": None,
        "discounts": [],
        "end_date": over,
        "items": [
            {
                "billing_thresholds": None,
                "discounts": [],
                "metadata": {},
                "plan": price["id"],
                "price": price["id"],
                "quantity": quantity,
                "tax_rates": [],
            }
            for price, quantity in items
        ],
        "metadata": {},
        "on_behalf_of": None,
        "proration_behavior": proration,
        "start_date": start,
        "transfer_data": None,
        "trial_end": None,
    }


def _read_phase(fake: Fake, row: Params, *, starts: int, proration: str) -> dict[str, Any]:
    items = [(price := read_price(fake, item), quantity_for(price, item)) for item in row.rows("items")]
    if not items:
        raise invalid(f"Missing required param: {row.path_of('items')}.", param=row.path_of("items"))
    start = row.whole("start_date", starts)
    over, length = row.whole("end_date"), row.node("duration")
    if start is None or (over is None) == (not length):
        raise invalid("Each phase needs one of `end_date` and `duration`.", param=row.path_of("end_date"))
    if over is None:
        over = next_boundary(
            start, start, interval=length.need("interval"), count=length.whole("interval_count", 1) or 1
        )
    if over <= start:
        raise invalid("The end date of a phase must be after its start.", param=row.path_of("end_date"))
    phase = _phase(items, start=start, over=over, proration=row.text("proration_behavior") or proration)
    given = [fake.store.get("discount", each.need("discount")) for each in row.rows("discounts")]
    phase["discounts"] = [{"coupon": None, "discount": each["id"], "promotion_code": None} for each in given]
    return phase


def _set_discounts(fake: Fake, schedule: Obj, phase: dict[str, Any]) -> None:
    """Those of the phase and no others."""
    subscription = fake.store.get("subscription", schedule["subscription"])
    with changing(fake, subscription, UPDATED):
        subscription["discounts"] = [each["discount"] for each in phase["discounts"]]


def update(fake: Fake, params: Params, schedule_id: str) -> Obj:
    """Replaces the phases: the first given must be the one that runs."""
    schedule = fake.store.get("subscription_schedule", schedule_id)
    _require_live(schedule)
    proration = params.text("proration_behavior") or "create_prorations"
    phases: list[dict[str, Any]] = []
    for row in params.rows("phases"):
        starts = phases[-1]["end_date"] if phases else schedule["current_phase"]["start_date"]
        phases.append(_read_phase(fake, row, starts=starts, proration=proration))
    for before, after in pairwise(phases):
        if before["end_date"] != after["start_date"]:
            raise invalid("Phases must follow each other without a gap.", param="phases")
    if phases and phases[0]["start_date"] != schedule["current_phase"]["start_date"]:
        raise invalid(
            "You can not modify the start date of the current phase.", param="phases[0][start_date]"
        )
    with changing(fake, schedule, "subscription_schedule.updated"):
        if phases:
            schedule["phases"] = phases
            schedule["current_phase"] = {name: phases[0][name] for name in ("start_date", "end_date")}
            _set_discounts(fake, schedule, phases[0])
        if "end_behavior" in params:
            schedule["end_behavior"] = params.choice("end_behavior", {"release", "cancel"}, "release")
        schedule["metadata"] = merge_metadata(schedule["metadata"], params)
    return schedule


def _require_live(schedule: Obj) -> None:
    if schedule["status"] not in LIVE_STATES:
        raise invalid(f"The schedule is {schedule['status']}: it cannot be changed.")


def _let_go(fake: Fake, schedule: Obj, *, status: str, event: str) -> Obj:
    subscription = fake.store.get("subscription", schedule["subscription"])
    now = fake.clock.now()
    schedule.update(status=status, current_phase=None)
    if status == "released":
        schedule.update(released_at=now, released_subscription=subscription["id"], subscription=None)
    else:
        schedule["canceled_at"] = now
    with changing(fake, subscription, UPDATED):
        subscription["schedule"] = None
    emit(fake, event, schedule)
    return schedule


def release(fake: Fake, params: Params, schedule_id: str) -> Obj:
    schedule = fake.store.get("subscription_schedule", schedule_id)
    _require_live(schedule)
    return _let_go(fake, schedule, status="released", event="subscription_schedule.released")


def cancel(fake: Fake, params: Params, schedule_id: str) -> Obj:
    """The subscription ends with it."""
    schedule = fake.store.get("subscription_schedule", schedule_id)
    _require_live(schedule)
    subscription = fake.store.get("subscription", schedule["subscription"])
    _let_go(fake, schedule, status="canceled", event="subscription_schedule.canceled")
    end(fake, subscription, reason="cancellation_requested")
    return schedule


def retrieve(fake: Fake, params: Params, schedule_id: str) -> Obj:
    return fake.store.get("subscription_schedule", schedule_id)


def list_schedules(fake: Fake, params: Params) -> Obj:
    customer = params.text("customer")
    return page(
        fake.store.every("subscription_schedule"),
        params,
        url="/v1/subscription_schedules",
        keep=lambda row: customer is None or row["customer"] == customer,
    )


def _next_phase(fake: Fake, schedule: Obj) -> None:
    """A phase is over: the next one's prices, or the schedule's end. No proration at the edge of a period."""
    over = schedule["current_phase"]["end_date"]
    phase = next((row for row in schedule["phases"] if row["start_date"] == over), None)
    subscription = fake.store.get("subscription", schedule["subscription"])
    if phase is None:
        if schedule["end_behavior"] == "cancel":
            _let_go(fake, schedule, status="completed", event="subscription_schedule.completed")
            end(fake, subscription, reason="cancellation_requested")
        else:
            _let_go(fake, schedule, status="released", event="subscription_schedule.released")
        return
    with changing(fake, schedule, "subscription_schedule.updated"):
        schedule["current_phase"] = {name: phase[name] for name in ("start_date", "end_date")}
    _set_discounts(fake, schedule, phase)
    with changing(fake, subscription, UPDATED):
        for item, wanted in zip(items_of(subscription), phase["items"], strict=False):
            set_price(item, fake.store.get("price", wanted["price"]))
            if wanted["quantity"] is not None:
                item["quantity"] = wanted["quantity"]


def dues(fake: Fake) -> Iterator[Due]:
    for schedule in fake.store.every("subscription_schedule"):
        if schedule["status"] in LIVE_STATES and schedule["current_phase"]:
            at = schedule["current_phase"]["end_date"]
            yield Due(at=at, order=1, run=lambda schedule=schedule: _next_phase(fake, schedule))


PHASE = (
    "phases.items.price phases.items.quantity phases.start_date phases.end_date phases.duration.interval"
    " phases.duration.interval_count phases.proration_behavior phases.discounts.discount"
)
ROUTES = [
    Route(
        "POST",
        "/v1/subscription_schedules",
        create,
        "SubscriptionScheduleCreateParams",
        "from_subscription metadata.*",
    ),
    Route(
        "GET",
        "/v1/subscription_schedules",
        list_schedules,
        "SubscriptionScheduleListParams",
        "customer created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/subscription_schedules/{id}", retrieve, "SubscriptionScheduleRetrieveParams"),
    Route(
        "POST",
        "/v1/subscription_schedules/{id}",
        update,
        "SubscriptionScheduleModifyParams",
        f"{PHASE} end_behavior proration_behavior metadata metadata.*",
    ),
    Route("POST", "/v1/subscription_schedules/{id}/release", release, "SubscriptionScheduleReleaseParams"),
    Route("POST", "/v1/subscription_schedules/{id}/cancel", cancel, "SubscriptionScheduleCancelParams"),
]
