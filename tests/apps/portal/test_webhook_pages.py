"""Webhooks in the portal: the log, tests, sending again, and the secret that is shown once."""

from __future__ import annotations

import re
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.audit.models import AuditEvent
from apps.core import clock as core_clock
from apps.webhooks.models import Delivery, Endpoint, SigningSecret
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast

LIST = "/portal/webhooks"
XSS = "<script>alert(1)</script>"


def send(browser: Client, path: str, **fields: Any) -> Any:
    return browser.post(f"{LIST}/{path}", {"token": str(uuid4())} | fields, follow=True)


def failed(cast: Cast) -> Delivery:
    row = queue_row(cast.account, url="https://example.com/hook?order=7")
    Delivery.objects.filter(pk=row.pk).update(
        body=f'{{"note": "{XSS}"}}'.encode(),
        state="failed",
        ended_at=core_clock.now(),
        attempts=11,
        last_error="It timed out.",
    )
    row.tries.create(started_at=core_clock.now(), duration_ms=30_000, error="It timed out.", answer=XSS)
    return row


def test_the_log_and_its_filter(ada: Client, cast: Cast) -> None:
    waiting, given_up = queue_row(cast.account), failed(cast)

    both = ada.get(LIST).content.decode()
    one = ada.get(f"{LIST}?state=failed").content.decode()

    assert waiting.event_id in both and given_up.event_id in both and "Given up" in both
    assert given_up.event_id in one and waiting.event_id not in one
    assert "Send 1 failed one again" in both


def test_a_delivery_shows_its_body_and_attempts_as_text(ada: Client, cast: Cast) -> None:
    row = failed(cast)

    html = ada.get(f"{LIST}/deliveries/{row.event_id}").content.decode()

    assert "It timed out." in html and "30,000 ms" in html
    assert XSS not in html and "&lt;script&gt;" in html


def test_sending_again(ada: Client, cast: Cast) -> None:
    row = failed(cast)

    page = send(ada, f"deliveries/{row.event_id}/resend")

    assert "sent again now" in page.content.decode()
    assert Delivery.objects.get().state == "waiting"


def test_a_double_click_sends_once(ada: Client, cast: Cast) -> None:
    row, token = failed(cast), str(uuid4())

    for _ in range(2):
        page = send(ada, f"deliveries/{row.event_id}/resend", token=token)

    assert "already sent" in page.content.decode()
    assert AuditEvent.objects.filter(name="webhooks.delivery.replayed").count() == 1


def test_everything_that_failed_is_sent_again(ada: Client, cast: Cast) -> None:
    failed(cast), failed(cast)

    assert "sent again: 2" in send(ada, "resend-failed").content.decode()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"waiting"}


def test_a_test_message(ada: Client, cast: Cast) -> None:
    page = send(ada, "test", url="https://example.com/hook")

    assert "on its way" in page.content.decode()
    delivery = Delivery.objects.get()
    assert (delivery.account_id, delivery.event, delivery.is_forced) == (
        cast.account.pk,
        "webhook.test",
        True,
    )


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.com/",
        "https://127.0.0.1/",
        "http://169.254.169.254/",
        "javascript:alert(1)",
        "x" * 3000,
    ],
)
def test_addresses_that_nothing_is_sent_to(ada: Client, url: str) -> None:
    page = send(ada, "test", url=url)

    assert page.context["messages"]
    assert not Delivery.objects.exists()


def test_the_secret_is_shown_once(ada: Client, cast: Cast) -> None:
    page = send(ada, "secret", overlap_s="3600")

    text = re.search(r"whsec_[A-Za-z0-9+/=]+", page.content.decode())
    assert text is not None
    assert "no-store" in page["Cache-Control"]
    html = ada.get(LIST).content.decode()
    assert text[0] not in html and f"…{text[0][-4:]}" in html


def test_a_double_click_makes_one_secret(ada: Client) -> None:
    token = str(uuid4())
    for _ in range(2):
        send(ada, "secret", overlap_s="0", token=token)

    assert SigningSecret.objects.count() == 1


@pytest.mark.parametrize("overlap", ["", "-1", "5", str(30 * 24 * 3600)])
def test_an_overlap_that_is_not_offered(ada: Client, overlap: str) -> None:
    send(ada, "secret", overlap_s=overlap)

    assert not SigningSecret.objects.exists()


def test_endpoints_in_trouble(ada: Client, cast: Cast) -> None:
    now = core_clock.now()
    Endpoint.objects.create(
        account=cast.account, address="https://gone.example/", failures=7, updated_at=now, last_error=XSS
    )
    Endpoint.objects.create(
        account=cast.strangers_account, address="https://theirs.example/", failures=7, updated_at=now
    )

    html = ada.get(LIST).content.decode()

    assert "https://gone.example/" in html and "7 failures" in html and XSS not in html
    assert "theirs.example" not in html


@pytest.mark.parametrize("act", ["", "/resend"])
def test_a_strangers_delivery_is_not_found_and_noted(cleo: Client, cast: Cast, act: str) -> None:
    row = failed(cast)
    path = f"deliveries/{row.event_id}{act}"

    response = send(cleo, path) if act else cleo.get(f"{LIST}/{path}")

    assert response.status_code == 404
    assert Delivery.objects.get().state == "failed"
    assert AuditEvent.objects.filter(name="portal.foreign_id").count() == 1
    assert row.event_id not in cleo.get(LIST).content.decode()


def test_who_may_only_look_changes_nothing(viewer: Client, cast: Cast) -> None:
    row = failed(cast)

    assert viewer.get(LIST).status_code == 403
    for path in ("test", "secret", "resend-failed", f"deliveries/{row.event_id}/resend"):
        assert send(viewer, path, url="https://example.com/", overlap_s="0").status_code == 403
    assert Delivery.objects.get().state == "failed"
    assert not SigningSecret.objects.exists()
