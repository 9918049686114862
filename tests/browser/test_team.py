"""A team in two real browsers: one invites, the other joins and sees what the role allows."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Open, Watch, World, link_in, newest_mail


def menu_of(page: Any) -> list[str]:
    return [text.strip() for text in page.locator("nav.menu .menu-link").all_inner_texts()]


def test_a_viewer_is_invited_and_does_not_see_billing(open_page: Open, watch: Watch, world: World) -> None:
    watch.expected = ("Failed to load resource: the server responded with a status of 403",)
    ada = open_page("/portal/team")
    ada.fill("[name=email]", "tove@example.com")
    ada.locator("form[action$='/team/invite'] select[name=role]").select_option("viewer")
    ada.get_by_role("button", name="Send the invitation").click()
    ada.get_by_text("tove@example.com gets a mail with a link.").wait_for()

    tove = open_page(link_in(newest_mail(world, "tove@example.com"), origin=world.origin), who="tove")
    tove.get_by_role("button", name="Accept").click()
    tove.wait_for_url("**/portal")
    tove.get_by_text("You are a member of Studio-0 now.").wait_for()
    assert "Billing" in menu_of(ada)
    assert "Usage" in menu_of(tove)
    assert not {"Billing", "API keys", "Team", "Settings", "Playground"} & set(menu_of(tove))
    answer = tove.goto("/portal/billing")
    assert answer.status == 403
    assert "$" not in tove.inner_text("body")

    ada.reload()
    ada.get_by_label("Role of tove@example.com").wait_for()


def test_an_invitation_is_for_its_address_alone(open_page: Open, world: World) -> None:
    ada = open_page("/portal/team")
    ada.fill("[name=email]", "somebody@example.com")
    ada.get_by_role("button", name="Send the invitation").click()
    ada.get_by_text("somebody@example.com gets a mail with a link.").wait_for()
    link = link_in(newest_mail(world, "somebody@example.com"), origin=world.origin)

    cleo = open_page(link, who="cleo")

    cleo.get_by_text("You are signed in as cleo@example.com.").wait_for()
    assert cleo.get_by_role("button", name="Accept").count() == 0
