"""Disputes: a bank takes a payment back, and gives it back or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe.charges import balance_transaction
from tests.fake_stripe.clock import DAY_S
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

FEE = 1_500
CLOSED_STATES = {"won", "lost", "warning_closed", "prevented"}


def open_dispute(fake: Fake, charge: Obj, *, reason: str = "fraudulent") -> Obj:
    """The money leaves at once, with a fee."""
    amount = charge["amount"] - charge["amount_refunded"]
    if charge["disputed"] or amount <= 0:
        raise invalid(f"Charge {charge['id']} cannot be disputed: nothing of it is left to take back.")
    object_id = fake.store.new_id("du")
    taken = balance_transaction(fake, amount=-amount, fee=FEE, kind="adjustment", source=object_id)
    dispute = {
        "id": object_id,
        "object": "dispute",
        "amount": amount,
        "balance_transactions": [taken],
        "charge": charge["id"],
        "created": fake.clock.now(),
        "currency": charge["currency"],
        "enhanced_eligibility_types": [],
        "evidence": {"uncategorized_text": None, "customer_name": None, "product_description": None},
        "evidence_details": {
            "due_by": fake.clock.now() + 9 * DAY_S,
            "has_evidence": False,
            "past_due": False,
            "submission_count": 0,
        },
        "is_charge_refundable": False,
        "livemode": False,
        "metadata": {},
        "payment_intent": charge["payment_intent"],
        "reason": reason,
        "status": "needs_response",
    }
    fake.store.add(dispute)
    with changing(fake, charge, "charge.updated"):
        charge["disputed"] = True
    emit(fake, "charge.dispute.created", dispute)
    emit(fake, "charge.dispute.funds_withdrawn", dispute)
    return dispute


def decide(fake: Fake, dispute: Obj, *, is_won: bool) -> Obj:
    """The bank's word."""
    if dispute["status"] in CLOSED_STATES:
        raise invalid(f"Dispute {dispute['id']} is closed already.")
    dispute["status"] = "won" if is_won else "lost"
    if is_won:
        back = balance_transaction(
            fake, amount=dispute["amount"], fee=-FEE, kind="adjustment", source=dispute["id"]
        )
        dispute["balance_transactions"] = [*dispute["balance_transactions"], back]
        emit(fake, "charge.dispute.funds_reinstated", dispute)
    emit(fake, "charge.dispute.closed", dispute)
    return dispute


def charge_of(fake: Fake, object_id: str) -> Obj:
    """The charge of a payment intent or an invoice, or the charge itself."""
    found = fake.store.find(object_id)
    if found is not None and found["object"] == "invoice":
        found = fake.store.find(fake.store.notes[object_id].get("intent"))
    if found is not None and found["object"] == "payment_intent":
        found = fake.store.find(found["latest_charge"])
    if found is None or found["object"] != "charge":
        raise invalid(f"Nothing was charged for {object_id}.")
    return found


def retrieve(fake: Fake, params: Params, dispute_id: str) -> Obj:
    return fake.store.get("dispute", dispute_id)


def update(fake: Fake, params: Params, dispute_id: str) -> Obj:
    dispute = fake.store.get("dispute", dispute_id)
    with changing(fake, dispute, "charge.dispute.updated"):
        dispute["evidence"] = dispute["evidence"] | params.table("evidence")
        dispute["metadata"] = merge_metadata(dispute["metadata"], params)
        details = dispute["evidence_details"] | {"has_evidence": bool(params.table("evidence"))}
        if params.flag("submit", True) and params.table("evidence"):
            details["submission_count"] += 1
            dispute["status"] = "under_review"
        dispute["evidence_details"] = details
    return dispute


def close(fake: Fake, params: Params, dispute_id: str) -> Obj:
    """To give in: the dispute is lost."""
    return decide(fake, fake.store.get("dispute", dispute_id), is_won=False)


def list_disputes(fake: Fake, params: Params) -> Obj:
    charge, intent = params.text("charge"), params.text("payment_intent")
    return page(
        fake.store.every("dispute"),
        params,
        url="/v1/disputes",
        keep=lambda row: (
            (charge is None or row["charge"] == charge)
            and (intent is None or row["payment_intent"] == intent)
        ),
    )


ROUTES = [
    Route(
        "GET",
        "/v1/disputes",
        list_disputes,
        "DisputeListParams",
        "charge payment_intent created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/disputes/{id}", retrieve, "DisputeRetrieveParams"),
    Route(
        "POST",
        "/v1/disputes/{id}",
        update,
        "DisputeModifyParams",
        "submit metadata.* evidence.uncategorized_text evidence.customer_name evidence.product_description",
    ),
    Route("POST", "/v1/disputes/{id}/close", close, "DisputeCloseParams"),
]
