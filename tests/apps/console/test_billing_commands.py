"""`manage.py invoices` and `manage.py usage`, as an operator types them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from apps.billing.invoices.choices import InvoiceState
from apps.billing.invoices.models import Invoice
from tests.apps.billing.invoices.office import make_invoiced_account, use
from tests.clocks import FrozenClock

pytestmark = pytest.mark.django_db


def run(*words: str) -> str:
    out = io.StringIO()
    call_command(*words, stdout=out)
    return out.getvalue()


def test_a_month_is_invoiced_account_by_account(clock: FrozenClock, tmp_path: Path) -> None:
    use(make_invoiced_account("ada"), price_micro=1_000_000)
    make_invoiced_account("idle")
    said = run("invoices", "issue", "--month", "2026-02")
    assert "ada: INV-2026-000001, $1.19" in said
    assert "The account idle has nothing to be invoiced until 2026-02-28." in said
    # Typed twice: nothing is invoiced twice.
    assert "INV" not in run("invoices", "issue", "--month", "2026-02", "--account", "ada")
    assert run("invoices", "paid", "INV-2026-000001", "--reference", "t7") == "INV-2026-000001 is paid\n"
    run("invoices", "pdf", "INV-2026-000001", "--out", str(tmp_path / "one.pdf"))
    assert (tmp_path / "one.pdf").read_bytes().startswith(b"%PDF-")


def test_a_draft_is_looked_at_sent_and_taken_back(clock: FrozenClock) -> None:
    use(make_invoiced_account("ada"), price_micro=1_000_000)
    run("invoices", "issue", "--month", "2026-02", "--draft")
    draft = Invoice.objects.get()
    assert draft.state == InvoiceState.DRAFT
    assert "ada: INV-2026-000001" in run("invoices", "send", str(draft.pk))
    assert "its credit note is CN-2026-000001" in run("invoices", "void", "INV-2026-000001")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("issue", "--month", "2026-13"), "--month must be a month such as 2026-02"),
        (("issue", "--month", "2026-03"), "2026-03 is not over"),
        (("issue", "--month", "2026-02", "--account", "nobody"), "there is no account 'nobody'"),
        (("paid", "INV-2026-000009"), "there is no invoice 'INV-2026-000009'"),
        (("void", "9"), "there is no invoice '9'"),
    ],
)
def test_what_cannot_be_is_said(clock: FrozenClock, words: tuple[str, ...], problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        run("invoices", *words)


def test_usage_is_exported_and_verified(clock: FrozenClock, tmp_path: Path, settings: Any) -> None:
    settings.HOME_DIR = tmp_path
    use(make_invoiced_account("ada"), price_micro=1_000_000)
    file = tmp_path / "usage.jsonl"
    said = run("usage", "export", "--month", "2026-02", "--out", str(file))
    assert "1 events, $1.00" in said
    key = said.split("public key ")[1].strip()
    assert "is unchanged: 1 events" in run("usage", "verify", str(file), "--public-key", key)
    file.write_bytes(file.read_bytes().replace(b"1000000", b"1000001", 1))
    with pytest.raises(CommandError, match="lines that were changed"):
        run("usage", "verify", str(file))
    with pytest.raises(CommandError, match="cannot be read"):
        run("usage", "verify", str(tmp_path / "none"))
