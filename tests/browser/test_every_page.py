"""Every page in a real browser: for everybody, by keyboard, and in German."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Open, Watch, World, serious_faults
from tests.browser.seed import PASSWORD
from tests.browser.test_signing_up import sign_in
from tests.harness.http_client import Client
from tests.saml_idp import SSO_URL

OPEN_PAGES = (
    "/",
    "/pricing",
    "/accounts/login/",
    "/accounts/signup/",
    "/accounts/password/reset/",
    "/accounts/password/reset/done/",
    "/accounts/confirm-email/",
    "/accounts/confirm-email/unknown/",
    "/accounts/password/reset/key/1-unknown/",
    "/accounts/password/reset/key/done/",
    "/accounts/inactive/",
    "/accounts/saml/acme/login/",
    "/accounts/3rdparty/login/cancelled/",
    "/accounts/3rdparty/login/error/",
    "/portal/join/unknown",
    "/portal/awaiting-approval",
)
PORTAL_PAGES = (
    "/portal",
    "/portal/playground",
    "/portal/jobs",
    "/portal/keys",
    "/portal/keys/new",
    "/portal/webhooks",
    "/portal/usage",
    "/portal/billing",
    "/portal/billing/plans",
    "/portal/billing/plans/standard",
    "/portal/billing/statement",
    "/portal/team",
    "/portal/settings",
    "/portal/account",
    "/portal/nothing-here",
)
SIGN_IN_PAGES = (
    "/accounts/email/",
    "/accounts/password/change/",
    "/accounts/2fa/",
    "/accounts/2fa/totp/activate/",
    "/accounts/2fa/webauthn/",
    "/accounts/2fa/webauthn/add/",
    "/accounts/reauthenticate/",
    "/accounts/sessions/",
    "/accounts/3rdparty/",
    "/accounts/logout/",
)
# Of somebody who has an app, a key and recovery codes.
SECOND_FACTOR_PAGES = (
    "/accounts/2fa/",
    "/accounts/2fa/totp/deactivate/",
    "/accounts/2fa/recovery-codes/",
    "/accounts/2fa/recovery-codes/generate/",
    "/accounts/2fa/webauthn/",
    "/accounts/2fa/reauthenticate/",
    "/accounts/2fa/webauthn/reauthenticate/",
)
REFUSED = (
    "Failed to load resource: the server responded with a status of 401",
    "Failed to load resource: the server responded with a status of 404",
    "Failed to load resource: the server responded with a status of 410",
)
COLOURS_ARE_THERE = """() => document.documentElement.dataset.bsTheme === 'dark'
    && !document.getAnimations().some(each => each.transitionProperty?.endsWith('color'))"""
"""Dark, and no colour still on its way; a bar that shows a job's progress may go on moving."""
SAME_IN_GERMAN = frozenset({"Darkroom", "Dashboard", "Team", "Webhooks", "Standard", "Small", "Unlimited"})


def faults_of(page: Any, paths: tuple[str, ...]) -> list[str]:
    """What axe has against pages, in light by all its rules and in dark for what dark changes."""
    found = []
    for path in paths:
        page.emulate_media(color_scheme="light")
        answer = page.goto(path)
        if answer.status >= 500:
            found.append(f"{path}: answers {answer.status}")
        if urlsplit(page.url).path != path:
            found.append(f"{path}: leads to {page.url}, so it is not looked at")
        found += [f"{path}: {fault}" for fault in serious_faults(page)]
        page.emulate_media(color_scheme="dark")
        page.wait_for_function(COLOURS_ARE_THERE)
        found += [f"{path}, dark: {fault}" for fault in serious_faults(page, "color-contrast")]
    return found


def test_everybody_can_use_the_open_pages(open_page: Open, watch: Watch) -> None:
    watch.expected = REFUSED

    assert faults_of(open_page("/", who=None), OPEN_PAGES) == []


def test_everybody_can_use_the_portal(open_page: Open, watch: Watch, world: World) -> None:
    watch.expected = REFUSED
    prefix = world.appliance.keys[0].split("_")[1]
    with Client(world.appliance.port, key=world.appliance.keys[0]) as client:
        job = client.post("/v1/jobs", {"model": "drill", "prompt": "a fox for all"}).json()["id"]

    pages = (*PORTAL_PAGES, f"/portal/jobs/{job}", f"/portal/keys/{prefix}")
    page = open_page("/portal")

    assert faults_of(page, pages) == []
    # What no fixed address leads to: a key that is shown once, the jobs of an invoice, and a delivery.
    page.goto("/portal/keys/new")
    page.fill("#id_name", "For all")
    page.locator("main form button.btn-primary").click()
    page.wait_for_selector("code")
    assert serious_faults(page) == []
    page.goto("/portal/billing")
    page.locator("a[href^='/portal/billing/card-invoices/']").first.click()
    page.wait_for_url("**/card-invoices/*/jobs")
    assert serious_faults(page) == []
    page.goto("/portal/webhooks")
    page.fill("input[name=url]", "https://example.com/hook")
    page.locator("form[action$='/webhooks/test'] button").click()
    page.wait_for_url("**/portal/webhooks/deliveries/*")
    assert serious_faults(page) == []


