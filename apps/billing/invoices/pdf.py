"""An invoice as PDF: A4, one typeface, from the document's own row alone, the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import registerFont, registerFontFamily
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import BaseDocTemplate, Flowable, Frame, PageTemplate, Paragraph, Spacer, Table

from apps.billing.invoices.choices import DocumentKind, InvoiceState, LineUnit
from apps.billing.invoices.models import Invoice, InvoiceLine
from apps.billing.money import format_usd

MARGIN = 20 * mm
FOOT = 24 * mm
WIDTH = A4[0] - 2 * MARGIN
INK, QUIET, RULE = HexColor("#1d1d1f"), HexColor("#6b7280"), HexColor("#d1d5db")
# Helvetica is in every reader and knows the letters of Western Europe; names in others need a font file.
WIDE_FONTS = (Path("/usr/share/fonts/truetype/dejavu"), "DejaVuSans.ttf", "DejaVuSans-Bold.ttf")
COLUMNS = (WIDTH - 100 * mm, 20 * mm, 20 * mm, 30 * mm, 30 * mm)


class Typeface:
    """The fonts and paragraph styles of one document."""

    def __init__(self, text: str) -> None:
        self.plain, self.bold = _fonts_for(text)
        style = partial(ParagraphStyle, fontName=self.plain, fontSize=9, leading=12.5, textColor=INK)
        self.body = style("body")
        self.quiet = style("quiet", textColor=QUIET, fontSize=8, leading=11)
        self.strong = style("strong", fontName=self.bold)
        self.title = style("title", fontName=self.bold, fontSize=20, leading=24)
        self.number = style("number", alignment=TA_RIGHT)
        self.strong_number = style("strong number", alignment=TA_RIGHT, fontName=self.bold, fontSize=11)
        self.head = style("head", textColor=QUIET, fontSize=8)
        self.head_number = style("head number", textColor=QUIET, fontSize=8, alignment=TA_RIGHT)


def render_pdf(invoice: Invoice) -> bytes:
    """The document as it is printed and sent; drafts and void ones say so in their title."""
    lines = list(invoice.lines.all())
    face = Typeface(" ".join([invoice.seller, invoice.buyer, invoice.purchase_order, invoice.bank_details]))
    stream = io.BytesIO()
    document = BaseDocTemplate(
        stream,
        pagesize=A4,
        title=f"{invoice.get_kind_display()} {invoice}",
        author=invoice.seller.partition("\n")[0],
        # No time of making and no random id: the same row gives the same bytes.
        invariant=1,
    )
    frame = Frame(MARGIN, FOOT, WIDTH, A4[1] - MARGIN - FOOT, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate(frames=[frame])])
    document.build(
        [
            *_head(invoice, face),
            _facts(invoice, face),
            Spacer(1, 8 * mm),
            _line_table(lines, face),
            Spacer(1, 4 * mm),
            _totals(invoice, face),
            *_payment(invoice, face),
        ],
        canvasmaker=partial(_NumberedCanvas, footer=invoice.footer, font=face.plain),
    )
    return stream.getvalue()


def _head(invoice: Invoice, face: Typeface) -> list[Flowable]:
    title = invoice.get_kind_display()
    if invoice.state in {InvoiceState.DRAFT, InvoiceState.VOID}:
        title = f"{title} ({invoice.state})"
    seller = _block(invoice.seller, face.quiet)
    buyer = [*_block(invoice.buyer, face.body)]
    if invoice.buyer_tax_id:
        buyer.append(Paragraph(f"Tax number {escape(invoice.buyer_tax_id)}", face.quiet))
    if invoice.seller_tax_id:
        seller.append(Paragraph(f"Tax number {escape(invoice.seller_tax_id)}", face.quiet))
    sides = Table([[buyer, seller]], colWidths=[WIDTH * 0.6, WIDTH * 0.4])
    sides.setStyle([("VALIGN", (0, 0), (-1, -1), "TOP"), *_no_padding()])
    return [Paragraph(title, face.title), Spacer(1, 8 * mm), sides, Spacer(1, 8 * mm)]


def _facts(invoice: Invoice, face: Typeface) -> Table:
    """Number, dates and the buyer's own number, side by side."""
    facts = [("Number", invoice.number or "none yet")]
    if invoice.issued_at is not None:
        facts.append(("Date", f"{invoice.issued_at:%Y-%m-%d}"))
    if invoice.due_on is not None and invoice.kind == DocumentKind.INVOICE:
        facts.append(("Due", invoice.due_on.isoformat()))
    facts.append(("Period", f"{invoice.period_start} to {invoice.period_end}"))
    if invoice.purchase_order:
        facts.append(("Purchase order", invoice.purchase_order))
    if invoice.corrects is not None:
        facts.append(("Takes back", str(invoice.corrects)))
    rows = [
        [Paragraph(name, face.head) for name, _ in facts],
        [Paragraph(escape(value), face.strong) for _, value in facts],
    ]
    # Two dates need more room than one.
    shares = [1.7 if name == "Period" else 1.0 for name, _ in facts]
    table = Table(rows, colWidths=[WIDTH * share / sum(shares) for share in shares])
    table.setStyle(
        [("LINEABOVE", (0, 0), (-1, 0), 0.6, RULE), ("VALIGN", (0, 0), (-1, -1), "TOP"), *_no_padding(top=4)]
    )
    return table


