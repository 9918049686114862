"""Charges and what the account's balance says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe.cards import Behaviour, refusal_of
from tests.fake_stripe.events import emit
from tests.fake_stripe.params import Params
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def fee_of(amount: int) -> int:
    """2.9 % and 30 cents, in whole cents."""
    return (amount * 29 + 500) // 1000 + 30


def balance_transaction(fake: Fake, *, amount: int, fee: int, kind: str, source: str) -> Obj:
    row = {
        "id": fake.store.new_id("txn"),
        "object": "balance_transaction",
        "amount": amount,
        "available_on": fake.clock.now(),
        "balance_type": "payments",
        "created": fake.clock.now(),
        "currency": "usd",
        "description": None,
        "exchange_rate": None,
        "fee": fee,
        "fee_details": (
            [
                {
                    "amount": fee,
                    "application": None,
                    "currency": "usd",
                    "description": "fees",
                    "type": "stripe_fee",
                }
            ]
            if fee
            else []
        ),
        "net": amount - fee,
        "reporting_category": {"payment": "charge"}.get(kind, kind),
        "source": source,
        "status": "available",
        "type": kind,
    }
    return fake.store.add(row)


def make_charge(fake: Fake, intent: Obj, card: Obj, rule: Behaviour) -> Obj:
    """What became of asking the bank: `succeeded` or `failed`; emits the event of either."""
    is_paid, object_id = not rule.code, fake.store.new_id("ch")
    charge = {
        "id": object_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if is_paid else 0,
        "amount_refunded": 0,
        "application_fee": None,
        "balance_transaction": None,
        "billing_details": card["billing_details"],
        "captured": is_paid,
        "created": fake.clock.now(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_code": rule.code or None,
        "failure_message": str(refusal_of(rule)) if rule.code else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "outcome": {
            "network_status": "approved_by_network" if is_paid else "declined_by_network",
            "reason": rule.decline_code,
            "risk_level": "normal",
            "seller_message": "Payment complete." if is_paid else "The bank returned a decline code.",
            "type": "authorized" if is_paid else "issuer_declined",
        },
        "paid": is_paid,
        "payment_intent": intent["id"],
        "payment_method": card["id"],
        "payment_method_details": {
            "card": {
                name: card["card"][name] for name in ("brand", "country", "exp_month", "exp_year", "last4")
            },
            "type": "card",
        },
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": f"{fake.url}/receipts/{object_id}" if is_paid else None,
        "refunded": False,
        "review": None,
        "status": "succeeded" if is_paid else "failed",
        "transfer_group": None,
    }
    fake.store.add(charge)
    if is_paid:
        transaction = balance_transaction(
            fake, amount=charge["amount"], fee=fee_of(charge["amount"]), kind="charge", source=object_id
        )
        charge["balance_transaction"] = transaction["id"]
    emit(fake, "charge.succeeded" if is_paid else "charge.failed", charge)
    return charge


def retrieve(fake: Fake, params: Params, charge_id: str) -> Obj:
    return fake.store.get("charge", charge_id)


def list_charges(fake: Fake, params: Params) -> Obj:
    customer, intent = params.text("customer"), params.text("payment_intent")
    return page(
        fake.store.every("charge"),
        params,
        url="/v1/charges",
        keep=lambda row: (
            (customer is None or row["customer"] == customer)
            and (intent is None or row["payment_intent"] == intent)
        ),
    )


def retrieve_transaction(fake: Fake, params: Params, transaction_id: str) -> Obj:
    return fake.store.get("balance_transaction", transaction_id)


def list_transactions(fake: Fake, params: Params) -> Obj:
    kind = params.text("type")
    return page(
        fake.store.every("balance_transaction"),
        params,
        url="/v1/balance_transactions",
        keep=lambda row: kind is None or row["type"] == kind,
    )


def retrieve_balance(fake: Fake, params: Params) -> Obj:
    total = sum(row["net"] for row in fake.store.every("balance_transaction"))
    funds = [{"amount": total, "currency": "usd", "source_types": {"card": total}}]
    none = [{"amount": 0, "currency": "usd", "source_types": {"card": 0}}]
    return {"object": "balance", "available": funds, "livemode": False, "pending": none}


PAGE = "limit starting_after ending_before created.*"
ROUTES = [
    Route("GET", "/v1/charges", list_charges, "ChargeListParams", f"customer payment_intent {PAGE}"),
    Route("GET", "/v1/charges/{id}", retrieve, "ChargeRetrieveParams"),
    Route("GET", "/v1/balance", retrieve_balance, "BalanceRetrieveParams"),
    Route(
        "GET", "/v1/balance_transactions", list_transactions, "BalanceTransactionListParams", f"type {PAGE}"
    ),
    Route("GET", "/v1/balance_transactions/{id}", retrieve_transaction, "BalanceTransactionRetrieveParams"),
]
