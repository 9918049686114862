"""Words of invoices that reach the database."""

from __future__ import annotations

from django.db import models


class DocumentKind(models.TextChoices):
    """What a document is; each kind has a series of numbers of its own."""

    INVOICE = "invoice", "Invoice"
    CREDIT_NOTE = "credit_note", "Credit note"


PREFIXES = {DocumentKind.INVOICE: "INV", DocumentKind.CREDIT_NOTE: "CN"}


class InvoiceState(models.TextChoices):
    """`draft -> issued -> paid`, or `void` from either of the first two. Credit notes are issued at once."""

    DRAFT = "draft"
    ISSUED = "issued"
    PAID = "paid"
    VOID = "void"


class LineUnit(models.TextChoices):
    """What a line counts."""

    IMAGE = "image"
    CALL = "call"
    FEE = "fee"
    """Of a plan, for a month or the rest of one."""
