"""Deliveries in the console: what was sent, what came back, and the way to send it again."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.audit.models import AuditEvent
from apps.core import clock as core_clock
from apps.webhooks.models import Delivery, Endpoint
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast

LIST = "/console/webhooks/delivery/"


@pytest.fixture
def otto(cast: Cast, client: Client) -> Client:
    """A browser in which Otto is signed in."""
    client.force_login(cast.otto)
    return client


def failed(cast: Cast) -> Delivery:
    row = queue_row(cast.account, url="https://example.com/secret-path")
    Delivery.objects.filter(pk=row.pk).update(
        body=b'{"note":"<b>"}', state="failed", ended_at=core_clock.now(), last_error="It timed out."
    )
    row.tries.create(
        started_at=core_clock.now(), duration_ms=30_000, error="It timed out.", answer="<script>"
    )
    return row


def test_the_list_names_hosts_and_not_paths(cast: Cast, otto: Client) -> None:
    failed(cast)
    html = otto.get(LIST).content.decode()
    assert "example.com" in html and "It timed out." in html
    assert "secret-path" not in html
    assert "1 delivery" in html and "Deliverys" not in html


def test_a_delivery_shows_its_message_and_each_attempt(cast: Cast, otto: Client) -> None:
    html = otto.get(f"{LIST}{failed(cast).pk}/change/").content.decode()
    assert "{&quot;note&quot;:&quot;&lt;b&gt;&quot;}" in html
    assert "<td>30000 ms</td><td>It timed out.</td><td>&lt;script&gt;</td>" in html


def test_troubled_endpoints_have_a_page(cast: Cast, otto: Client) -> None:
    Endpoint.objects.create(
        account=cast.account, address="https://example.com/", failures=7, updated_at=core_clock.now()
    )
    assert "https://example.com/" in otto.get("/console/webhooks/endpoint/").content.decode()


@pytest.mark.django_db(transaction=True)
def test_otto_sends_again_what_was_given_up(cast: Cast, client: Client) -> None:
    client.force_login(cast.otto)
    row = failed(cast)
    page = client.post(LIST, {"action": "replay", "_selected_action": [row.pk]}, follow=True)
    assert f"Delivery {row.event_id} will be sent again" in page.content.decode()
    assert Delivery.objects.get().state == "waiting"
    assert AuditEvent.objects.latest("id").actor_label == "otto@example.com"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", ["delivery", "endpoint"])
def test_otto_tests_an_endpoint(cast: Cast, client: Client, page: str) -> None:
    client.force_login(cast.otto)
    row = failed(cast)
    address = "https://example.com/secret-path"
    endpoint = Endpoint.objects.create(
        account=cast.account, address=address, failures=7, updated_at=core_clock.now()
    )
    chosen = row.pk if page == "delivery" else endpoint.pk

    shown = client.post(
        f"/console/webhooks/{page}/", {"action": "test", "_selected_action": [chosen]}, follow=True
    ).content.decode()

    test = Delivery.objects.latest("pk")
    assert (test.url, test.event, test.account_id, test.is_forced) == (
        address,
        "webhook.test",
        cast.account.pk,
        True,
    )
    # Django begins messages with a capital letter, which no id survives.
    assert f"The test {test.event_id} is on its way to example.com" in shown
    assert AuditEvent.objects.latest("id").actor_label == "otto@example.com"


@pytest.mark.django_db(transaction=True)
def test_an_address_that_may_not_be_tested_any_more_is_said(cast: Cast, client: Client) -> None:
    client.force_login(cast.otto)
    row = queue_row(cast.account, url="http://example.com/hook")

    shown = client.post(LIST, {"action": "test", "_selected_action": [row.pk]}, follow=True)

    assert "must begin with https://" in shown.content.decode()
    assert Delivery.objects.count() == 1
