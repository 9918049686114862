"""Plans, subscriptions, contracts, coupons and licences in the console."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.audit.admin_bases import ActsAdmin, ReadOnlyAdmin, actor_of
from apps.core import clock
from apps.core.errors import DomainError
from apps.core.money import format_usd
from apps.plans import coupons, services
from apps.plans.errors import LicenceRefused
from apps.plans.licence import MAX_BYTES
from apps.plans.licensing import get_standing, install_licence
from apps.plans.models import (
    AccountPlan,
    Contract,
    Coupon,
    Licence,
    Plan,
    PlanCharge,
    Redemption,
)


class PlanForm(forms.ModelForm):  # type: ignore[type-arg]  # takes type parameters in the stubs alone
    """A plan, and whom a change of it concerns."""

    apply_to_holders = forms.BooleanField(
        required=False,
        help_text="Who has the plan gets the changed limits, weight and price, too; else they keep theirs.",
    )

    class Meta:
        model = Plan
        fields = (
            "code",
            "name",
            "description",
            "limits",
            "weight",
            "price_micro",
            "trial_days",
            "grace_days",
            "is_public",
            "is_default",
        )


@admin.register(Plan)
class PlanAdmin(ActsAdmin[Plan]):
    form = PlanForm
    list_display = [
        "code",
        "name",
        "version",
        "price",
        "calls_per_day",
        "queue_depth",
        "weight",
        "is_public",
        "is_default",
        "archived_at",
    ]
    actions = ["archive", "restore"]

    def get_readonly_fields(self, request: HttpRequest, obj: Plan | None = None) -> list[str]:
        return [] if obj is None else ["code"]

    @admin.display(description="a month")
    def price(self, plan: Plan) -> str:
        return format_usd(plan.price_micro)

    @admin.display(description="calls a day")
    def calls_per_day(self, plan: Plan) -> str:
        return str(plan.limits.get("calls_per_day"))

    @admin.display(description="queue depth")
    def queue_depth(self, plan: Plan) -> str:
        return str(plan.limits.get("queue_depth"))

    @admin.action(description="Archive: nobody can change to them any more")
    def archive(self, request: HttpRequest, plans: QuerySet[Plan]) -> None:
        for plan in plans:
            try:
                services.archive_plan(plan=plan, actor=actor_of(request), now=clock.now())
            except DomainError as refusal:
                self.message_user(request, str(refusal), messages.ERROR)

    @admin.action(description="Offer again")
    def restore(self, request: HttpRequest, plans: QuerySet[Plan]) -> None:
        for plan in plans:
            services.restore_plan(plan=plan, actor=actor_of(request), now=clock.now())

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        services.save_plan(
            plan=obj,
            actor=actor_of(request),
            now=clock.now(),
            apply_to_holders=form.cleaned_data["apply_to_holders"],
        )


@admin.register(AccountPlan)
class AccountPlanAdmin(ActsAdmin[AccountPlan]):
    list_display = ["account", "plan", "terms", "since"]
    list_select_related = ["account", "plan", "terms__plan"]
    fields = ["account", "plan"]

    def get_readonly_fields(self, request: HttpRequest, obj: AccountPlan | None = None) -> list[str]:
        return [] if obj is None else ["account"]

    def save_model(self, request: HttpRequest, obj: AccountPlan, form: Any, change: bool) -> None:
        services.set_plan(account=obj.account, plan=obj.plan, actor=actor_of(request), now=clock.now())
        obj.pk = AccountPlan.objects.get(account=obj.account).pk


@admin.register(Contract)
class ContractAdmin(ActsAdmin[Contract]):
    list_display = ["account", "name", "starts_at", "ends_at", "price_micro", "weight"]
    list_select_related = ["account"]

    def get_readonly_fields(self, request: HttpRequest, obj: Contract | None = None) -> list[str]:
        return [] if obj is None else ["account"]

    def save_model(self, request: HttpRequest, obj: Contract, form: Any, change: bool) -> None:
        services.save_contract(contract=obj, actor=actor_of(request), now=clock.now())


class CouponForm(forms.ModelForm):  # type: ignore[type-arg]  # as PlanForm
    """A coupon; its code is typed in any case."""

    class Meta:
        model = Coupon
        fields = ("code", "kind", "value", "months", "max_redemptions", "starts_at", "ends_at", "plans")

    def clean_code(self) -> str:
        return str(self.cleaned_data["code"]).strip().upper()


@admin.register(Coupon)
class CouponAdmin(ActsAdmin[Coupon]):
    form = CouponForm
    list_display = ["code", "kind", "value", "redemptions", "max_redemptions", "ends_at"]

    def get_readonly_fields(self, request: HttpRequest, obj: Coupon | None = None) -> list[str]:
        return [] if obj is None else ["code"]

    def save_model(self, request: HttpRequest, obj: Coupon, form: Any, change: bool) -> None:
        coupons.save_coupon(coupon=obj, actor=actor_of(request), now=clock.now())


@admin.register(Redemption)
class RedemptionAdmin(ReadOnlyAdmin[Redemption]):
    list_display = ["coupon", "account", "at", "months_left"]
    list_select_related = ["coupon", "account"]


@admin.register(PlanCharge)
class PlanChargeAdmin(ReadOnlyAdmin[PlanCharge]):
    list_display = ["account", "memo", "amount_micro", "created_at", "invoiced_at"]
    list_select_related = ["account"]


class LicenceForm(forms.ModelForm):  # type: ignore[type-arg]  # as PlanForm
    """A licence file as it was sent."""

    file = forms.FileField(help_text="The licence file, unchanged. It takes the place of the present one.")

    class Meta:
        model = Licence
        fields = ()

    def clean_file(self) -> str:
        """Its text."""
        data = self.cleaned_data["file"].read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise forms.ValidationError(f"This is no licence file: it has more than {MAX_BYTES} bytes.")
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError:
            raise forms.ValidationError("This is no text file: choose the licence as it was sent.") from None


@admin.register(Licence)
class LicenceAdmin(ActsAdmin[Licence]):
    """Installed by uploading its file, as by `manage.py licence install`; never changed."""

    form = LicenceForm
    list_display = ["number", "customer", "plan", "seats", "devices", "valid_until", "worth"]
    list_select_related = ["plan"]
    shown = ("number", "customer", "plan", "seats", "devices", "valid_from", "valid_until", "installed_at")

    def has_change_permission(self, request: HttpRequest, obj: Licence | None = None) -> bool:
        return False

    def get_fields(self, request: HttpRequest, obj: Licence | None = None) -> list[Any]:
        """Any: Django's own type."""
        return ["file"] if obj is None else [*self.shown, "worth"]

    def get_readonly_fields(self, request: HttpRequest, obj: Licence | None = None) -> list[str]:
        return [] if obj is None else [*self.shown, "worth"]

    def save_model(self, request: HttpRequest, obj: Licence, form: Any, change: bool) -> None:
        document = form.cleaned_data["file"]
        obj.pk = install_licence(document=document, actor=actor_of(request), now=clock.now()).pk
        obj.refresh_from_db()

    @admin.display(description="now")
    def worth(self, licence: Licence) -> str:
        """What it is worth, with the end of its days of grace."""
        if licence.replaced_at is not None:
            return "replaced"
        try:
            standing = get_standing(now=clock.now())
        except LicenceRefused as refusal:
            return str(refusal)
        assert standing is not None  # this row is the installed one
        if standing.state == "grace":
            return f"expired; everything goes on until {standing.grace_ends_at:%Y-%m-%d}"
        return standing.state.label
