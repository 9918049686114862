"""Refusals on pages: written down, and said in the language of the page."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest
from django.test import Client
from django.utils import translation

from apps.accounts.errors import SeatsTaken
from apps.audit.models import AuditEvent
from apps.billing.ledger.errors import InsufficientFunds
from apps.config.version import REPOSITORY_ROOT
from apps.core.errors import Conflict, DomainError, InvalidField
from apps.portal.refusals.phrases import FIELDS, PHRASES
from apps.portal.refusals.saying import error_text, say_phrase
from apps.portal.refusals.texts import TEXTS
from apps.quotas.models import Budget
from tests.apps.portal.test_catalogue import catalogue
from tests.architecture.test_errors import refusals
from tests.cast import Cast

BLANK = re.compile(r"%\(([a-z_]+)\)s")
# Of programs that send requests, and of the operator's console and commands: no page meets them.
ELSEWHERE = {
    "api_key_missing",
    "scope_missing",
    "key_stronger",
    "csrf_refused",
    "role_missing",
    "invalid_idempotency_key",
    "invalid_cursor",
    "preview_unusable",
    "upload_refused",
    "not_offered",
    "event_refused",
    "mail_not_configured",
    "nothing_to_invoice",
    "invoice_state_conflict",
    "invoice_terms_missing",
}
# Modules whose refusals customers meet on pages, and what in them is for operators.
FOLDERS = ("portal", "payments", "plans", "quotas", "apikeys", "accounts")
OPERATORS = re.compile(
    r"admin|management/|licen|providers|sso|connection|events|inbox|stripe_api|delegation|contract|live"
    r"|accounts/services|plans/services|starting|coupons|delivering|devices"
)

# Words for memos and mails, for operators, and of races that only they can lose.
NOT_FOR_CUSTOMERS = {
    "Stripe says the refund 7.",
    "a refund",
    "a dispute",
    "must be domains, not 7",
    "The account 7 does not await approval.",
    "Subscription 7 is another account's.",
    "A plan's fee is on another invoice already. Draft this one again.",
}


def said_in(source: Path) -> Iterator[str]:
    """Each `problem=` and `reason=` that is written out, with 7 in its blanks."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        for keyword in node.keywords:
            if keyword.arg in ("problem", "reason"):
                value = keyword.value
                if isinstance(value, ast.Constant):
                    yield str(value.value)
                elif isinstance(value, ast.JoinedStr):
                    yield "".join(
                        str(part.value) if isinstance(part, ast.Constant) else "7" for part in value.values
                    )


def test_each_refusal_that_a_page_can_show_has_words_of_its_own() -> None:
    codes = {error.code for error in refusals() if error.__module__.startswith("apps.")}

    assert codes - ELSEWHERE == set(TEXTS)


def test_the_words_are_those_of_the_errors() -> None:
    for error in refusals():
        if "message" in vars(error) and error.code in TEXTS and "{problem}" not in error.message:
            assert BLANK.sub(r"{\1}", str(TEXTS[error.code])) == error.message, error


def test_each_sentence_that_services_say_is_known() -> None:
    sources = [
        source
        for folder in FOLDERS
        for source in (REPOSITORY_ROOT / "apps" / folder).rglob("*.py")
        if not OPERATORS.search(source.relative_to(REPOSITORY_ROOT).as_posix())
    ]
    said = {text for source in sources for text in said_in(source)}
    patterns = [
        re.compile(".+?".join(re.escape(part) for part in BLANK.split(phrase)[0::2])) for phrase in PHRASES
    ]

    assert len(said) > 50
    unknown = {text for text in said if not any(each.fullmatch(text) for each in patterns)}
    assert unknown - NOT_FOR_CUSTOMERS == set()


def test_all_of_them_have_german_words() -> None:
    german = {entry.msgid for entry in catalogue() if entry.translated()}

    assert {str(text) for text in TEXTS.values()} | set(PHRASES) | set(FIELDS) <= german


@pytest.mark.parametrize(
    "error",
    [
        Conflict(problem="The plan Premium is not for sale."),
        InvalidField(field="amount", problem="must be $5.00 to $1,000.00 in whole cents"),
        SeatsTaken(seats=3),
        InsufficientFunds(amount_micro=5_000_000, place="prepaid wallet"),
        InvalidField(field="strange", problem="is nothing that anybody has foreseen"),
    ],
)
def test_in_english_a_refusal_says_what_it_said(error: DomainError) -> None:
    with translation.override("en"):
        text = error_text(error)

    assert text.rstrip(".").lower() == str(error).rstrip(".").lower()


def test_the_phrase_with_the_most_fixed_words_is_found() -> None:
    # "must be LOW to HIGH" fits it, too, and would swallow the cents.
    with translation.override("de"):
        words = polib.pofile(str(REPOSITORY_ROOT / "apps/portal/locale/de/LC_MESSAGES/django.po")).find(
            "must be %(low)s to %(high)s in whole cents"
        )
        assert words is not None
        assert say_phrase("must be $5.00 to $9.00 in whole cents") == words.msgstr % {
            "low": "$5.00",
            "high": "$9.00",
        }


@pytest.mark.parametrize("limit", ["-5", "1,5", "0", "", "9" * 40, "1e3", "٣"])
def test_an_amount_that_is_none_changes_nothing_and_is_written_down(ada: Client, limit: str) -> None:
    answer = ada.post("/portal/billing/budgets", {"limit": limit})

    assert answer.status_code == 302
    assert not Budget.objects.exists()
    event = AuditEvent.objects.get(name="portal.refused")
    assert event.data["code"] == "invalid_field" and event.data["path"] == "/portal/billing/budgets"


def test_a_role_that_may_not_is_written_down(viewer: Client, cast: Cast) -> None:
    assert viewer.post("/portal/billing/budgets", {"limit": "5"}).status_code == 403

    event = AuditEvent.objects.get(name="portal.refused")
    assert (event.data["code"], event.account_id) == ("role_missing", cast.account.pk)
    assert not Budget.objects.exists()


def test_a_refusal_on_ones_own_pages_is_written_down(ada: Client) -> None:
    for name in ("Second", "Third", "Fourth"):
        ada.post("/portal/account/new", {"name": name})

    event = AuditEvent.objects.get(name="portal.refused")
    assert event.data["code"] == "sign_up_refused"
