"""What each refusal says on a page, by its code: the message of its class with gettext's blanks.

A code that is not here speaks English: it belongs to programs (`apps.api`) or to the operator's console.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

_PEOPLE: Final[Mapping[str, Promise]] = {
    "sign_up_refused": _("%(problem)s"),
    "invitation_unusable": _("This invitation %(problem)s. Ask whoever invited you for another one."),
    "already_invited": _("The address %(email)s %(problem)s."),
    "last_owner": _("An account needs an owner: make somebody else owner first, or close the account."),
    "seats_taken": _(
        "All %(seats)s seats of this account are taken: remove a member or an invitation, or change the plan."
    ),
    "role_not_yours": _("Only an owner may make somebody owner, or change or remove one."),
    "account_closed": _("The account %(name)s %(problem)s."),
}
_MONEY: Final[Mapping[str, Promise]] = {
    "payment_required": _(
        "Insufficient credits: this request costs %(price)s. Top up your wallet or upgrade your plan."
    ),
    "insufficient_funds": _("There is less than %(amount)s in the account's %(place)s; nothing was taken."),
    "ledger_key_reused": _("The ledger entry %(key)s already says something else; nothing was booked."),
    "payments_not_configured": _("Payments are not set up on this installation; ask its operator."),
    "payments_modes_mixed": _(
        "Payments are being moved between two modes; ask this installation's operator."
    ),
    "price_book_missing": _(
        "There are no prices yet, so that nothing is accepted: the operator has to run manage.py bootstrap."
    ),
    "payments_unavailable": _(
        "The payment service cannot be reached at the moment; nothing was changed. Try again in a minute."
    ),
    "payments_misconfigured": _(
        "The payment service does not accept this installation's key; its operator has to look at it."
    ),
    "card_declined": _("The card was declined: %(reason)s Nothing was charged; use another card."),
    "payment_refused": _("The payment service refused: %(reason)s"),
    "not_refundable": _("This cannot be refunded: %(reason)s"),
    "budget_exhausted": _(
        "The monthly budget of %(limit)s is used up; raise it, or wait until %(resets_at)s."
    ),
    "daily_quota_exhausted": _("The daily limit of %(limit)s calls is used up; it resets at %(resets_at)s."),
    "monthly_quota_exhausted": _(
        "The monthly limit of %(limit)s calls is used up; it resets at %(resets_at)s."
    ),
}
_JOBS: Final[Mapping[str, Promise]] = {
    "api_key_invalid": _("Invalid API key"),
    "queue_full": _(
        "The queue limit of %(limit)s open requests is reached; try again in %(seconds)s seconds."
    ),
    "too_many_images": _("The plan %(plan)s allows at most %(limit)s images in one request, not %(asked)s."),
    "kind_not_in_plan": _("Your plan %(plan)s does not include %(kind)s."),
    "model_not_in_plan": _("Your plan %(plan)s does not include the model %(model)s."),
    "checkpoint_not_allowed": _("This API key may not use the model %(name)s."),
    "not_cancelable": _("Job %(id)s has already %(state)s; only queued and running jobs can be canceled."),
    "model_not_installed": _("No %(kind)s is installed on this server: %(hint)s."),
    "prompt_blocked": _("The prompt was refused by this server's content rules (%(reason)s)."),
    "model_not_found": _("Model not found: %(name)s"),
    "checkpoint_not_found": _("Model not found: %(name)s"),
    "lora_not_found": _("LoRA not found: %(name)s"),
    "embedding_not_found": _("Embedding not found: %(name)s"),
    "vae_not_found": _("VAE not found: %(name)s"),
    "model_disabled": _("The model %(name)s is disabled on this server."),
    "family_mismatch": _(
        "%(what)s %(name)s is made for %(family)s and does not fit the model %(checkpoint)s (%(other)s)."
    ),
    "artifact_not_found": _(
        "This image is not available: it is not ready yet, has expired, or never existed."
    ),
    "idempotency_mismatch": _("The Idempotency-Key %(key)s was already used with a different request."),
    "malformed_body": _("The request body %(problem)s."),
    "body_too_large": _("The request body is larger than the %(limit_mb)s MB this server accepts."),
}
TEXTS: Final[Mapping[str, Promise]] = {
    "invalid_field": _("%(field)s %(problem)s"),
    "conflict": _("%(problem)s"),
    "not_found": _("%(what)s %(id)s was not found."),
    **_PEOPLE,
    **_MONEY,
    **_JOBS,
}
