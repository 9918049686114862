"""Refunds: never more than was paid, all of them together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe.charges import balance_transaction
from tests.fake_stripe.disputes import charge_of
from tests.fake_stripe.errors import invalid, required
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def refund_charge(
    fake: Fake, charge: Obj, *, amount: int | None = None, reason: str | None = None, metadata: dict[str, str]
) -> Obj:
    left = charge["amount"] - charge["amount_refunded"]
    amount = left if amount is None else amount
    if charge["status"] != "succeeded":
        raise invalid(f"Charge {charge['id']} has not succeeded: there is nothing to refund.")
    if left == 0:
        raise invalid(f"Charge {charge['id']} has already been refunded.", code="charge_already_refunded")
    if charge["disputed"]:
        raise invalid(
            f"Charge {charge['id']} has been charged back; cannot issue a refund.", code="charge_disputed"
        )
    if amount <= 0:
        raise invalid("Invalid positive integer", param="amount", code="parameter_invalid_integer")
    if amount > left:
        raise invalid(
            f"Refund amount (${amount / 100:.2f}) is greater than unrefunded amount on charge"
            f" (${left / 100:.2f})",
            param="amount",
        )
    object_id = fake.store.new_id("re")
    moved = balance_transaction(fake, amount=-amount, fee=0, kind="refund", source=object_id)
    refund = {
        "id": object_id,
        "object": "refund",
        "amount": amount,
        "balance_transaction": moved["id"],
        "charge": charge["id"],
        "created": fake.clock.now(),
        "currency": charge["currency"],
        "destination_details": {"card": {"reference_status": "pending", "type": "refund"}, "type": "card"},
        "metadata": metadata,
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "receipt_number": None,
        "source_transfer_reversal": None,
        "status": "succeeded",
        "transfer_reversal": None,
    }
    fake.store.add(refund)
    emit(fake, "refund.created", refund)
    with changing(fake, charge, "charge.refunded"):
        charge["amount_refunded"] += amount
        charge["refunded"] = charge["amount_refunded"] == charge["amount"]
    return refund


def create(fake: Fake, params: Params) -> Obj:
    source = params.text("charge") or params.text("payment_intent")
    if source is None:
        raise required("charge or payment_intent")
    fake.store.get("charge" if "charge" in params else "payment_intent", source, param="payment_intent")
    reason = params.text("reason")
    if reason not in {None, "duplicate", "fraudulent", "requested_by_customer"}:
        raise invalid(f"Invalid reason: {reason}", param="reason")
    return refund_charge(
        fake,
        charge_of(fake, source),
        amount=params.whole("amount"),
        reason=reason,
        metadata=merge_metadata({}, params),
    )


def retrieve(fake: Fake, params: Params, refund_id: str) -> Obj:
    return fake.store.get("refund", refund_id)


def update(fake: Fake, params: Params, refund_id: str) -> Obj:
    refund = fake.store.get("refund", refund_id)
    with changing(fake, refund, "refund.updated"):
        refund["metadata"] = merge_metadata(refund["metadata"], params)
    return refund


def list_refunds(fake: Fake, params: Params) -> Obj:
    charge, intent = params.text("charge"), params.text("payment_intent")
    return page(
        fake.store.every("refund"),
        params,
        url="/v1/refunds",
        keep=lambda row: (
            (charge is None or row["charge"] == charge)
            and (intent is None or row["payment_intent"] == intent)
        ),
    )


ROUTES = [
    Route(
        "POST", "/v1/refunds", create, "RefundCreateParams", "charge payment_intent amount reason metadata.*"
    ),
    Route(
        "GET",
        "/v1/refunds",
        list_refunds,
        "RefundListParams",
        "charge payment_intent created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/refunds/{id}", retrieve, "RefundRetrieveParams"),
    Route("POST", "/v1/refunds/{id}", update, "RefundModifyParams", "metadata metadata.*"),
]
