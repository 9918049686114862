"""Where Stripe's messages arrive. Nobody signs in here: the signature is what counts."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from apps.core import clock
from apps.payments.inbox import MAX_BYTES, Receipt, receive, refuse_oversized


@csrf_exempt
@require_POST
def stripe_webhook(request: HttpRequest) -> HttpResponse:
    """`POST /payments/stripe/webhook`"""
    return _answer(_receive(request))


def _receive(request: HttpRequest) -> Receipt:
    length = request.headers.get("Content-Length", "0")
    size = int(length) if length.isascii() and length.isdigit() else 0
    body = b"" if size > MAX_BYTES else request.read(MAX_BYTES + 1)
    if size > MAX_BYTES or len(body) > MAX_BYTES:
        return refuse_oversized(size=max(size, len(body)), now=clock.now())
    return receive(body=body, signature=request.headers.get("Stripe-Signature", ""), now=clock.now())


def _answer(receipt: Receipt) -> HttpResponse:
    return HttpResponse(receipt.text, status=receipt.status, content_type="text/plain; charset=utf-8")
