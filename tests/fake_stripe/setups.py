"""Setup intents: a card is verified and kept, and nothing is charged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import cards
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import Refusal, invalid
from tests.fake_stripe.events import emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def make_setup(
    fake: Fake, *, customer: str | None, metadata: dict[str, str], usage: str = "off_session"
) -> Obj:
    object_id = fake.store.new_id("seti")
    setup = {
        "id": object_id,
        "object": "setup_intent",
        "application": None,
        "automatic_payment_methods": None,
        "cancellation_reason": None,
        "client_secret": f"{object_id}_secret_fake",
        "created": fake.clock.now(),
        "customer": customer,
        "description": None,
        "flow_directions": None,
        "last_setup_error": None,
        "latest_attempt": None,
        "livemode": False,
        "mandate": None,
        "metadata": metadata,
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "single_use_mandate": None,
        "status": "requires_payment_method",
        "usage": usage,
    }
    fake.store.add(setup)
    emit(fake, "setup_intent.created", setup)
    return setup


def confirm(fake: Fake, setup: Obj, card: Obj) -> Obj:
    """Raises Stripe's 402 for a card that its bank does not verify; others may want their owner's word."""
    if setup["status"] not in {"requires_payment_method", "requires_confirmation"}:
        raise invalid("This SetupIntent cannot be confirmed any more.", code="setup_intent_unexpected_state")
    rule = cards.behaviour(fake, card)
    if not rule.attaches:
        refusal = cards.refusal_of(rule)
        setup["last_setup_error"] = refusal.fields
        emit(fake, "setup_intent.setup_failed", setup)
        raise refusal
    setup["payment_method"] = card["id"]
    if cards.needs_challenge(fake, card):
        url = f"{fake.url}/challenge/{setup['id']}"
        setup["status"] = "requires_action"
        setup["next_action"] = {
            "redirect_to_url": {"return_url": None, "url": url},
            "type": "redirect_to_url",
        }
        emit(fake, "setup_intent.requires_action", setup)
        return setup
    return _succeed(fake, setup, card)


def _succeed(fake: Fake, setup: Obj, card: Obj) -> Obj:
    fake.store.notes[card["id"]]["is_set_up"] = True
    if setup["customer"]:
        cards.attach_to(fake, card, live_customer(fake, setup["customer"]))
    setup.update(status="succeeded", next_action=None, last_setup_error=None)
    emit(fake, "setup_intent.succeeded", setup)
    return setup


def answer_challenge(fake: Fake, setup_id: str, *, is_approved: bool) -> Obj:
    setup = fake.store.get("setup_intent", setup_id)
    if is_approved:
        return _succeed(fake, setup, fake.store.get("payment_method", setup["payment_method"]))
    refusal = Refusal(
        402,
        "We are unable to authenticate your payment method. Please choose a different payment method.",
        code="setup_intent_authentication_failure",
    )
    setup.update(
        status="requires_payment_method",
        payment_method=None,
        next_action=None,
        last_setup_error=refusal.fields,
    )
    emit(fake, "setup_intent.setup_failed", setup)
    return setup


def create(fake: Fake, params: Params) -> Obj:
    customer = live_customer(fake, given)["id"] if (given := params.text("customer")) else None
    card = cards.resolve(fake, given) if (given := params.text("payment_method")) else None
    setup = make_setup(
        fake,
        customer=customer,
        metadata=merge_metadata({}, params),
        usage=params.choice("usage", {"off_session", "on_session"}, "off_session"),
    )
    if card is not None:
        setup.update(payment_method=card["id"], status="requires_confirmation")
    if not params.flag("confirm"):
        return setup
    if card is None:
        raise invalid("You cannot confirm this SetupIntent because it's missing a payment method.")
    return confirm(fake, setup, card)


def confirm_request(fake: Fake, params: Params, setup_id: str) -> Obj:
    setup = fake.store.get("setup_intent", setup_id)
    card_id = params.text("payment_method") or setup["payment_method"]
    if card_id is None:
        raise invalid("You cannot confirm this SetupIntent because it's missing a payment method.")
    return confirm(fake, setup, cards.resolve(fake, card_id))


def cancel(fake: Fake, params: Params, setup_id: str) -> Obj:
    setup = fake.store.get("setup_intent", setup_id)
    if setup["status"] in {"succeeded", "canceled"}:
        raise invalid(f"You cannot cancel this SetupIntent: it has a status of {setup['status']}.")
    setup.update(status="canceled", cancellation_reason=params.text("cancellation_reason"), next_action=None)
    emit(fake, "setup_intent.canceled", setup)
    return setup


def retrieve(fake: Fake, params: Params, setup_id: str) -> Obj:
    return fake.store.get("setup_intent", setup_id)


def list_setups(fake: Fake, params: Params) -> Obj:
    customer = params.text("customer")
    return page(
        fake.store.every("setup_intent"),
        params,
        url="/v1/setup_intents",
        keep=lambda row: customer is None or row["customer"] == customer,
    )


ROUTES = [
    Route(
        "POST",
        "/v1/setup_intents",
        create,
        "SetupIntentCreateParams",
        "customer payment_method allowed_payment_method_types confirm usage metadata.*",
    ),
    Route(
        "GET",
        "/v1/setup_intents",
        list_setups,
        "SetupIntentListParams",
        "customer created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/setup_intents/{id}", retrieve, "SetupIntentRetrieveParams"),
    Route(
        "POST",
        "/v1/setup_intents/{id}/confirm",
        confirm_request,
        "SetupIntentConfirmParams",
        "payment_method",
    ),
    Route("POST", "/v1/setup_intents/{id}/cancel", cancel, "SetupIntentCancelParams", "cancellation_reason"),
]
