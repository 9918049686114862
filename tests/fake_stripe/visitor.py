"""A person in front of the hosted pages: sends their forms over HTTP and says where the browser goes next."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from tests.fake_stripe.cards import GOOD_CARD
from tests.fake_stripe.fake import Fake


class PageRefused(Exception):
    """The page said no; the text is the page's."""


@dataclass(frozen=True, slots=True)
class Seen:
    status: int
    location: str
    body: str


@dataclass(frozen=True, slots=True)
class Visitor:
    """Every method that sends a form raises PageRefused where the page says no, and nothing went on."""

    fake: Fake

    def visit(self, url: str, form: dict[str, str] | None = None) -> Seen:
        """GET, or POST of a form; does not follow redirects. Addresses of other hosts are not visited."""
        parts = urlsplit(url)
        if not url.startswith(self.fake.url):
            raise ValueError(f"{url} is no page of the fake's")
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=30)
        try:
            if form is None:
                connection.request("GET", parts.path)
            else:
                headers = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request("POST", parts.path, body=urlencode(form), headers=headers)
            got = connection.getresponse()
            return Seen(got.status, got.getheader("Location") or "", got.read().decode())
        finally:
            connection.close()

    def _submit(self, url: str, form: dict[str, str]) -> str:
        seen = self.visit(url, form)
        if seen.status != 303:
            raise PageRefused(seen.body)
        return seen.location

    def pay(self, url: str, *, card: str = GOOD_CARD, approves: bool = True, **typed: str) -> str:
        """At Checkout, through the bank's challenge if it comes; where the browser ends.

        `typed`: name, email, country, promotion_code, exp_month, exp_year.
        """
        target = self._submit(url, {"action": "pay", "number": card, **typed})
        return self._answer_if_asked(target, approves=approves)

    def begin_payment(self, url: str, *, card: str) -> str:
        """As `pay`, but the bank's challenge is left unanswered: its address."""
        return self._submit(url, {"action": "pay", "number": card})

    def answer(self, url: str, *, approves: bool) -> str:
        """On the page of the bank's challenge."""
        return self._submit(url, {"action": "approve" if approves else "refuse"})

    def _answer_if_asked(self, target: str, *, approves: bool) -> str:
        return self.answer(target, approves=approves) if "/challenge/" in target else target

    def go_back(self, url: str) -> str:
        """Leaves Checkout without paying."""
        return self._submit(url, {"action": "cancel"})

    def change_plan(self, portal_url: str, subscription: str, price: str) -> str:
        return self._submit(portal_url, {"action": "change", "subscription": subscription, "price": price})

    def cancel_plan(self, portal_url: str, subscription: str) -> str:
        return self._submit(portal_url, {"action": "cancel", "subscription": subscription})

    def keep_plan(self, portal_url: str, subscription: str) -> str:
        return self._submit(portal_url, {"action": "resume", "subscription": subscription})

    def replace_card(self, portal_url: str, *, card: str = GOOD_CARD) -> str:
        return self._submit(portal_url, {"action": "card", "number": card})

    def pay_invoice(self, hosted_url: str, *, card: str = GOOD_CARD, approves: bool = True) -> str:
        """On the page of an open invoice."""
        target = self._submit(hosted_url, {"action": "pay", "number": card})
        return self._answer_if_asked(target, approves=approves)
