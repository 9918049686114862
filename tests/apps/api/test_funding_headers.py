"""Accepted calls of every dialect say what pays; nothing of money is said of refusals."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import run
from tests.apps.generation.paying import IMAGE_MICRO, PAID, fill_wallet, money_of, publish_prices
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_checkpoint

V6 = "/api/v6/images/text2img"
FIELDS = {
    "model_id": "tiny",
    "prompt": "a fox",
    "width": 64,
    "height": 64,
    "samples": 2,
    "instant_response": True,
}


@pytest.fixture
def ada(cast: Cast, clock: FrozenClock) -> ApiClient:
    """Of an account whose every image costs money, which it has."""
    make_checkpoint("tiny")
    give_plan(cast.account, **PAID)
    publish_prices()
    fill_wallet(cast.account, 4 * IMAGE_MICRO)
    return ApiClient(cast.key_text)


def said(answer: Any) -> tuple[str | None, str | None]:
    return answer.headers.get("Darkroom-Funding"), answer.headers.get("Darkroom-Price-Micro")


def test_modelslab_says_what_pays_and_so_does_a_repeat(ada: ApiClient, cast: Cast) -> None:
    first = ada.post(V6, FIELDS, Idempotency_Key="order")
    again = ada.post(V6, FIELDS, Idempotency_Key="order")

    assert said(first) == said(again) == ("wallet", str(2 * IMAGE_MICRO))
    assert money_of(cast.account) == (2 * IMAGE_MICRO, 0, 2 * IMAGE_MICRO, 0)
    run(first.json()["id"])
    assert money_of(cast.account) == (2 * IMAGE_MICRO, 0, 0, 0)


def test_a_refusal_says_no_price_and_takes_nothing(ada: ApiClient, cast: Cast) -> None:
    refused = ada.post(V6, FIELDS | {"samples": 5})

    assert (refused.status_code, refused["X-Darkroom-Error"]) == (402, "payment_required")
    assert said(refused) == (None, None)
    assert money_of(cast.account) == (4 * IMAGE_MICRO, 0, 0, 0)


def test_the_wallet_is_told_in_dollars(ada: ApiClient) -> None:
    ada.post(V6, FIELDS)

    answer = ada.post("/api/wallet_balance", {})
    assert answer.json() == {"status": "success", "data": {"balance": 0.004, "currency": "USD"}}


def test_usage_says_what_was_spent_by_key(ada: ApiClient, cast: Cast) -> None:
    run(ada.post(V6, FIELDS).json()["id"])
    ada.post(V6, FIELDS | {"samples": 1})

    assert ada.get("/v1/usage").json()["money"] == {
        "currency": "usd",
        "wallet_micro": IMAGE_MICRO,
        "promo_micro": 0,
        "held_micro": IMAGE_MICRO,
        "owed_micro": 0,
        "spent_micro": 2 * IMAGE_MICRO,
        "keys": [{"key": cast.key.prefix, "calls": 1, "images": 2, "price_micro": 2 * IMAGE_MICRO}],
    }
