"""The list of the browsers in which somebody is signed in, and signing them out from afar."""

from __future__ import annotations

from typing import Any

from allauth.usersessions.models import UserSession
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.services import add_member, create_operator, set_password
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from tests.cast import OTTO_PASSWORD, Cast
from tests.clocks import FrozenClock

LIST = "/accounts/sessions/"
ENDED = "accounts.user.session_ended"


def sign_in(number: int, agent: str, *, email: str = "otto@example.com") -> Client:
    client = Client(REMOTE_ADDR=f"192.0.2.{number}", headers={"user-agent": agent})
    answer = client.post("/accounts/login/", {"login": email, "password": OTTO_PASSWORD})
    assert answer["Location"] == "/portal"
    return client


def is_in(client: Client) -> bool:
    return client.get("/portal/account").status_code == 200


def session_at(number: int) -> UserSession:
    return UserSession.objects.get(ip=f"192.0.2.{number}")


def end(client: Client, session_id: int) -> Any:
    return client.post(f"/portal/account/sessions/{session_id}/end")


def test_one_browser_is_signed_out_from_another(cast: Cast) -> None:
    here, lost, desk = sign_in(1, "Here/1"), sign_in(2, "Lost <b>phone</b>"), sign_in(3, "Desk/3")
    page = here.get(LIST).content.decode()
    assert "Here/1" in page and "Lost &lt;b&gt;phone" in page and "192.0.2.3" in page
    # The present one is marked, and is not offered.
    assert page.count('/end"') == 2 and f"/sessions/{session_at(1).pk}/end" not in page

    assert end(here, session_at(2).pk)["Location"] == LIST

    assert [is_in(here), is_in(lost), is_in(desk)] == [True, False, True]
    assert "192.0.2.2" not in here.get(LIST).content.decode()
    [event] = AuditEvent.objects.filter(name=ENDED)
    assert event.data == {"address": "192.0.2.2", "browser": "Lost <b>phone</b>"}


def test_all_other_browsers_are_signed_out_at_once(cast: Cast) -> None:
    here, lost, desk = sign_in(1, "a"), sign_in(2, "b"), sign_in(3, "c")
    here.post(LIST)
    assert [is_in(here), is_in(lost), is_in(desk)] == [True, False, False]
    assert AuditEvent.objects.filter(name=ENDED).count() == 2


def test_ones_own_browser_is_signed_out_by_the_usual_way(cast: Cast) -> None:
    here = sign_in(1, "a")
    assert end(here, session_at(1).pk)["Location"] == "/accounts/logout/"
    assert is_in(here)


def test_nobody_signs_somebody_else_out(cast: Cast, clock: FrozenClock) -> None:
    """Not even a colleague of the same account."""
    made = create_operator(email="olga@example.com", password=OTTO_PASSWORD, actor=SYSTEM, now=clock.now())
    for user in (made.user, cast.otto):
        add_member(account=cast.account, user=user, role=Role.OWNER, actor=SYSTEM, now=clock.now())
    olga, otto = sign_in(2, "Olga's", email="olga@example.com"), sign_in(1, "Otto's")
    for session_id in (session_at(2).pk, 10**9):
        assert end(otto, session_id).status_code == 404
    assert is_in(olga)
    assert AuditEvent.objects.filter(name="portal.foreign_id").count() == 2
    assert end(Client(), session_at(2).pk)["Location"].startswith("/accounts/login/")


def test_a_new_password_signs_every_other_browser_out(cast: Cast, clock: FrozenClock) -> None:
    lost = sign_in(1, "a")
    set_password(user=cast.otto, password="violet tractor umbrella 77", actor=SYSTEM, now=clock.now())
    assert not is_in(lost)
