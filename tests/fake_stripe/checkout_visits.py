"""What a visitor does at Checkout: pays, is asked by the bank, comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fake_stripe import cards, coupons, intents, invoices, setups
from tests.fake_stripe.checkout import price_up
from tests.fake_stripe.clock import DAY_S
from tests.fake_stripe.customers import blank_customer, live_customer
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscriptions import Wish, begin

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What the visitor typed."""

    number: str
    """Empty where no card is asked for."""
    name: str = "Ada Example"
    email: str = "ada@example.com"
    country: str = "DE"
    promotion_code: str = ""
    exp_month: int = 12
    exp_year: int = 2034


def pay(fake: Fake, session: Obj, form: Form) -> str:
    """Where the visitor goes next: the challenge of the bank, or back to the shop. Raises Stripe's 402."""
    if session["status"] != "open":
        raise invalid("This Checkout Session is not open any more.")
    if form.promotion_code:
        _take_code(fake, session, form.promotion_code)
    with fake.all_or_nothing():
        customer = _customer_for(fake, session, form)
    act = {"payment": _pay_once, "setup": _keep_card, "subscription": _subscribe}[session["mode"]]
    if next_url := act(fake, session, customer, form):
        return next_url
    return back_url(session)


def back_url(session: Obj) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


def _take_code(fake: Fake, session: Obj, text: str) -> None:
    if not session["allow_promotion_codes"]:
        raise invalid("Promotion codes are not taken here.")
    code = coupons.find_code(fake, text, session["customer"])
    coupon = fake.store.get("coupon", code["promotion"]["coupon"])
    coupons.require_redeemable(fake, coupon, code)
    fake.store.notes[session["id"]]["discounts"] = [(coupon["id"], code["id"])]
    price_up(fake, session)


def _customer_for(fake: Fake, session: Obj, form: Form) -> Obj | None:
    """The session's, with the address as typed; a new one where the session wants one."""
    address = {
        "line1": "Street 1",
        "line2": None,
        "city": "Town",
        "state": None,
        "postal_code": "10115",
        "country": form.country,
    }
    session["customer_details"] = {
        "address": address,
        "email": form.email,
        "name": form.name,
        "phone": None,
        "tax_exempt": "none",
        "tax_ids": [],
    }
    if session["customer"] is None:
        if session["customer_creation"] != "always":
            return None
        customer = blank_customer(fake) | {"name": form.name, "email": form.email, "address": address}
        fake.store.add(customer)
        emit(fake, "customer.created", customer)
        session["customer"] = customer["id"]
        return customer
    customer = live_customer(fake, session["customer"])
    if fake.store.notes[session["id"]]["updates_address"]:
        with changing(fake, customer, "customer.updated"):
            customer["address"] = address
    return customer


def _new_card(fake: Fake, form: Form) -> Obj:
    return cards.new_card(fake, form.number, exp_month=form.exp_month, exp_year=form.exp_year, name=form.name)


def _pay_once(fake: Fake, session: Obj, customer: Obj | None, form: Form) -> str | None:
    notes = fake.store.notes[session["id"]]
    card = _new_card(fake, form)
    intent = fake.store.find(notes.get("intent"))
    if intent is None:
        intent = intents.make_intent(
            fake,
            amount=session["amount_total"],
            customer=customer["id"] if customer else None,
            receipt_email=form.email,
            **notes["intent_data"],
        )
        notes["intent"] = intent["id"]
        fake.store.notes[intent["id"]]["session"] = session["id"]
    session["payment_intent"] = intent["id"]
    intents.confirm(fake, intent, card, return_url=back_url(session))
    return _challenge_of(intent)


def _challenge_of(intent: Obj) -> str | None:
    action = intent["next_action"]
    return str(action["redirect_to_url"]["url"]) if action else None


def _keep_card(fake: Fake, session: Obj, customer: Obj | None, form: Form) -> str | None:
    setup = setups.make_setup(
        fake,
        customer=customer["id"] if customer else None,
        metadata=dict(fake.store.notes[session["id"]]["setup_metadata"]),
    )
    fake.store.notes[setup["id"]]["session"] = session["id"]
    session["setup_intent"] = setup["id"]
    setups.confirm(fake, setup, _new_card(fake, form))
    if setup["status"] == "succeeded":
        complete(fake, session)
    return _challenge_of(setup)


