"""Addresses of billing, below /portal/."""

from __future__ import annotations

from django.urls import path

from apps.portal.billing import budgets, invoices, overview, pausing, plans, tracing, wallet

urlpatterns = [
    path("billing", overview.billing, name="billing"),
    path("billing/statement", overview.statement, name="statement"),
    path("billing/invoices/<slug:number>.pdf", invoices.invoice_pdf, name="invoice_pdf"),
    path("billing/invoices/<slug:number>/jobs", tracing.own_jobs, name="invoice_jobs"),
    path("billing/card-invoices/<int:invoice_id>/jobs", tracing.card_jobs, name="card_invoice_jobs"),
    path("billing/plans", plans.plans, name="plans"),
    path("billing/plans/<slug:code>", plans.choose, name="choose_plan"),
    path("billing/cancel", plans.cancel, name="cancel_plan"),
    path("billing/keep", plans.keep, name="keep_plan"),
    path("billing/pause", pausing.pause, name="pause_plan"),
    path("billing/resume", pausing.resume, name="resume_plan"),
    path("billing/coupon", plans.coupon, name="coupon"),
    path("billing/top-up", wallet.top_up, name="top_up"),
    path("billing/auto-top-up", wallet.auto_top_up, name="auto_top_up"),
    path("billing/card", wallet.card, name="add_card"),
    path("billing/stripe", wallet.stripe_portal, name="stripe_portal"),
    path("billing/pay-later/stop", wallet.stop_paying_later, name="stop_paying_later"),
    path("billing/payments/<int:payment_id>/refund", wallet.refund, name="refund"),
    path("billing/return/<str:token>", wallet.returned, name="checkout_return"),
    path("billing/budgets", budgets.save, name="save_budget"),
    path("billing/budgets/<int:budget_id>/remove", budgets.remove, name="remove_budget"),
]
