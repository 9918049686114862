"""The hosted pages, plain forms all: checkout, the bank's challenge, the billing portal, an invoice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from tests.fake_stripe import checkout_visits, invoices, portal
from tests.fake_stripe.cards import (
    ALWAYS_3DS_CARD,
    DECLINED_CARD,
    GOOD_CARD,
    THREE_DS_CARD,
    attach_to,
    new_card,
)
from tests.fake_stripe.checkout_visits import Form
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscription_objects import items_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """An answer to a browser: a document, or the way elsewhere."""

    status: int = 200
    body: str = ""
    location: str = ""
    content_type: str = "text/html; charset=utf-8"


def document(title: str, body: str, *, status: int = 200) -> Page:
    head = (
        f"<meta charset=utf-8><meta name=viewport content='width=device-width'><title>{escape(title)}</title>"
    )
    return Page(
        status=status,
        body=f"<!doctype html><html lang=en><head>{head}</head><body><main><h1>{escape(title)}</h1>"
        f"<p>This is a fake Stripe for tests: no money moves.</p>{body}</main></body></html>",
    )


def money(cents: int | None) -> str:
    return f"${(cents or 0) / 100:,.2f}"


def field(name: str, label: str, value: str = "") -> str:
    return f"<p><label>{escape(label)} <input name={name} value='{escape(value)}'></label></p>"


def button(action: str, label: str) -> str:
    return f"<button name=action value='{escape(action)}'>{escape(label)}</button> "


def complaint(text: str) -> str:
    return f"<p role=alert>{escape(text)}</p>" if text else ""


def show(fake: Fake, path: str) -> Page:
    """Raises Stripe's 404 for other addresses."""
    match path.strip("/").split("/"):
        case ["c", "pay", session_id]:
            return checkout_page(fake, fake.store.get("checkout.session", session_id))
        case ["challenge", object_id]:
            form = f"<form method=post>{button('approve', 'Complete')}{button('refuse', 'Fail')}</form>"
            return document("Your bank asks", f"<p>{escape(object_id)}</p>{form}")
        case ["p", "session", session_id]:
            return portal_page(fake, fake.store.get("billing_portal.session", session_id))
        case ["i", invoice_id]:
            return invoice_page(fake, fake.store.get("invoice", invoice_id))
        case ["i", invoice_id, "pdf"]:
            fake.store.get("invoice", invoice_id)
            return Page(body=f"%PDF-1.4\n% {invoice_id}\n%%EOF\n", content_type="application/pdf")
        case ["done"]:
            return document("Done", "<p>You can close this page.</p>")
    raise Refusal(404, f"There is no page at {path}.")


def submit(fake: Fake, path: str, form: Mapping[str, str]) -> Page:
    """Raises Stripe's errors; a refused card is a page that says so."""
    match path.strip("/").split("/"):
        case ["c", "pay", session_id]:
            return _submit_checkout(fake, session_id, form)
        case ["challenge", object_id]:
            is_approved = form.get("action") == "approve"
            target = checkout_visits.answer_challenge(fake, object_id, is_approved=is_approved)
            return Page(status=303, location=target)
        case ["p", "session", session_id]:
            return _submit_portal(fake, session_id, form)
        case ["i", invoice_id]:
            return _submit_invoice(fake, invoice_id, form)
    raise Refusal(404, f"There is no page at {path}.")


def checkout_page(fake: Fake, session: Obj, *, error: str = "") -> Page:
    status = 402 if error else 200
    if session["status"] != "open":
        return document("This checkout is over", f"<p>It is {escape(session['status'])}.</p>", status=410)
    rows = "".join(
        f"<li>{escape(row['description'])}: {money(row['amount_subtotal'])}</li>"
        for row in fake.store.notes[session["id"]].get("line_items", [])
    )
    code = field("promotion_code", "Promotion code") if session["allow_promotion_codes"] else ""
    cards = (
        f"<p>Test cards: {GOOD_CARD} pays, {DECLINED_CARD} is declined, {THREE_DS_CARD} asks the bank.</p>"
    )
    return document(
        "Checkout",
        f"{complaint(error)}<ul>{rows}</ul><p>Due today: <b>{money(session['amount_total'])}</b></p>{cards}"
        f"<form method=post>{field('number', 'Card number', GOOD_CARD)}{field('name', 'Name', 'Ada Example')}"
        f"{field('email', 'E-mail', 'ada@example.com')}{field('country', 'Country', 'DE')}{code}"
        f"{button('pay', 'Pay')}{button('cancel', 'Back')}</form>",
        status=status,
    )


