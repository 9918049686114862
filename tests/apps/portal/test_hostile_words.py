"""Every text field of every form gets words that would run, and no page runs them.

The forms are read from the pages themselves: a new field is tried without being named here.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any, Final
from uuid import uuid4

from django.test import Client
from django.urls import NoReverseMatch, reverse

from apps.accounts.sign_up_models import SignUpSettings
from apps.portal.urls import PAGES
from tests.apps.portal.test_escaping import inline_code
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast

SCRIPT: Final = "<script>alert(7)</script>"
WORDS: Final = (
    SCRIPT,
    "\"'><img src=x onerror=alert(7)>",
    "javascript:alert(7)",
    f"https://example.com/\"'>{SCRIPT}",
    'x"onmouseover="alert(7)@example.com',
)
TYPED: Final = frozenset({"text", "search", "url", "email", "tel", "password", "textarea"})
LEAVING: Final = (
    "/portal/sign-out",
    "/portal/switch",
    "/accounts/logout/",
    "/language",
    "/portal/account/leave",
)
ACCOUNT_PAGES: Final = (
    "/accounts/email/",
    "/accounts/password/set/",
    "/accounts/sessions/",
    "/accounts/2fa/",
    "/accounts/3rdparty/",
)


class Forms(HTMLParser):
    """The forms that post, each with its address, its fields and which of those are typed."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self._open = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        name = has.get("name") or ""
        if tag == "form":
            self._open = (has.get("method") or "").lower() == "post"
            if self._open:
                self.found.append((has.get("action") or "", {}, []))
        elif self._open and name and tag in ("input", "textarea", "select"):
            _action, fields, typed = self.found[-1]
            kind = "textarea" if tag == "textarea" else has.get("type") or "text"
            if tag != "select" and kind in TYPED:
                typed.append(name)
            elif kind not in ("checkbox", "radio") or "checked" in has:
                fields[name] = has.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "form"


def paths(cast: Cast, event_id: str) -> list[str]:
    """Every page of the portal that is seen by its address alone, and those of one key and one delivery."""
    found = ["/portal", *ACCOUNT_PAGES, f"/portal/keys/{cast.key.prefix}"]
    found.append(f"/portal/webhooks/deliveries/{event_id}")
    for page in PAGES:
        try:
            found.append(reverse(f"portal:{page.name}") if page.name else "/portal")
        except NoReverseMatch:
            continue
    return found


def forms_of(browser: Client, pages: list[str]) -> list[tuple[str, dict[str, str], list[str]]]:
    forms = []
    for path in pages:
        answer = browser.get(path)
        if answer.status_code == 200 and "text/html" in answer["Content-Type"]:
            parser = Forms()
            parser.feed(answer.content.decode())
            forms += [(action or path, fields, typed) for action, fields, typed in parser.found if typed]
    return [form for form in forms if not form[0].startswith(LEAVING)]


def check(answer: Any, where: str) -> int:
    """How often the words stand there as words (Any: the test client's answer)."""
    if "text/html" not in answer.get("Content-Type", ""):
        return 0
    html: str = answer.content.decode()
    assert SCRIPT not in html and "<img src=x" not in html, where
    assert inline_code(html) == [], where
    return html.count("alert(7)")


def test_what_is_typed_into_any_field_runs_on_no_page(ada: Client, cast: Cast) -> None:
    SignUpSettings.objects.create(pk=1)
    pages = paths(cast, queue_row(cast.account, url="https://example.com/hook").event_id)
    forms = forms_of(ada, pages)
    seen = 0

    for action, fields, typed in forms:
        for words in WORDS:
            token = {"token": str(uuid4())} if "token" in fields else {}
            sent = fields | dict.fromkeys(typed, words) | token
            seen += check(ada.post(action, sent), f"answer of {action}")
    for path in pages:
        seen += check(ada.get(path), path)

    # Without these, forms that were not found and pages that show nothing would pass.
    assert {action for action, _fields, _typed in forms} >= {
        "/portal/settings",
        "/portal/keys/new",
        "/portal/team/invite",
        "/portal/account/profile",
        "/portal/billing/coupon",
        "/portal/billing/budgets",
        "/portal/webhooks/test",
    }
    assert seen > 20
