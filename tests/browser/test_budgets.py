"""A hard budget in a real browser: it stops, and lets go once it is raised."""

from __future__ import annotations

from typing import Any

from tests.browser.conftest import Open, Watch, World
from tests.browser.seed import IMAGE_MICRO
from tests.browser.test_playground import begin, generate

BUDGETS = "section:has(> .panel-head #budgets)"


def set_budget(page: Any, dollars: str) -> None:
    """For the whole account, calls beyond it refused."""
    page.goto("/portal/billing")
    page.get_by_role("button", name="Set a budget").click()
    page.fill("#budget-limit", dollars)
    page.locator("#new-budget").get_by_role("button", name="Save").click()
    page.get_by_text("The budget is set.").wait_for()


def ask_for_an_image(page: Any) -> None:
    page.goto("/portal/playground")
    page.wait_for_selector("#playground[data-ready]")
    page.fill('[data-field="prompt"] textarea', "a fox that costs a cent")


def test_a_hard_budget_stops_spending_until_it_is_raised(open_page: Open, watch: Watch, world: World) -> None:
    watch.expected = ("Failed to load resource: the server responded with a status of 402",)
    page = begin(open_page, who="bert")
    assert IMAGE_MICRO == 10_000, "the budgets below are of one image and of five"
    set_budget(page, "0.01")
    ask_for_an_image(page)
    generate(page)

    page.click("#pg-submit")
    page.wait_for_selector("#pg-error:not([hidden])")
    assert "budget" in page.inner_text("#pg-error").lower()
    page.goto("/portal/billing")
    assert "100%" in page.inner_text(BUDGETS)

    set_budget(page, "0.05")
    assert "20%" in page.inner_text(BUDGETS)
    ask_for_an_image(page)
    generate(page)