def _submit_checkout(fake: Fake, session_id: str, form: Mapping[str, str]) -> Page:
    session = fake.store.get("checkout.session", session_id)
    if form.get("action") == "cancel":
        return Page(status=303, location=session["cancel_url"] or f"{fake.url}/done")
    typed = {name: form[name] for name in ("name", "email", "country", "promotion_code") if form.get(name)}
    dates = {name: int(form[name]) for name in ("exp_month", "exp_year") if form.get(name)}
    try:
        number = form.get("number", "").replace(" ", "")
        return Page(
            status=303, location=checkout_visits.pay(fake, session, Form(number=number, **typed, **dates))
        )
    except Refusal as refusal:
        current = fake.store.get("checkout.session", session_id)
        return checkout_page(fake, current, error=str(refusal.fields["message"]))


def portal_page(fake: Fake, session: Obj, *, error: str = "") -> Page:
    blocks = []
    for row in portal.subscriptions_of(fake, session):
        price = items_of(row)[0]["price"]
        options = "".join(
            f"<option value='{escape(choice['id'])}'>"
            f"{escape(fake.store.get('product', choice['product'])['name'])}"
            f" {money(choice['unit_amount'])}</option>"
            for choice in portal.choices(fake)
            if choice["id"] != price["id"]
        )
        name = fake.store.get("product", price["product"])["name"]
        end = button("resume", "Keep it") if row["cancel_at_period_end"] else button("cancel", "Cancel")
        blocks.append(
            f"<section><h2>{escape(name)} ({escape(row['status'])})</h2><form method=post>"
            f"<input type=hidden name=subscription value='{escape(row['id'])}'>"
            f"<label>Plan <select name=price>{options}</select></label>"
            f" {button('change', 'Change plan')}{end}"
            "</form></section>"
        )
    card = (
        f"<form method=post>{field('number', 'New card', GOOD_CARD)}{button('card', 'Use this card')}</form>"
    )
    back = f"<p><a href='{escape(session['return_url'] or '/done')}'>Back</a></p>"
    return document("Billing", complaint(error) + "".join(blocks) + card + back, status=402 if error else 200)


def _submit_portal(fake: Fake, session_id: str, form: Mapping[str, str]) -> Page:
    session, action = fake.store.get("billing_portal.session", session_id), form.get("action")
    try:
        with fake.all_or_nothing():
            if action == "card":
                portal.replace_card(fake, session, form.get("number", ""))
            else:
                _act_on(fake, portal.own_subscription(fake, session, form.get("subscription", "")), form)
    except Refusal as refusal:
        current = fake.store.get("billing_portal.session", session_id)
        return portal_page(fake, current, error=str(refusal.fields["message"]))
    return Page(status=303, location=session["url"])


def _act_on(fake: Fake, subscription: Obj, form: Mapping[str, str]) -> None:
    match form.get("action"):
        case "change":
            portal.change_plan(fake, subscription, form.get("price", ""))
        case "cancel" | "resume" as action:
            portal.set_canceled(fake, subscription, is_canceled=action == "cancel")
        case other:
            raise Refusal(400, f"The page has no button {other!r}.")


def invoice_page(fake: Fake, invoice: Obj, *, error: str = "") -> Page:
    rows = "".join(
        f"<li>{escape(row['description'] or '')}: {money(row['amount'])}</li>"
        for row in invoice["lines"]["data"]
    )
    form = f"<form method=post>{field('number', 'Card number', ALWAYS_3DS_CARD)}{button('pay', 'Pay')}</form>"
    return document(
        f"Invoice {invoice['number'] or 'draft'}",
        f"{complaint(error)}<ul>{rows}</ul><p>{escape(invoice['status'])}, total"
        f" {money(invoice['total'])}</p>" + (form if invoice["status"] == "open" else ""),
        status=402 if error else 200,
    )


def _submit_invoice(fake: Fake, invoice_id: str, form: Mapping[str, str]) -> Page:
    """The owner pays by hand, with the card they type, which the bank may ask about."""
    invoice = fake.store.get("invoice", invoice_id)
    customer = live_customer(fake, invoice["customer"])
    try:
        card = attach_to(fake, new_card(fake, form.get("number", "")), customer)
        refusal = invoices.collect(fake, invoice, card=card, off_session=False)
    except Refusal as refused:
        refusal = refused
    if refusal is not None:
        return invoice_page(fake, invoice, error=str(refusal.fields["message"]))
    intent = fake.store.find(fake.store.notes[invoice_id].get("intent"))
    action = intent and intent["next_action"]
    return Page(
        status=303, location=action["redirect_to_url"]["url"] if action else invoice["hosted_invoice_url"]
    )