def test_everybody_can_use_the_pages_about_signing_in(open_page: Open) -> None:
    page = open_page("/accounts/login/", who=None)
    sign_in(page, "vera@example.com", PASSWORD)
    page.wait_for_url("**/portal")
    type_the_password_again(page)

    assert faults_of(page, SIGN_IN_PAGES) == []


def type_the_password_again(page: Any) -> None:
    """Pages about security ask for it, unless it was typed a moment ago."""
    page.goto("/accounts/reauthenticate/?next=/accounts/2fa/")
    page.fill("[name=password]", PASSWORD)
    page.locator("main form button.btn-primary").click()
    page.wait_for_url("**/accounts/2fa/")


def test_everybody_can_use_the_pages_of_second_factors(open_page: Open, world: World) -> None:
    page = open_page("/accounts/login/", who=None)
    sara = world.people["sara"]
    sign_in(page, sara["email"], PASSWORD)
    page.wait_for_url("**/accounts/2fa/authenticate/")
    assert serious_faults(page) == []
    page.fill("[name=code]", sara["code"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/portal")
    type_the_password_again(page)

    assert faults_of(page, SECOND_FACTOR_PAGES) == []
    page.goto("/accounts/2fa/webauthn/")
    hrefs = page.eval_on_selector_all("main td a", "links => links.map(link => link.getAttribute('href'))")
    assert len(hrefs) == 2, "to rename the key, and to remove it"
    assert faults_of(page, tuple(hrefs)) == []


def test_everybody_can_use_the_page_on_the_way_to_an_organisations_sign_in(open_page: Open) -> None:
    page = open_page("/accounts/login/", who=None)
    # A browser stays where it is when the next page does not come.
    page.route(f"{SSO_URL}*", lambda route: route.abort("aborted"))
    page.get_by_role("button", name="Acme").click()
    page.get_by_role("heading", name="Sign-in of your organisation").wait_for()

    assert page.get_by_role("link", name="Continue").get_attribute("href").startswith(SSO_URL)
    assert serious_faults(page) == []


def focused(page: Any) -> str:
    """What has the keyboard: its id, or its words."""
    return str(page.evaluate("() => document.activeElement.id || document.activeElement.textContent.trim()"))


def test_the_keyboard_skips_the_menu(open_page: Open) -> None:
    page = open_page("/portal/usage")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"

    page.keyboard.press("Enter")
    page.wait_for_function("() => document.activeElement.id === 'main'")


def test_the_keyboard_opens_and_closes_the_menu_of_a_phone(open_page: Open) -> None:
    page = open_page("/portal/usage", size=PHONE)
    button = page.get_by_role("button", name="Open the menu")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#sidebar.show:not(.showing)")
    assert page.evaluate("() => document.getElementById('sidebar').contains(document.activeElement)")

    page.keyboard.press("Escape")
    page.wait_for_selector("#sidebar:not(.show):not(.hiding)", state="attached")
    page.wait_for_function("() => document.activeElement.getAttribute('aria-controls') === 'sidebar'")


def test_a_dialog_keeps_the_keyboard_and_gives_it_back(open_page: Open) -> None:
    page = open_page("/portal/billing")
    button = page.get_by_role("button", name="Set a budget")
    button.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#new-budget[open]")
    for _ in range(12):
        page.keyboard.press("Tab")
        # Between the last of the dialog and its first the browser's own bar has a turn: the body has it then.
        assert page.evaluate(
            "() => document.activeElement === document.body"
            " || document.getElementById('new-budget').contains(document.activeElement)"
        )

    page.keyboard.press("Escape")
    page.wait_for_selector("#new-budget:not([open])", state="attached")
    assert focused(page) == "Set a budget"


def english_headings(world: World, path: str) -> set[str]:
    """As the server says them to who asks for English."""
    cookie = {"Cookie": f"sessionid={world.people['ada']['session']}", "Accept-Language": "en"}
    with Client(world.appliance.port) as client:
        text = client.send("GET", path, None, cookie).body.decode()
    return {
        re.sub(r"<[^>]+>|\s+", " ", found).strip() for found in re.findall(r"(?s)<h[123][^>]*>(.*?)</h", text)
    }


def test_a_walk_through_the_menu_in_german(open_page: Open, world: World) -> None:
    page = open_page("/portal", locale="de-DE")
    paths = page.eval_on_selector_all(
        "nav.menu a[href^='/portal']", "links => links.map(link => link.getAttribute('href'))"
    )
    assert len(paths) >= 9, "every page of the menu"

    for path in paths:
        page.locator(f"nav.menu a[href='{path}']").click()
        page.wait_for_url(f"**{path}")
        assert page.get_attribute("html", "lang") == "de"
        shown = {text.strip() for text in page.locator("h1, h2, h3").all_inner_texts() if text.strip()}
        assert shown, path
        assert shown & english_headings(world, path) <= SAME_IN_GERMAN, path


@pytest.mark.parametrize("path", ["/portal", "/portal/billing", "/portal/team", "/accounts/signup/"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_stands_out_sideways(open_page: Open, path: str, size: dict[str, int]) -> None:
    page = open_page(path, size=size, who=None if path.startswith("/accounts") else "ada")

    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
