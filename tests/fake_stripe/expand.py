"""`expand[]`: ids become objects, and parts that are left out unless asked for appear."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tests.fake_stripe.errors import invalid
from tests.fake_stripe.store import Obj, Store, as_list

MAX_DEPTH = 4


def _payments_of(store: Store, invoice: Obj) -> Obj:
    rows = [row for row in store.every("invoice_payment") if row["invoice"] == invoice["id"]]
    return as_list(copy.deepcopy(rows), url="/v1/invoice_payments")


def _line_items_of(store: Store, session: Obj) -> Obj:
    rows = copy.deepcopy(store.notes[session["id"]].get("line_items", []))
    return as_list(rows, url=f"/v1/checkout/sessions/{session['id']}/line_items")


def _subscriptions_of(store: Store, customer: Obj) -> Obj:
    rows = [row for row in store.every("subscription") if row["customer"] == customer["id"]]
    live = [row for row in rows if row["status"] not in {"canceled", "incomplete_expired"}]
    return as_list(copy.deepcopy(live[::-1]), url=f"/v1/customers/{customer['id']}/subscriptions")


def _refunds_of(store: Store, charge: Obj) -> Obj:
    rows = [row for row in store.every("refund") if row["charge"] == charge["id"]]
    return as_list(copy.deepcopy(rows[::-1]), url=f"/v1/charges/{charge['id']}/refunds")


def _secret_of(store: Store, invoice: Obj) -> Obj | None:
    intent = store.find(store.notes[invoice["id"]].get("intent"))
    return {"client_secret": intent["client_secret"], "type": "payment_intent"} if intent else None


HIDDEN: dict[tuple[str, str], Callable[[Store, Obj], Any]] = {
    ("invoice", "payments"): _payments_of,
    ("invoice", "confirmation_secret"): _secret_of,
    ("checkout.session", "line_items"): _line_items_of,
    ("customer", "subscriptions"): _subscriptions_of,
    ("charge", "refunds"): _refunds_of,
}


def expanded(store: Store, answer: Obj, paths: list[str]) -> Obj:
    """A copy of `answer` with each dotted path replaced by its object. Raises Stripe's 400 for others."""
    copied = copy.deepcopy(answer)
    for path in paths:
        names = path.split(".")
        if len(names) > MAX_DEPTH:
            raise invalid(
                f"You cannot expand more than {MAX_DEPTH} levels of a property: {path}", param="expand"
            )
        _expand(store, copied, names, path)
    return copied


def _expand(store: Store, node: Any, names: list[str], path: str) -> None:
    if isinstance(node, list):
        for row in node:
            _expand(store, row, names, path)
        return
    if not names or not isinstance(node, dict):
        return
    name = names[0]
    if (node.get("object", ""), name) in HIDDEN and name not in node:
        node[name] = HIDDEN[node["object"], name](store, node)
    if name not in node:
        raise invalid(f"This property cannot be expanded ({path}).", param="expand")
    value = node[name]
    if isinstance(value, str):
        found = store.find(value)
        if found is None:
            raise invalid(f"This property cannot be expanded ({path}).", param="expand")
        node[name] = copy.deepcopy(found)
    elif isinstance(value, list):
        node[name] = [copy.deepcopy(store.find(row)) if isinstance(row, str) else row for row in value]
    _expand(store, node[name], names[1:], path)