def _subscribe(fake: Fake, session: Obj, customer: Obj | None, form: Form) -> str | None:
    """Subscribed once it is paid: a refused card leaves nothing, an abandoned challenge an incomplete one."""
    notes = fake.store.notes[session["id"]]
    if customer is None:
        raise invalid("A subscription needs a customer.")
    if earlier := fake.store.find(notes.get("subscription")):
        invoice = fake.store.get("invoice", earlier["latest_invoice"])
        card = cards.attach_to(fake, _new_card(fake, form), customer)
        earlier["default_payment_method"] = card["id"]
        return _collect(fake, session, invoice, card)
    with fake.all_or_nothing():
        is_free_of_card = notes["collection"] == "if_required" and session["amount_total"] == 0
        card_id = None
        if form.number or not is_free_of_card:
            card_id = cards.attach_to(fake, _new_card(fake, form), customer)["id"]
        subscription = begin(fake, _wish_of(fake, session, customer, card_id))
        notes["subscription"] = subscription["id"]
        session["subscription"] = subscription["id"]
        invoice = fake.store.get("invoice", subscription["latest_invoice"])
        session["invoice"] = invoice["id"]
        if invoice["status"] == "paid":
            return _complete_without_payment(fake, session, card_id)
        return _collect(fake, session, invoice, fake.store.get("payment_method", card_id or ""))


def _complete_without_payment(fake: Fake, session: Obj, card_id: str | None) -> str | None:
    """A trial, or a discount of everything: the card is only kept."""
    if card_id:
        fake.store.notes[card_id]["is_set_up"] = True
    complete(fake, session)
    return None


def _collect(fake: Fake, session: Obj, invoice: Obj, card: Obj) -> str | None:
    intent = fake.store.get("payment_intent", fake.store.notes[invoice["id"]]["intent"])
    fake.store.notes[intent["id"]]["session"] = session["id"]
    refusal = invoices.collect(fake, invoice, card=card, off_session=False)
    if refusal is not None:
        raise refusal
    return _challenge_of(intent)


def _wish_of(fake: Fake, session: Obj, customer: Obj, card_id: str | None) -> Wish:
    notes = fake.store.notes[session["id"]]
    data = notes["subscription_data"]
    days = data["trial_period_days"]
    return Wish(
        customer=customer,
        items=[(fake.store.get("price", price), quantity) for price, quantity in notes["items"]],
        metadata=dict(data["metadata"]),
        description=data["description"],
        discounts=[
            (fake.store.get("coupon", coupon), fake.store.find(code)) for coupon, code in notes["discounts"]
        ],
        trial_end=fake.clock.now() + days * DAY_S if days else None,
        missing_card=data["missing_card"],
        card=card_id,
        is_taxed=session["automatic_tax"]["enabled"],
        behaviour="default_incomplete",
        is_on_session=True,
        session=session["id"],
    )


def complete(fake: Fake, session: Obj) -> None:
    if session["mode"] == "payment":
        _redeem(fake, session)
    is_paid = bool(session["amount_total"]) and session["mode"] != "setup"
    session.update(status="complete", payment_status="paid" if is_paid else "no_payment_required", url=None)
    if session["automatic_tax"]["enabled"]:
        session["automatic_tax"] = session["automatic_tax"] | {"status": "complete"}
    emit(fake, "checkout.session.completed", session)


def _redeem(fake: Fake, session: Obj) -> None:
    """Discounts of a single payment count once it is paid; subscriptions redeem theirs when they begin."""
    for coupon_id, code_id in fake.store.notes[session["id"]]["discounts"]:
        coupons.redeem(
            fake,
            fake.store.get("coupon", coupon_id),
            fake.store.find(code_id),
            customer=session["customer"],
            subscription=None,
            session=session["id"],
        )


def follow_intent(fake: Fake, intent: Obj) -> None:
    """The payment that a visit waited for came, on the page or after the challenge."""
    session = fake.store.find(fake.store.notes[intent["id"]].get("session"))
    if session is None or session["status"] != "open" or intent["status"] != "succeeded":
        return
    if session["mode"] == "payment":
        intents.attach_after_payment(fake, intent)
    complete(fake, session)


def answer_challenge(fake: Fake, object_id: str, *, is_approved: bool) -> str:
    """Where the card's owner goes after the challenge: on to the shop, or back to the checkout page."""
    if object_id.startswith("seti_"):
        subject = setups.answer_challenge(fake, object_id, is_approved=is_approved)
    else:
        subject = intents.answer_challenge(fake, object_id, is_approved=is_approved)
    session = fake.store.find(fake.store.notes[object_id].get("session"))
    if session is None:
        return f"{fake.url}/done"
    if subject["status"] == "succeeded" and session["status"] == "open":
        complete(fake, session)
    return back_url(session) if session["status"] == "complete" else str(session["url"])
