"""Keys, jobs and webhooks in a real browser: what scripts and styles add to the pages."""

from __future__ import annotations

import re

import pytest

from tests.browser.conftest import DESKTOP, PHONE, Open, Watch, World, serious_faults
from tests.harness.http_client import Client

PAGES = ("/portal/keys", "/portal/keys/new", "/portal/jobs", "/portal/webhooks")


def listed_with(world: World, key: str) -> int:
    """The HTTP status of a request with this key."""
    with Client(world.appliance.port, key=key) as client:
        return client.get("/v1/jobs").status


def submitted(world: World, **fields: object) -> int:
    """The id of a job that a program of Ada's account asks for."""
    with Client(world.appliance.port, key=world.appliance.keys[0]) as client:
        answer = client.post("/v1/jobs", {"model": "drill", **fields})
    assert answer.status == 202, answer.body
    job: int = answer.json()["id"]
    return job


def text_of_new_key(page: object) -> str:
    found = re.search(r"dkr_\w{8}_\w{32}_\w{7}", page.inner_text("#new-key"))  # type: ignore[attr-defined]
    assert found is not None
    return found[0]


def test_a_key_is_made_replaced_and_ended(open_page: Open, world: World) -> None:
    page = open_page("/portal/keys")
    page.get_by_role("link", name="New key").first.click()
    page.fill("[name=name]", "browser test")
    page.get_by_role("button", name="Make the key").click()
    first = text_of_new_key(page)
    assert listed_with(world, first) == 200

    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="browser test").first.click()
    page.select_option("[name=overlap_s]", "3600")
    page.get_by_role("button", name="Replace").click()
    second = text_of_new_key(page)
    assert listed_with(world, first) == listed_with(world, second) == 200

    page.goto(f"/portal/keys/{second.split('_')[1]}")
    page.get_by_role("button", name="Revoke").first.click()
    page.locator("dialog[open]").get_by_role("button", name="Revoke").click()
    page.get_by_text("is revoked").wait_for()
    assert listed_with(world, second) == 401
    assert listed_with(world, first) == 200, "the old key has its hour"


def test_a_job_in_the_log_comes_to_its_end_by_itself(open_page: Open, world: World) -> None:
    page = open_page("/portal/jobs")
    job = submitted(world, prompt="a fox", steps=60)
    page.goto(f"/portal/jobs/{job}")
    page.locator("#live .tag", has_text="Succeeded").wait_for()

    page.locator(".pictures img").first.wait_for()
    page.goto("/portal/jobs")
    page.get_by_role("link", name=f"#{job}").wait_for()
    assert page.locator(f"tr:has-text('#{job}') .tag").inner_text() == "Succeeded"


def test_a_job_is_opened_in_the_playground(open_page: Open, world: World) -> None:
    page = open_page(f"/portal/jobs/{submitted(world, prompt='a fox in the log', seed=11)}")
    page.get_by_role("link", name="Open in the playground").click()

    page.wait_for_function(
        "() => document.querySelector('[data-field=prompt] textarea')?.value === 'a fox in the log'"
    )


def test_a_strangers_key_page_is_not_there(world: World) -> None:
    prefix = world.appliance.keys[1].split("_")[1]
    with Client(world.appliance.port) as client:
        cookie = {"Cookie": f"sessionid={world.people['ada']['session']}"}
        assert client.send("GET", f"/portal/keys/{prefix}", None, cookie).status == 404


def test_the_watch_sees_what_leaves_the_machine(open_page: Open, watch: Watch) -> None:
    """The control of all other tests here: without it their silence would mean nothing."""
    page = open_page("/portal/keys")
    with pytest.raises(Exception, match="ERR_FAILED"):
        page.goto("http://192.0.2.1/elsewhere")

    assert watch.faults == ["a request left the machine: http://192.0.2.1/elsewhere"]
    watch.faults.clear()


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("size", "theme"), [(DESKTOP, "dark"), (PHONE, "light")], ids=["desktop", "phone"])
def test_everybody_can_use_them(open_page: Open, path: str, size: dict[str, int], theme: str) -> None:
    page = open_page(path, size=size, theme=theme)

    assert serious_faults(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), (
        "nothing stands out sideways"
    )
