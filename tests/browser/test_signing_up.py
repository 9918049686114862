"""Somebody new in a real browser: from the start page to the first image."""

from __future__ import annotations

import re
from typing import Any

from tests.browser.conftest import Open, World, link_in, newest_mail
from tests.browser.seed import PASSWORD
from tests.harness.http_client import Client

ADDRESS, SECRET = "nina@example.com", "five photographs of one lighthouse"


def make_image_with(world: World, key: str) -> dict[str, Any]:
    """The job of a program that calls with `key`, once it has ended."""
    with Client(world.appliance.port, key=key) as client:
        fields: dict[str, object] = {"model": "drill", "prompt": "a first fox", "width": 128, "height": 128}
        answer = client.post("/v1/jobs", fields, Prefer="wait=60")
    assert answer.status == 200, answer.body
    job: dict[str, Any] = answer.json()
    return job


def sign_in(page: Any, address: str, password: str) -> None:
    page.fill("[name=login]", address)
    page.fill("[name=password]", password)
    page.locator("main form").get_by_role("button", name="Sign in").first.click()


def sign_up(page: Any, world: World) -> None:
    """From the start page to the dashboard."""
    page.get_by_role("link", name="Sign up").first.click()
    page.fill("[name=email]", ADDRESS)
    page.fill("[name=account_name]", "Nina's fotos")
    page.fill("[name=password1]", "password")
    page.locator("main form").get_by_role("button", name="Sign up").click()
    # A password that everybody uses is refused, with the reason.
    page.locator(".field-error").first.wait_for()
    page.fill("[name=password1]", SECRET)
    page.locator("main form").get_by_role("button", name="Sign up").click()
    page.wait_for_url("**/accounts/confirm-email/")
    page.goto(link_in(newest_mail(world, ADDRESS), origin=world.origin))
    # The browser that has signed up is in; it need not type the password again.
    page.get_by_role("button", name="Confirm").click()


def test_from_the_start_page_to_the_first_image(open_page: Open, world: World) -> None:
    page = open_page("/", who=None)
    sign_up(page, world)
    page.wait_for_url("**/portal")

    page.get_by_role("link", name="Create a key").click()
    page.fill("[name=name]", "first program")
    page.get_by_role("button", name="Make the key").click()
    key = re.search(r"dkr_\w{8}_\w{32}_\w{7}", page.inner_text("#new-key"))
    assert key is not None
    assert make_image_with(world, key[0])["state"] == "succeeded"

    page.goto("/portal/jobs")
    page.locator("tr .tag", has_text="Succeeded").wait_for()
    assert page.get_by_role("heading", level=1).inner_text() == "Jobs"


def test_a_password_opens_the_portal_and_a_wrong_one_does_not(open_page: Open) -> None:
    page = open_page("/portal/usage", who=None)
    page.wait_for_url("**/accounts/login/**")
    sign_in(page, "cleo@example.com", "not it")
    page.locator("main .notice-bad, main [role=alert]").first.wait_for()

    sign_in(page, "CLEO@example.com", PASSWORD)
    page.wait_for_url("**/portal/usage")