def _line_table(lines: Sequence[InvoiceLine], face: Typeface) -> Table:
    heads = [Paragraph("Description", face.head)]
    heads += [Paragraph(name, face.head_number) for name in ("Quantity", "Unit", "Unit price", "Amount")]
    rows = [heads]
    for line in lines:
        unit = LineUnit(line.unit).label.lower()
        rows.append(
            [
                Paragraph(escape(" · ".join(filter(None, [line.generation_kind, line.model]))), face.body),
                Paragraph(f"{line.quantity:,}", face.number),
                Paragraph(unit if abs(line.quantity) == 1 else f"{unit}s", face.number),
                Paragraph(format_usd(line.unit_price_micro), face.number),
                Paragraph(format_usd(line.amount_micro), face.number),
            ]
        )
    table = Table(rows, colWidths=COLUMNS, repeatRows=1)
    table.setStyle(
        [
            ("LINEBELOW", (0, 0), (-1, 0), 0.6, INK),
            ("LINEBELOW", (0, 1), (-1, -1), 0.3, RULE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            *_no_padding(top=3.5, bottom=3.5),
        ]
    )
    return table


def _totals(invoice: Invoice, face: Typeface) -> Table:
    sums = [("Net", invoice.net_micro)]
    if invoice.tax_basis_points:
        whole, hundredths = divmod(invoice.tax_basis_points, 100)
        percent = f"{whole}.{hundredths:02d}".rstrip("0").rstrip(".")
        sums.append((f"{invoice.tax_name or 'Tax'} {percent} %", invoice.tax_micro))
    if invoice.rounding_micro:
        sums.append(("Rounding to whole cents", invoice.rounding_micro))
    rows = [
        [Paragraph(escape(name), face.body), Paragraph(format_usd(micro), face.number)]
        for name, micro in sums
    ]
    rows.append(
        [
            Paragraph("Total in US dollars", face.strong),
            Paragraph(format_usd(invoice.total_micro), face.strong_number),
        ]
    )
    table = Table(rows, colWidths=[50 * mm, 35 * mm], hAlign="RIGHT")
    table.setStyle([("LINEABOVE", (0, -1), (-1, -1), 0.6, INK), *_no_padding(top=3, bottom=3)])
    return table


def _payment(invoice: Invoice, face: Typeface) -> list[Flowable]:
    if invoice.kind == DocumentKind.CREDIT_NOTE:
        return [Spacer(1, 10 * mm), Paragraph("Nothing is to be paid for this document.", face.body)]
    terms = f"Please pay within {invoice.net_days} days and name {escape(str(invoice))} in the transfer."
    if invoice.paid_at is not None:
        terms = f"Paid on {invoice.paid_at:%Y-%m-%d}. Thank you."
    return [
        Spacer(1, 10 * mm),
        Paragraph(terms, face.body),
        Spacer(1, 4 * mm),
        Paragraph("Bank details", face.head),
        *_block(invoice.bank_details, face.body),
    ]


def _block(text: str, style: ParagraphStyle) -> list[Flowable]:
    """Lines of somebody's own text, whatever characters it has."""
    return [Paragraph(escape(line) or "&nbsp;", style) for line in text.splitlines()]


# Any: reportlab's commands for tables are tuples of many shapes.
def _no_padding(*, top: float = 0, bottom: float = 0) -> list[Any]:
    everywhere = (0, 0), (-1, -1)
    return [
        ("LEFTPADDING", *everywhere, 0),
        ("RIGHTPADDING", *everywhere, 0),
        ("TOPPADDING", *everywhere, top),
        ("BOTTOMPADDING", *everywhere, bottom),
    ]


def _fonts_for(text: str) -> tuple[str, str]:
    """Names of a plain and a bold font that have the letters of `text`, as far as this machine does."""
    folder, plain, bold = WIDE_FONTS
    try:
        text.encode("cp1252")
    except UnicodeEncodeError:
        if not (folder / plain).exists() or not (folder / bold).exists():
            return "Helvetica", "Helvetica-Bold"
        registerFont(TTFont("Wide", str(folder / plain)))
        registerFont(TTFont("Wide-Bold", str(folder / bold)))
        registerFontFamily("Wide", normal="Wide", bold="Wide-Bold", italic="Wide", boldItalic="Wide-Bold")
        return "Wide", "Wide-Bold"
    return "Helvetica", "Helvetica-Bold"


class _NumberedCanvas(Canvas):
    """Writes `page 2 of 3` at the foot, which can be known only at the end."""

    # Any: what reportlab gives a canvas, passed on as it is.
    def __init__(self, *args: Any, footer: str, font: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._footer, self._font = footer, font
        self._pages: list[dict[str, object]] = []

    def showPage(self) -> None:  # noqa: N802  # reportlab's own name
        self._pages.append(dict(self.__dict__))
        self._startPage()  # type: ignore[attr-defined]  # not in the stubs

    def save(self) -> None:
        for page in self._pages:
            self.__dict__.update(page)
            self.setFont(self._font, 8)
            self.setFillColor(QUIET)
            self.drawString(MARGIN, 12 * mm, self._footer)
            number = f"page {self.getPageNumber()} of {len(self._pages)}"
            self.drawRightString(A4[0] - MARGIN, 12 * mm, number)
            super().showPage()
        super().save()
