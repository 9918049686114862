"""Takes pictures of pages in Chromium and notes what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.template.loader import render_to_string
from django.test import Client, RequestFactory
from playwright.sync_api import Browser, BrowserContext, Page, Response, sync_playwright

from apps.accounts.models import User
from tests.portal_screens.pages import DEVELOPER, HALFWAY, NEWCOMER, OWNER, SHOTS, Shot
from tests.portal_screens.seed import Seeded
from tests.portal_screens.seed_people import PASSWORD

CHROMIUM: Final = "/usr/bin/chromium"
WIDTHS: Final = (390, 1440)
HEIGHT: Final = 900
# Pages that are meant to be missing.
EXPECTED_STATUS: Final = {"not-found": 404, "join": 410, "forbidden": 403, "provider-failed": 401}


def take_all(
    url: str,
    seeded: Seeded,
    folder: Path,
    *,
    only: Sequence[str],
    themes: Sequence[str],
    languages: Sequence[str],
) -> list[str]:
    """Writes NAME-WIDTH-THEME.png files; returns what is wrong, a line each."""
    problems: list[str] = []
    chosen = [shot for shot in SHOTS if not only or any(word in shot.name for word in only)]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for language in languages:
            for theme in themes:
                for width in WIDTHS:
                    for who in {shot.who for shot in chosen}:
                        with _open(browser, url, theme=theme, width=width, language=language) as context:
                            _sign_in(context, url, _people(seeded).get(who), is_halfway=who == HALFWAY)
                            for shot in chosen:
                                if shot.who == who:
                                    name = f"{shot.name}-{width}-{theme}" + (
                                        "" if language == "en" else f"-{language}"
                                    )
                                    problems += _take(context, url, shot, seeded, folder / f"{name}.png")
        browser.close()
    return problems


def _open(browser: Browser, url: str, *, theme: str, width: int, language: str) -> BrowserContext:
    context = browser.new_context(
        viewport={"width": width, "height": HEIGHT},
        reduced_motion="reduce",
        locale=language,
        color_scheme=theme,
    )
    context.add_cookies([{"name": "darkroom_theme", "value": theme, "url": url}])
    return context


def _sign_in(context: BrowserContext, url: str, user: User | None, *, is_halfway: bool) -> None:
    if user is None:
        return
    client = Client(headers={"user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0"})
    client.post("/accounts/login/", {"login": user.email, "password": PASSWORD})
    if not is_halfway:
        client.force_login(user, backend=settings.AUTHENTICATION_BACKENDS[0])
        # Pages about security ask for the password, but for those who have typed it a moment ago.
        client.post("/accounts/reauthenticate/", {"password": PASSWORD})
    context.add_cookies(
        [
            {
                "name": settings.SESSION_COOKIE_NAME,
                "value": client.cookies[settings.SESSION_COOKIE_NAME].value,
                "url": url,
            }
        ]
    )


def _people(seeded: Seeded) -> dict[str, User]:
    return {
        OWNER: seeded.owner,
        NEWCOMER: seeded.newcomer,
        DEVELOPER: seeded.developer,
        HALFWAY: seeded.developer,
    }


def _show(page: Page, url: str, shot: Shot, seeded: Seeded) -> Response:
    """Visit the page; of one that no visit leads to, what its template makes."""
    address = url + shot.path.format(**seeded.ids)
    if shot.template:
        request = RequestFactory().get(shot.path)
        request.user = seeded.owner
        request.COOKIES |= {each["name"]: each["value"] for each in page.context.cookies()}
        way_on = f"{shot.path}#there"
        html = render_to_string(shot.template, {"url": way_on, "address": way_on}, request=request)
        page.route(address, lambda route: route.fulfill(body=html, content_type="text/html"))
    answer = page.goto(address, wait_until="networkidle")
    assert answer is not None  # only for a jump within a page
    if shot.submit:
        for field in page.locator(f"{shot.submit} input[required]").all():
            field.fill("Pictures of the shop")
        with page.expect_response(address) as submitted:
            page.locator(f"{shot.submit} button.btn-primary").click()
        page.wait_for_load_state("networkidle")
        return submitted.value
    return answer


def _take(context: BrowserContext, url: str, shot: Shot, seeded: Seeded, file: Path) -> list[str]:
    problems: list[str] = []
    page = context.new_page()
    page.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: problems.extend(_foreign(request.url, url)))
    answer = _show(page, url, shot, seeded)
    expected = EXPECTED_STATUS.get(shot.name, 200)
    if answer.status != expected:
        problems.append(f"answers {answer.status}")
    elif expected != 200:
        # The browser itself reports the missing page.
        problems.clear()
    problems += _too_wide(page)
    # As tall as the page: what sticks to the window is drawn once and whole.
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    page.screenshot(path=file)
    page.close()
    return [f"{file.stem}: {problem}" for problem in problems]


def _foreign(address: str, url: str) -> list[str]:
    parts = urlsplit(address)
    is_ours = parts.scheme in ("data", "blob") or address.startswith(url)
    return [] if is_ours else [f"asks {address}"]


def _too_wide(page: Page) -> list[str]:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return [f"is {wide} px wider than the window"] if wide > 0 else []
