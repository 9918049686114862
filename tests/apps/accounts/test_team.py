"""The team through its pages: invitations, roles, leaving; strangers. Races are in tests/concurrency."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from apps.accounts import invitations, members
from apps.accounts.choices import Role
from apps.accounts.models import Membership, User
from apps.accounts.services import add_member
from apps.accounts.sign_up_models import Invitation
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core import clock as core_clock
from apps.core.errors import Conflict
from apps.mails.models import Mail
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client


def of(cast: Cast, user: User) -> Membership:
    return Membership.objects.select_related("account", "user").get(account=cast.account, user=user)


def invite(cast: Cast, email: str = "dora@example.com", role: str = "developer") -> Any:
    return signed_in(cast.ada).post("/portal/team/invite", {"email": email, "role": role})


def token_of(mail: Mail) -> str:
    found = re.search(r"/portal/join/(\S+)", mail.text)
    assert found, mail.text
    return found[1]


def make_user(email: str) -> User:
    user = User(email=email, date_joined=core_clock.now())
    user.set_unusable_password()
    user.save()
    return user


def test_an_invited_person_signs_up_and_is_a_member_without_a_further_mail(cast: Cast) -> None:
    invite(cast)
    mail = Mail.objects.get()
    assert (mail.template, mail.to, mail.account_id) == ("invitation", ["dora@example.com"], cast.account.pk)
    guest = Client()
    page = guest.get(f"/portal/join/{token_of(mail)}")
    assert "Sign up to accept" in page.content.decode()
    answer = guest.post(
        "/accounts/signup/", {"email": "Dora@example.com", "password1": "violet tractor umbrella 77"}
    )
    assert (answer.status_code, answer["Location"]) == (302, "/portal")
    dora = User.objects.get(email="dora@example.com")
    assert list(Membership.objects.filter(user=dora).values_list("account__slug", "role")) == [
        ("ada", "developer")
    ]
    assert Mail.objects.filter(to=["dora@example.com"]).count() == 1
    assert Client().get(f"/portal/join/{token_of(mail)}").status_code == 410


def test_an_invitation_lets_no_other_address_in(cast: Cast) -> None:
    invite(cast)
    token = token_of(Mail.objects.get())
    guest = Client()
    guest.get(f"/portal/join/{token}")
    answer = guest.post(
        "/accounts/signup/", {"email": "mallory@example.com", "password1": "violet tractor umbrella 77"}
    )
    assert "This invitation is for another address." in answer.content.decode()
    page = signed_in(cast.cleo).get(f"/portal/join/{token}")
    assert "You are signed in as cleo@example.com" in page.content.decode()
    signed_in(cast.cleo).post(f"/portal/join/{token}")
    assert Membership.objects.filter(user=cast.cleo).count() == 1
    assert Invitation.objects.get().accepted_at is None


def test_a_user_accepts_with_a_click_once(cast: Cast) -> None:
    invite(cast, email="CLEO@example.com", role="viewer")
    token = token_of(Mail.objects.get())
    cleo = signed_in(cast.cleo)
    assert cleo.post(f"/portal/join/{token}")["Location"] == "/portal"
    assert of(cast, cast.cleo).role == "viewer"
    assert cleo.post(f"/portal/join/{token}").status_code == 410
    assert Membership.objects.filter(user=cast.cleo).count() == 2


def test_two_clicks_are_one_invitation(cast: Cast) -> None:
    invite(cast)
    answer = signed_in(cast.ada).post(
        "/portal/team/invite", {"email": "DORA@example.com", "role": "viewer"}, follow=True
    )
    assert "dora@example.com is invited already" in answer.content.decode()
    assert (Invitation.objects.count(), Mail.objects.count()) == (1, 1)
    member = signed_in(cast.ada).post(
        "/portal/team/invite", {"email": "Ben@Example.com", "role": "viewer"}, follow=True
    )
    assert "ben@example.com is a member already" in member.content.decode()


def test_sending_again_ends_the_old_link_and_taking_back_the_new_one(cast: Cast, clock: FrozenClock) -> None:
    invite(cast)
    invitation = Invitation.objects.get()
    old = token_of(Mail.objects.get())
    ada = signed_in(cast.ada)
    clock.advance(minutes=10)
    ada.post(f"/portal/team/invitations/{invitation.pk}/send")
    new = token_of(Mail.objects.order_by("-pk")[0])
    assert old != new
    assert [Client().get(f"/portal/join/{token}").status_code for token in (old, new)] == [410, 200]
    ada.post(f"/portal/team/invitations/{invitation.pk}/revoke")
    assert Client().get(f"/portal/join/{new}").status_code == 410


def test_letters_are_no_means_to_annoy_somebody(cast: Cast, clock: FrozenClock) -> None:
    invite(cast)
    invitation = Invitation.objects.get()
    ada = signed_in(cast.ada)
    ada.post(f"/portal/team/invitations/{invitation.pk}/send")
    ada.post(f"/portal/team/invitations/{invitation.pk}/revoke")
    invite(cast)
    assert (Mail.objects.count(), Invitation.objects.count()) == (1, 1)
    # Nor by another account.
    stranger = Membership.objects.select_related("account", "user").get(user=cast.cleo)
    with pytest.raises(Conflict, match="wait ten minutes"):
        invitations.invite(by=stranger, email="Dora@example.com", role=Role.VIEWER, now=clock.now())
    clock.advance(minutes=10)
    invite(cast)
    assert Mail.objects.count() == 2


def test_an_account_sends_twenty_letters_a_day(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, seats=100)
    by = of(cast, cast.ada)
    for number in range(20):
        invitations.invite(by=by, email=f"d{number}@example.com", role=Role.VIEWER, now=clock.now())
    with pytest.raises(Conflict, match="20 invitations a day"):
        invitations.invite(by=by, email="more@example.com", role=Role.VIEWER, now=clock.now())
    assert Invitation.objects.count() == 20
    clock.advance(days=1)
    invitations.invite(by=by, email="more@example.com", role=Role.VIEWER, now=clock.now())


def test_an_invitation_ends_after_seven_days(cast: Cast, clock: FrozenClock) -> None:
    invite(cast)
    token = token_of(Mail.objects.get())
    clock.advance(days=7, seconds=-1)
    assert Client().get(f"/portal/join/{token}").status_code == 200
    clock.advance(seconds=1)
    page = Client().get(f"/portal/join/{token}")
    assert page.status_code == 410 and "has expired" in page.content.decode()
    # The address can be invited anew.
    invite(cast)
    assert Invitation.objects.filter(revoked_at=None).count() == 1


def test_tokens_are_not_in_the_database(cast: Cast) -> None:
    invite(cast)
    token = token_of(Mail.objects.get())
    assert token not in str(list(Invitation.objects.values())) + str(list(AuditEvent.objects.values()))


@pytest.mark.parametrize(
    "path",
    [
        "/portal/team/invitations/{invitation}/send",
        "/portal/team/invitations/{invitation}/revoke",
        "/portal/team/members/{member}/role",
        "/portal/team/members/{member}/remove",
        "/portal/account/leave",
        "/portal/switch",
    ],
)
def test_strangers_get_nowhere_with_our_ids(cast: Cast, path: str) -> None:
    invite(cast)
    target = path.format(invitation=Invitation.objects.get().pk, member=of(cast, cast.ben).pk)
    fields = {"role": "owner", "account": str(cast.account.pk)}
    assert signed_in(cast.cleo).post(target, fields).status_code == 404
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.actor_label) == ("portal.foreign_id", "cleo@example.com")
    assert (of(cast, cast.ben).role, Invitation.objects.get().revoked_at) == ("developer", None)


@pytest.mark.parametrize(
    "path", ["/portal/team", "/portal/team/invite", "/portal/team/members/1/role", "/portal/account/close"]
)
def test_a_developer_does_not_run_the_team(cast: Cast, path: str) -> None:
    ben = signed_in(cast.ben)
    answer = ben.get(path) if path == "/portal/team" else ben.post(path, {"role": "owner"})
    assert answer.status_code == 403


def test_an_administrator_makes_no_owner(cast: Cast, clock: FrozenClock) -> None:
    add_member(account=cast.account, user=cast.ben, role=Role.ADMIN, actor=SYSTEM, now=clock.now())
    ben = signed_in(cast.ben)
    assert ben.post("/portal/team/invite", {"email": "x@example.com", "role": "owner"}).status_code == 400
    mine = of(cast, cast.ben).pk
    page = ben.post(f"/portal/team/members/{mine}/role", {"role": "owner"}, follow=True)
    assert "Only an owner may make somebody owner" in page.content.decode()
    ben.post(f"/portal/team/members/{of(cast, cast.ada).pk}/remove")
    assert {m.role for m in Membership.objects.filter(account=cast.account)} == {"owner", "admin"}


def test_the_last_owner_stays(cast: Cast) -> None:
    ada = signed_in(cast.ada)
    page = ada.post("/portal/account/leave", {"account": cast.account.pk}, follow=True)
    assert "An account needs an owner" in page.content.decode()
    ada.post(f"/portal/team/members/{of(cast, cast.ada).pk}/role", {"role": "viewer"})
    assert of(cast, cast.ada).role == "owner"


def test_a_removed_member_sees_nothing_more_and_hears_of_it(cast: Cast) -> None:
    ben = signed_in(cast.ben)
    assert ben.get("/portal").status_code == 200
    signed_in(cast.ada).post(f"/portal/team/members/{of(cast, cast.ben).pk}/remove")
    assert ben.get("/portal")["Location"] == "/portal/no-account"
    assert Mail.objects.get(template="member_removed").to == ["ben@example.com"]


def test_handing_over_makes_the_giver_an_administrator(cast: Cast, clock: FrozenClock) -> None:
    members.transfer_ownership(by=of(cast, cast.ada), member_id=of(cast, cast.ben).pk, now=clock.now())
    assert (of(cast, cast.ada).role, of(cast, cast.ben).role) == ("admin", "owner")
    assert Mail.objects.get(template="ownership_transferred").to == ["ben@example.com"]


def test_a_plan_with_two_seats_takes_no_third_person(cast: Cast) -> None:
    give_plan(cast.account, seats=2)
    page = signed_in(cast.ada).post(
        "/portal/team/invite", {"email": "x@example.com", "role": "viewer"}, follow=True
    )
    assert "All 2 seats of this account are taken" in page.content.decode()
    assert Invitation.objects.count() == 0


def test_names_are_text_on_every_page(cast: Cast, clock: FrozenClock) -> None:
    nasty = "<script>alert(1)</script>"
    User.objects.filter(pk=cast.ben.pk).update(name=nasty)
    cast.account.name = nasty
    cast.account.save()
    ada = signed_in(cast.ada)
    for path in ("/portal/team", "/portal/account", "/portal"):
        page = ada.get(path).content.decode()
        assert nasty not in page and "&lt;script&gt;alert(1)" in page
    invite(cast)
    assert nasty not in Mail.objects.get().html
