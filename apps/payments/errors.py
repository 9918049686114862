"""Refusals of payments."""

from __future__ import annotations

from apps.core.errors import DomainError


class PaymentsNotConfigured(DomainError):
    """There are no keys for Stripe; everything else works."""

    code = "payments_not_configured"
    http_status = 503
    message = "Payments are not set up on this installation; ask its operator."


class ModesMixed(PaymentsNotConfigured):
    """The key is of one mode of Stripe and customers here are of the other."""

    code = "payments_modes_mixed"
    message = "Payments are being moved between two modes; ask this installation's operator."


class PaymentsUnavailable(DomainError):
    """Stripe did not answer, or not in a way that means anything. Trying again is safe."""

    code = "payments_unavailable"
    http_status = 503
    message = (
        "The payment service cannot be reached at the moment; nothing was changed. Try again in a minute."
    )


class PaymentsMisconfigured(DomainError):
    """Stripe refuses our key."""

    code = "payments_misconfigured"
    http_status = 503
    message = "The payment service does not accept this installation's key; its operator has to look at it."


class CardDeclined(DomainError):
    """The bank said no, or wants the customer to confirm."""

    code = "card_declined"
    http_status = 402
    message = "The card was declined: {reason} Nothing was charged; use another card."


class PaymentRefused(DomainError):
    """Stripe refuses what was asked, for a reason that trying again does not change."""

    code = "payment_refused"
    http_status = 409
    message = "The payment service refused: {reason}"


class NotRefundable(DomainError):
    """The payment cannot be given back, or not this much of it."""

    code = "not_refundable"
    http_status = 409
    message = "This cannot be refunded: {reason}"


class EventRefused(DomainError):
    """A message that claims to be Stripe's and is not, or not for us."""

    code = "event_refused"
    message = "The message was refused: {reason}"
