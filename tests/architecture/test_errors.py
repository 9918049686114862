"""`templates/docs/errors.md` is complete: each code of the product has its row, and each row its code."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

import apps
from apps.catalog.imports.failures import CODES as IMPORT_FAILURES
from apps.config.version import REPOSITORY_ROOT
from apps.core.errors import DomainError
from apps.generation.faults import EXPIRED, FAILURES, HUNG, INTERNAL, QUARANTINED
from tests.contracts.recording import list_exchanges

PAGE = REPOSITORY_ROOT / "templates" / "docs" / "errors.md"
ROW = re.compile(r"^\| `(?P<code>[a-z_]+)` \| (?:(?P<status>\d{3}) \| (?P<rest>.+) \|$)?", re.MULTILINE)
# Refusals that no request of the ModelsLab dialect meets.
ON_PAGES = {
    # Of money that pages and payment providers move; a request that is not paid is `payment_required`.
    "insufficient_funds",
    "ledger_key_reused",
    "nothing_to_invoice",
    "invoice_state_conflict",
    "invoice_terms_missing",
    "payments_not_configured",
    "payments_modes_mixed",
    "payments_unavailable",
    "payments_misconfigured",
    "card_declined",
    "payment_refused",
    "not_refundable",
    "event_refused",
    # Of people, their sign-in and their team.
    "sign_up_refused",
    "invitation_unusable",
    "already_invited",
    "last_owner",
    "seats_taken",
    "role_not_yours",
    "account_closed",
    "mail_not_configured",
    # Of browsers with a session.
    "csrf_refused",
    "role_missing",
}
"""Refusals that people meet on pages, and no program in a dialect."""
WITHOUT_EXCHANGE = {
    "artifact_not_found",
    "not_cancelable",
    "invalid_cursor",
    "preview_unusable",
    "upload_refused",
    "key_stronger",
    # Of an installation that is not finished.
    "price_book_missing",
} | ON_PAGES


def refusals() -> list[type[DomainError]]:
    """Every DomainError of the product, wherever it is defined."""
    for module in walk_packages(apps.__path__, "apps."):
        if module.name.endswith("errors") or ".errors." in module.name:
            import_module(module.name)
    found: list[type[DomainError]] = []
    todo = DomainError.__subclasses__()
    while todo:
        error = todo.pop()
        todo.extend(error.__subclasses__())
        found.append(error)
    return [error for error in found if error.__module__.startswith("apps.")]


def section(title: str) -> dict[str, str | None]:
    """Code -> HTTP status of the table below a heading."""
    text = PAGE.read_text(encoding="utf-8").split(f"## {title}\n")[1].split("\n## ")[0]
    return {match["code"]: match["status"] for match in ROW.finditer(text)}


def test_each_refusal_has_a_row_with_its_status() -> None:
    assert section("Refusals") == {error.code: str(error.http_status) for error in refusals()}


def test_codes_are_unique() -> None:
    # A refusal that only says more exactly where shares the code of what it refines.
    codes = [error.code for error in refusals() if "code" in vars(error)]

    assert sorted(codes) == sorted(set(codes))


def test_errors_are_defined_in_errors_modules() -> None:
    for error in refusals():
        assert error.__module__.endswith(".errors"), error


def test_each_job_failure_has_a_row() -> None:
    failures = [*FAILURES.values(), INTERNAL, QUARANTINED, HUNG, EXPIRED]
    # Faults of pictures bring their own codes, wherever they are raised.
    sources = [
        *(REPOSITORY_ROOT / "gpu_runtime").rglob("*.py"),
        *(REPOSITORY_ROOT / "apps" / "generation").glob("*.py"),
    ]
    raised = [re.findall(r'\bcode="([a-z_]+)"', source.read_text()) for source in sources]
    of_pictures = {code for codes in raised for code in codes}

    assert section("Why a job failed").keys() == {failure.code for failure in failures} | of_pictures


def test_each_failure_of_an_import_has_a_row() -> None:
    assert section("Why an import failed").keys() == IMPORT_FAILURES.keys()


def test_each_fault_of_the_dialects_has_a_row() -> None:
    sources = [Path(file) for file in (REPOSITORY_ROOT / "apps" / "api").rglob("*.py")]
    used = {code for file in sources for code in re.findall(r'code="([a-z_]+)"', file.read_text())}

    assert used | {"invalid_value"} == section("Faults").keys() | section("Codes of OpenAI").keys()


def test_each_refusal_has_a_recorded_exchange() -> None:
    shown = {exchange.response["headers"].get("X-Darkroom-Error") for exchange in list_exchanges()}

    assert {error.code for error in refusals()} - shown == WITHOUT_EXCHANGE
