"""Which account a session looks at, and what each role may do there."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.http import Http404, HttpRequest
from django.test import RequestFactory
from pytest_django.fixtures import DjangoAssertNumQueries

from apps.accounts.choices import Role
from apps.accounts.current import SESSION_KEY, current_membership, switch_account
from apps.accounts.models import Account, Membership
from apps.accounts.roles import Permission, can, role_can, roles_with
from apps.audit.models import AuditEvent
from tests.cast import Cast
from tests.clocks import FrozenClock


def request_of(user: Any) -> HttpRequest:
    request = RequestFactory().get("/portal")
    request.user, request.session = user, SessionStore()
    return request


def test_the_membership_costs_one_query_a_request(
    cast: Cast, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    request = request_of(cast.ada)
    with django_assert_num_queries(1):
        for _ in range(3):
            membership = current_membership(request)
            assert membership is not None
            assert (membership.account.slug, membership.user.email) == ("ada", "ada@example.com")


def test_strangers_and_visitors_have_none(cast: Cast) -> None:
    assert current_membership(request_of(cast.otto)) is None
    assert current_membership(request_of(AnonymousUser())) is None


def test_a_chosen_account_stays_chosen_until_it_ends(cast: Cast, clock: FrozenClock) -> None:
    Membership.objects.create(
        account=cast.strangers_account, user=cast.ada, role="viewer", created_at=clock.now()
    )
    request = request_of(cast.ada)
    assert switch_account(request, cast.strangers_account.pk).role == "viewer"
    again = request_of(cast.ada)
    again.session[SESSION_KEY] = request.session[SESSION_KEY]
    found = current_membership(again)
    assert found is not None and found.account == cast.strangers_account
    Account.objects.filter(pk=cast.strangers_account.pk).update(is_active=False, closed_at=clock.now())
    last = request_of(cast.ada)
    last.session[SESSION_KEY] = request.session[SESSION_KEY]
    fallen_back = current_membership(last)
    assert fallen_back is not None and fallen_back.account == cast.account


def test_another_tenants_account_is_not_there_and_the_attempt_is_noted(cast: Cast) -> None:
    request = request_of(cast.cleo)
    with pytest.raises(Http404):
        switch_account(request, cast.account.pk)
    assert SESSION_KEY not in request.session
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.actor_label, event.subject_id) == (
        "portal.foreign_id",
        "cleo@example.com",
        str(cast.account.pk),
    )


@pytest.mark.parametrize(
    ("role", "allowed"),
    [
        ("owner", "view playground jobs keys billing team settings account"),
        ("admin", "view playground jobs keys billing team settings"),
        ("billing", "view billing"),
        ("developer", "view playground jobs keys"),
        ("viewer", "view jobs"),
    ],
)
def test_the_table_of_roles(role: str, allowed: str) -> None:
    held = {name for name in get_args(Permission) if role_can(Role(role), name)}
    assert held == set(allowed.split())
    assert can(Membership(role=role), "view")


def test_a_permission_that_there_is_not_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="there is no permission 'fly'"):
        role_can(Role.OWNER, "fly")  # type: ignore[arg-type]  # the mistake
    assert roles_with("billing") == {Role.OWNER, Role.ADMIN, Role.BILLING}
