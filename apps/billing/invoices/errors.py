"""Refusals of invoices."""

from __future__ import annotations

from apps.core.errors import DomainError


class NothingToInvoice(DomainError):
    """The account owes less than a cent for usage and plans that is on no invoice yet."""

    code = "nothing_to_invoice"
    http_status = 409
    message = "The account {account} has nothing to be invoiced until {until}."


class InvoiceStateConflict(DomainError):
    """The invoice is not in the state that the act needs."""

    code = "invoice_state_conflict"
    http_status = 409
    message = "The invoice {number} is {state}; {advice}."


class InvoiceTermsMissing(DomainError):
    """Nobody has said whom to invoice, or on whose behalf."""

    code = "invoice_terms_missing"
    http_status = 409
    message = "{what} first, in the console under Billing."


class InvoiceDoesNotAddUp(RuntimeError):
    """An invoice's lines differ from the usage events behind them: somebody changed rows by hand."""
