"""Who may open which page: one table, every role."""

from __future__ import annotations

import pytest
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.models import Membership
from tests.apps.portal.conftest import signed_in
from tests.cast import Cast

EVERYBODY = frozenset(Role)
PAGES = {
    "/portal": EVERYBODY,
    "/portal/usage": EVERYBODY,
    "/portal/usage/export.csv": EVERYBODY,
    "/portal/account": EVERYBODY,
    "/portal/playground": {Role.OWNER, Role.ADMIN, Role.DEVELOPER},
    "/portal/jobs": {Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.VIEWER},
    "/portal/keys": {Role.OWNER, Role.ADMIN, Role.DEVELOPER},
    "/portal/webhooks": {Role.OWNER, Role.ADMIN, Role.DEVELOPER},
    "/portal/billing": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/billing/plans": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/billing/statement": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/team": {Role.OWNER, Role.ADMIN},
    "/portal/settings": {Role.OWNER, Role.ADMIN},
}
POSTS = {
    "/portal/billing/top-up": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/billing/coupon": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/billing/budgets": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/billing/cancel": {Role.OWNER, Role.ADMIN, Role.BILLING},
    "/portal/settings": {Role.OWNER, Role.ADMIN},
}


def browser_of(cast: Cast, role: Role) -> Client:
    Membership.objects.filter(user=cast.ben).update(role=role)
    return signed_in(cast.ben)


@pytest.mark.parametrize("role", list(Role))
def test_a_role_opens_its_pages_and_no_others(cast: Cast, role: Role) -> None:
    browser = browser_of(cast, role)

    answers = {path: browser.get(path).status_code for path in PAGES}

    assert answers == {path: 200 if role in roles else 403 for path, roles in PAGES.items()}


@pytest.mark.parametrize("role", list(Role))
def test_a_role_sends_its_forms_and_no_others(cast: Cast, role: Role) -> None:
    browser = browser_of(cast, role)

    refused = {path for path in POSTS if browser.post(path).status_code == 403}

    assert refused == {path for path, roles in POSTS.items() if role not in roles}


@pytest.mark.parametrize("role", list(Role))
def test_the_menu_has_what_the_role_may_open(cast: Cast, role: Role) -> None:
    html = browser_of(cast, role).get("/portal").content.decode()
    menu = html.partition('<nav class="menu"')[2].partition("</nav>")[0]

    for path, roles in PAGES.items():
        if path in ("/portal/account", "/portal/usage/export.csv") or path.count("/") > 2:
            continue
        assert (f'href="{path}"' in menu) is (role in roles), path


@pytest.mark.parametrize("path", [*PAGES, *POSTS])
def test_nobody_in_particular_is_sent_to_sign_in_and_back(client: Client, cast: Cast, path: str) -> None:
    response = client.get(path) if path in PAGES else client.post(path)

    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/?next=%2Fportal")


def test_pages_are_not_kept_by_browsers(cast: Cast) -> None:
    response = signed_in(cast.ada).get("/portal")

    assert "no-store" in response["Cache-Control"]
    assert "private" in response["Cache-Control"]


def test_a_page_of_a_role_without_permission_says_so_in_the_portals_look(cast: Cast) -> None:
    response = browser_of(cast, Role.VIEWER).get("/portal/billing")

    assert response.status_code == 403
    assert "This is not for your role" in response.content.decode()
