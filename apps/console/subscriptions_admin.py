"""Subscriptions in the console: those by invoice begin, stop and end here, each act with a reason."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import TextChoices
from django.http import HttpRequest

from apps.audit.admin_bases import ActsAdmin, actor_of
from apps.billing.invoices.starting import start_by_invoice
from apps.core import clock
from apps.plans.models import Subscription
from apps.plans.pausing import set_paused
from apps.plans.subscriptions import cancel_subscription, keep_plan

REASON_CHARS = 200


class Act(TextChoices):
    """What an operator can do with a plan that is paid by invoice."""

    PAUSE = "pause", "Pause: charge nothing more, and give the default plan meanwhile"
    RESUME = "resume", "Resume after a pause"
    END = "end", "End with the period, which is paid for"
    END_NOW = "end_now", "End at once; what was charged stays charged"
    KEEP = "keep", "Take back an end or a change that has not come yet"


def _reason() -> forms.CharField:
    return forms.CharField(max_length=REASON_CHARS, help_text="Why; for the audit log.")


class StartForm(forms.ModelForm):  # type: ignore[type-arg]  # takes type parameters in the stubs alone
    """A plan by invoice that begins now."""

    reason = _reason()

    class Meta:
        model = Subscription
        fields = ("account", "plan")


class ActForm(forms.ModelForm):  # type: ignore[type-arg]  # as StartForm
    """One act on one of them, as it was when the page was made."""

    act = forms.ChoiceField(choices=Act)
    reason = _reason()
    seen_revision = forms.IntegerField(widget=forms.HiddenInput)

    class Meta:
        model = Subscription
        fields = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # Any: Django's own types
        super().__init__(*args, **kwargs)
        self.fields["seen_revision"].initial = self.instance.revision


@admin.register(Subscription)
class SubscriptionAdmin(ActsAdmin[Subscription]):
    """Stripe's and licences' are looked at; acts on them are refused with the place where they are kept."""

    list_display = ["account", "plan", "state", "source", "period_end", "next_plan", "cancel_at"]
    list_select_related = ["account", "plan", "next_plan"]
    list_filter = ["state", "source", "plan"]
    shown = (
        "account",
        "plan",
        "state",
        "source",
        "price_micro",
        "period_start",
        "period_end",
        "trial_end",
        "past_due_since",
        "next_plan",
        "cancel_at",
        "external_id",
    )

    def get_form(
        self, request: HttpRequest, obj: Subscription | None = None, change: bool = False, **kwargs: Any
    ) -> type[forms.ModelForm[Subscription]]:
        """Any: Django's own types."""
        self_form = StartForm if obj is None else ActForm
        return super().get_form(request, obj, change, **(kwargs | {"form": self_form}))

    def get_fields(self, request: HttpRequest, obj: Subscription | None = None) -> list[Any]:
        """Any: Django's own type."""
        if obj is None:
            return ["account", "plan", "reason"]
        return [*self.shown, "act", "reason", "seen_revision"]

    def get_readonly_fields(self, request: HttpRequest, obj: Subscription | None = None) -> list[str]:
        return [] if obj is None else list(self.shown)

    def save_model(self, request: HttpRequest, obj: Subscription, form: Any, change: bool) -> None:
        asked = form.cleaned_data
        who: dict[str, Any] = {"actor": actor_of(request), "now": clock.now(), "reason": asked["reason"]}
        if not change:
            started = start_by_invoice(account=obj.account, plan=obj.plan, **who)
            obj.pk = started.pk
            obj.refresh_from_db()
            return
        who |= {"subscription": obj, "seen_revision": asked["seen_revision"]}
        act = Act(asked["act"])
        if act in (Act.PAUSE, Act.RESUME):
            set_paused(paused=act is Act.PAUSE, **who)
        elif act is Act.KEEP:
            keep_plan(**who)
        else:
            cancel_subscription(at_once=act is Act.END_NOW, **who)
