"""Without prices nothing that costs money is accepted, which each dialect says and whoever watches hears."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.api import health
from apps.billing.prices import selectors
from apps.generation.models import GpuWorker
from tests.apps.api import jobs
from tests.apps.api.client import PROMPT, V6, ApiClient
from tests.apps.api.test_health import make_worker
from tests.apps.generation.paying import PAID
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan

NATIVE = "/v1/jobs"
CALLS: list[tuple[str, dict[str, Any]]] = [
    (V6, PROMPT),
    ("/api/v7/images/text-to-image", PROMPT),
    (NATIVE, {"kind": "txt2img", "model": "tiny", "prompt": "a fox"}),
    ("/v1/images/generations", {"model": "tiny", "prompt": "a fox", "size": "1024x1024"}),
    ("/sdapi/v1/txt2img", {"prompt": "a fox"}),
]


@pytest.fixture
def without_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before `bootstrap` has run."""
    for module in (selectors, health):
        monkeypatch.setattr(module, "find_book", lambda moment: None)


@pytest.mark.parametrize(("path", "body"), CALLS, ids=lambda value: value if isinstance(value, str) else "")
def test_nothing_is_accepted_and_nothing_taken(
    ada: ApiClient, cast: Cast, without_prices: None, path: str, body: dict[str, Any]
) -> None:
    give_plan(cast.account, **PAID)
    answer = ada.post(path, body)

    code = answer.headers.get("X-Darkroom-Error") or answer.json()["code"]
    assert (answer.status_code, code) == (503, "price_book_missing")
    assert "manage.py bootstrap" in answer.content.decode()
    assert jobs.traces() == jobs.NOTHING


def test_whoever_watches_it_is_told(db: None, clock: FrozenClock, without_prices: None) -> None:
    worker: GpuWorker = make_worker()
    assert worker.state == "ready"

    answer = Client().get("/readyz")

    # What the plan includes is served.
    assert answer.status_code == 200
    assert answer.json()["checks"]["prices"] == "missing: run manage.py bootstrap"
