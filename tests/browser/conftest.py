"""A whole appliance and a real Chromium before it. What leaves the machine, or errs in the console, fails.

Debian's browser is used; where there is none, these tests are skipped with a reason.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fake_stripe.fake import Fake
from tests.fake_stripe.server import fake_stripe as running_fake
from tests.harness.appliance import Appliance, drill_folder

CHROMIUM = Path("/usr/bin/chromium")
STEP_MS = 20.0
"""Of the fake runtime: slow enough that a job can be seen working."""
TIMEOUT_MS = 60_000
"""Long: other processes may keep this machine busy, and waiting that succeeds costs nothing."""
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}


# Without slots: Playwright hangs marks of its own on whoever listens.
@dataclass
class Watch:
    """What a page did that it must not do."""

    origin: str
    faults: list[str] = field(default_factory=list)
    expected: tuple[str, ...] = ()
    """Beginnings of console messages that a test provokes."""
    beyond: tuple[str, ...] = ()
    """Other servers that a test's pages may ask: the fake Stripe."""

    def route(self, route: Any) -> None:
        """Lets requests to the appliance through, and nothing else."""
        url = route.request.url
        parts = urlsplit(url)
        if parts.scheme in ("data", "blob") or f"{parts.scheme}://{parts.netloc}" in (
            self.origin,
            *self.beyond,
        ):
            route.continue_()
            return
        self.faults.append(f"a request left the machine: {url}")
        route.abort()

    def console(self, message: Any) -> None:
        if message.type == "error" and not message.text.startswith(self.expected or ("\0",)):
            self.faults.append(f"console: {message.text} ({message.location.get('url')})")

    def page_error(self, error: Any) -> None:
        self.faults.append(f"script: {error}")


@dataclass(frozen=True, slots=True)
class World:
    """The appliance with the people that `seed` has made."""

    appliance: Appliance
    people: dict[str, dict[str, str]]
    stripe: Fake

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.appliance.port}"


@pytest.fixture(scope="package")
def chromium() -> Path:
    """Debian's browser; Playwright's own are never downloaded."""
    pytest.importorskip("playwright.sync_api", reason="Playwright is missing: see [dev] of pyproject.toml")
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is missing: apt-get install chromium")
    return CHROMIUM


@pytest.fixture(scope="package")
def world(chromium: Path) -> Iterator[World]:
    """One for all tests: what others have made in it stays."""
    with running_fake(start=int(time.time()), is_running=True) as stripe, drill_folder() as folder:
        settings = {
            "DARKROOM_STRIPE_API_BASE": stripe.url,
            "DARKROOM_STRIPE_SECRET_KEY": stripe.secret_key,
            "DARKROOM_STRIPE_WEBHOOK_SECRET": stripe.webhook_secret,
        }
        with Appliance(
            folder, step_ms=STEP_MS, accounts=2, settings=settings, fsync=False, has_housekeeping=True
        ) as appliance:
            people = json.loads(appliance.run_python("-m", "tests.browser.seed"))
            yield World(appliance=appliance, people=people, stripe=stripe)


@pytest.fixture(scope="package")
def browser(chromium: Path) -> Iterator[Any]:
    """Ends with the package: its event loop would keep Django from the database in other tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Root has no sandbox, and a container little shared memory.
        running = playwright.chromium.launch(
            executable_path=str(chromium), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield running
        running.close()


@pytest.fixture
def watch(world: World) -> Watch:
    return Watch(origin=world.origin)


Open = Callable[..., Any]
"""`open_page(path, who="ada", size=DESKTOP, theme="light", locale="en-GB")` gives a Playwright page."""


@pytest.fixture
def open_page(world: World, browser: Any, watch: Watch) -> Iterator[Open]:
    """Opens pages as somebody who is signed in, or as nobody (`who=None`); checks them all at the end."""
    contexts = []

    def open_as(
        path: str,
        *,
        who: str | None = "ada",
        size: dict[str, int] = DESKTOP,
        theme: str = "light",
        locale: str = "en-GB",
    ) -> Any:
        context = browser.new_context(
            base_url=world.origin,
            viewport=size,
            color_scheme=theme,
            locale=locale,
            # Colours that are still on their way would be judged half-way.
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(TIMEOUT_MS)
        context.route("**/*", watch.route)
        if who is not None:
            context.add_cookies(
                [{"name": "sessionid", "value": world.people[who]["session"], "url": world.origin}]
            )
        page = context.new_page()
        page.on("console", watch.console)
        page.on("pageerror", watch.page_error)
        page.goto(path)
        return page

    yield open_as
    for context in contexts:
        context.close()
    assert watch.faults == []


def newest_mail(world: World, address: str) -> str:
    """The text of the last mail to `address`; it waits in the outbox, since there is no mail server."""
    rows = world.appliance.query(
        "SELECT text FROM mails_mail WHERE mails_mail.to = %s::jsonb ORDER BY id DESC LIMIT 1",
        [json.dumps([address])],
    )
    assert rows, f"there is no mail to {address}"
    return str(rows[0][0])


def link_in(mail: str, *, origin: str) -> str:
    """The path of the one link of a mail, below the appliance's own address."""
    found = re.findall(rf"{re.escape(origin)}(\S+)", mail)
    assert len(found) == 1, mail
    return str(found[0])


def serious_faults(page: Any, *rules: str) -> list[str]:
    """What axe finds on a page that is serious or critical, one line each; by all rules, or those named."""
    from axe_playwright_python.sync_playwright import Axe

    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = {"type": "rule", "values": list(rules)}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{each['impact']}: {each['id']}: {each['help']} {[node['target'] for node in each['nodes']][:4]}"
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
