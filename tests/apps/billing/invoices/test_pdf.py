"""The PDF shows the document, whatever is written in it, and is the same every time."""

from __future__ import annotations

import re
import zlib
from base64 import a85decode

import pytest

from apps.audit.refs import SYSTEM
from apps.billing.invoices.models import Invoice
from apps.billing.invoices.pdf import render_pdf
from apps.billing.invoices.services import mark_paid, void_invoice
from tests.apps.billing.invoices.office import NOW, draft, issue, make_invoiced_account, use

pytestmark = pytest.mark.django_db
STREAM = re.compile(rb"stream\r?\n(.*?)endstream", re.DOTALL)
SHOWN = re.compile(rb"\(((?:[^()\\]|\\.)*)\) Tj")


def words(document: bytes) -> str:
    """What the pages show, in the order in which it is drawn; of documents in a built-in font."""
    found = []
    for stream in STREAM.findall(document):
        text = stream.strip()
        if text.endswith(b"~>"):
            found += SHOWN.findall(zlib.decompress(a85decode(text[:-2])))
    plain = re.sub(rb"\\([0-7]{3})", lambda code: bytes([int(code[1], 8)]), b" ".join(found))
    return plain.replace(b"\\(", b"(").replace(b"\\)", b")").decode("cp1252")


def test_it_names_everything_that_an_invoice_needs() -> None:
    account = make_invoiced_account()
    use(account, price_micro=1_234_567)
    shown = words(render_pdf(issue(account)))
    for part in (
        "Invoice", "INV-2026-000001", "2026-03-02", "2026-04-01", "2026-02-01 to 2026-02-28", "PO-7781",
        "Studio Müller & Söhne GmbH", "Darkroom Ltd", "DE 999 999 999", "GB 123 4567 89", "txt2img · sdxl",
        "$1.234567", "VAT 19 %", "$0.234568", "-$0.009135", "$1.46", "IBAN GB33", "page 1 of 1",
    ):  # fmt: skip
        assert part in shown, part


def test_the_same_document_has_the_same_bytes() -> None:
    account = make_invoiced_account()
    use(account, price_micro=1_234_567)
    invoice = issue(account)
    assert render_pdf(invoice) == render_pdf(Invoice.objects.get(pk=invoice.pk))


def test_long_invoices_have_numbered_pages() -> None:
    account = make_invoiced_account()
    for number in range(70):
        use(account, price_micro=20_000, model=f"model-{number:02d}")
    shown = words(render_pdf(draft(account)))
    assert "page 1 of 3" in shown and "page 3 of 3" in shown
    assert "model-69" in shown


def test_its_state_is_in_its_title() -> None:
    account = make_invoiced_account()
    use(account, price_micro=20_000)
    invoice = draft(account)
    assert "Invoice (draft)" in words(render_pdf(invoice))
    void_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    issued = issue(account)
    note = void_invoice(invoice_id=issued.pk, actor=SYSTEM, now=NOW)
    assert note is not None
    assert "Takes back" in words(render_pdf(note)) and "-$0.02" in words(render_pdf(note))
    paid = mark_paid(invoice_id=issue(account).pk, reference="", actor=SYSTEM, now=NOW)
    assert "Paid on 2026-03-02" in words(render_pdf(paid))


def test_markup_and_odd_letters_are_letters() -> None:
    account = make_invoiced_account(
        buyer="<b>Ada</b> & <script>alert(1)</script>\n\nunit <unclosed", tax_name="<i"
    )
    use(account, price_micro=20_000, model="<img src=x>")
    # Each sign is drawn by itself.
    shown = words(render_pdf(issue(account))).replace(" ", "")
    assert "<b>Ada</b>&<script>alert(1)</script>" in shown
    assert "<imgsrc=x>" in shown


def test_letters_beyond_western_europe_do_not_fail() -> None:
    account = make_invoiced_account(buyer="Студия Ада\n東京都")
    use(account, price_micro=20_000)
    assert render_pdf(issue(account)).startswith(b"%PDF-")
