"""What the API offers for invoices and invoice items; how they work is in `invoices`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import cards, invoices
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.invoice_drafts import make_invoice
from tests.fake_stripe.invoice_lines import Line
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page
from tests.fake_stripe.subscription_bills import add_invoice_item, period_lines, take_pending
from tests.fake_stripe.subscription_updates import lines_of, read_changes
from tests.fake_stripe.subscriptions import live_subscription

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def retrieve(fake: Fake, params: Params, invoice_id: str) -> Obj:
    return fake.store.get("invoice", invoice_id)


def list_invoices(fake: Fake, params: Params) -> Obj:
    customer, status, subscription = (params.text(name) for name in ("customer", "status", "subscription"))

    def is_wanted(row: Obj) -> bool:
        of = row["parent"] and row["parent"]["subscription_details"]["subscription"]
        return (
            (customer is None or row["customer"] == customer)
            and (status is None or row["status"] == status)
            and (subscription is None or of == subscription)
        )

    return page(fake.store.every("invoice"), params, url="/v1/invoices", keep=is_wanted)


def list_lines(fake: Fake, params: Params, invoice_id: str) -> Obj:
    invoice = fake.store.get("invoice", invoice_id)
    return page(
        invoice["lines"]["data"][::-1],
        params,
        url=f"/v1/invoices/{invoice_id}/lines",
    )


def create(fake: Fake, params: Params) -> Obj:
    """A draft of what was kept for the customer."""
    customer = live_customer(fake, params.need("customer"))
    return make_invoice(
        fake,
        customer=customer,
        lines=take_pending(fake, customer=customer["id"], subscription=None),
        reason="manual",
        is_taxed=params.node("automatic_tax").flag("enabled"),
        metadata=merge_metadata({}, params),
    )


def update(fake: Fake, params: Params, invoice_id: str) -> Obj:
    invoice = fake.store.get("invoice", invoice_id)
    with changing(fake, invoice, "invoice.updated"):
        invoice["auto_advance"] = params.flag("auto_advance", invoice["auto_advance"])
        if "description" in params:
            invoice["description"] = params.text("description")
        invoice["metadata"] = merge_metadata(invoice["metadata"], params)
    return invoice


def delete(fake: Fake, params: Params, invoice_id: str) -> Obj:
    invoice = fake.store.get("invoice", invoice_id)
    if invoice["status"] != "draft" or invoice["parent"]:
        raise invalid("You can only delete draft invoices that are not of a subscription.")
    emit(fake, "invoice.deleted", invoice)
    fake.store.remove(invoice_id)
    return {"id": invoice_id, "object": "invoice", "deleted": True}


def finalize(fake: Fake, params: Params, invoice_id: str) -> Obj:
    return invoices.finalize(fake, fake.store.get("invoice", invoice_id))


def pay(fake: Fake, params: Params, invoice_id: str) -> Obj:
    invoice = fake.store.get("invoice", invoice_id)
    if invoice["status"] == "draft":
        invoices.finalize(fake, invoice)
    if invoice["status"] not in {"open", "uncollectible"}:
        raise invalid("Invoice is already paid" if invoice["status"] == "paid" else "Invoice cannot be paid.")
    if params.flag("paid_out_of_band"):
        invoices.mark_paid(fake, invoice, is_out_of_band=True)
        return invoice
    card = cards.resolve(fake, given) if (given := params.text("payment_method")) else None
    refusal = invoices.collect(fake, invoice, card=card, off_session=params.flag("off_session", True))
    if refusal is not None:
        raise refusal
    return invoice


def void(fake: Fake, params: Params, invoice_id: str) -> Obj:
    return invoices.void(fake, fake.store.get("invoice", invoice_id))


def mark_uncollectible(fake: Fake, params: Params, invoice_id: str) -> Obj:
    return invoices.mark_uncollectible(fake, fake.store.get("invoice", invoice_id))


def preview(fake: Fake, params: Params) -> Obj:
    """What a change of items would cost, or what the next period will. Nothing is kept."""
    subscription = live_subscription(fake, params.need("subscription"))
    details = params.node("subscription_details")
    changes = read_changes(fake, subscription, details.rows("items"))
    if changes:
        at = details.whole("proration_date") or fake.clock.now()
        lines = lines_of(fake, subscription, changes, at=at)
    else:
        lines = period_lines(fake, subscription)
    return make_invoice(
        fake,
        customer=fake.store.get("customer", subscription["customer"]),
        lines=lines,
        reason="upcoming",
        subscription=subscription,
        discounts=list(subscription["discounts"]),
        is_taxed=subscription["automatic_tax"]["enabled"],
        is_preview=True,
    )


def create_item(fake: Fake, params: Params) -> Obj:
    customer = live_customer(fake, params.need("customer"))
    amount = params.whole("amount")
    if amount is None:
        raise invalid("Missing required param: amount.", param="amount")
    now = fake.clock.now()
    line = Line(
        amount=amount,
        description=params.text("description") or "",
        period=(now, now),
        price=None,
        metadata=merge_metadata({}, params),
    )
    return add_invoice_item(fake, customer=customer["id"], line=line)


def list_items(fake: Fake, params: Params) -> Obj:
    customer = params.text("customer")
    return page(
        fake.store.every("invoiceitem"),
        params,
        url="/v1/invoiceitems",
        keep=lambda row: customer is None or row["customer"] == customer,
    )


def list_payments(fake: Fake, params: Params) -> Obj:
    invoice, status = params.text("invoice"), params.text("status")
    intent = params.node("payment").text("payment_intent")
    return page(
        fake.store.every("invoice_payment"),
        params,
        url="/v1/invoice_payments",
        keep=lambda row: (
            (invoice is None or row["invoice"] == invoice)
            and (status is None or row["status"] == status)
            and (intent is None or row["payment"]["payment_intent"] == intent)
        ),
    )


def retrieve_payment(fake: Fake, params: Params, payment_id: str) -> Obj:
    return fake.store.get("invoice_payment", payment_id)


PAGE = "limit starting_after ending_before"
ROUTES = [
    Route("POST", "/v1/invoices", create, "InvoiceCreateParams", "customer automatic_tax.enabled metadata.*"),
    Route(
        "POST",
        "/v1/invoices/create_preview",
        preview,
        "InvoiceCreatePreviewParams",
        "customer subscription subscription_details.items.id subscription_details.items.price"
        " subscription_details.items.quantity subscription_details.proration_behavior"
        " subscription_details.proration_date",
    ),
    Route(
        "GET",
        "/v1/invoices",
        list_invoices,
        "InvoiceListParams",
        f"customer status subscription created.* {PAGE}",
    ),
    Route("GET", "/v1/invoices/{id}", retrieve, "InvoiceRetrieveParams"),
    Route(
        "POST",
        "/v1/invoices/{id}",
        update,
        "InvoiceModifyParams",
        "auto_advance description metadata metadata.*",
    ),
    Route("DELETE", "/v1/invoices/{id}", delete, "InvoiceDeleteParams"),
    Route("GET", "/v1/invoices/{id}/lines", list_lines, "InvoiceListLinesParams", PAGE),
    Route("POST", "/v1/invoices/{id}/finalize", finalize, "InvoiceFinalizeInvoiceParams"),
    Route(
        "POST",
        "/v1/invoices/{id}/pay",
        pay,
        "InvoicePayParams",
        "payment_method paid_out_of_band off_session",
    ),
    Route("POST", "/v1/invoices/{id}/void", void, "InvoiceVoidInvoiceParams"),
    Route(
        "POST", "/v1/invoices/{id}/mark_uncollectible", mark_uncollectible, "InvoiceMarkUncollectibleParams"
    ),
    Route(
        "POST",
        "/v1/invoiceitems",
        create_item,
        "InvoiceItemCreateParams",
        "customer amount currency description metadata.*",
    ),
    Route("GET", "/v1/invoiceitems", list_items, "InvoiceItemListParams", f"customer {PAGE}"),
    Route(
        "GET",
        "/v1/invoice_payments",
        list_payments,
        "InvoicePaymentListParams",
        f"invoice status payment.type payment.payment_intent created.* {PAGE}",
    ),
    Route("GET", "/v1/invoice_payments/{id}", retrieve_payment, "InvoicePaymentRetrieveParams"),
]
