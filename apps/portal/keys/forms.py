"""What a member says about an API key."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.utils.functional import Promise
from django.utils.translation import gettext as _now
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Account
from apps.apikeys.choices import CUSTOMER_SCOPES, DEFAULT_SCOPES, Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.terms import KeyTerms
from apps.catalog.selectors import find_entry, list_usable
from apps.core import clock

MOST_CALLS: Final = 2**31 - 1
MOST_NAMES: Final = 100
SCOPE_LABELS: Final[dict[Scope, Promise]] = {
    Scope.IMAGES_GENERATE: _("Generate images, estimate and upload"),
    Scope.JOBS_READ: _("See jobs, usage and deliveries"),
    Scope.JOBS_CANCEL: _("Cancel and delete jobs"),
    Scope.MODELS_READ: _("List and search models"),
    Scope.MODELS_WRITE: _("Import and delete your own models"),
    Scope.WEBHOOKS_WRITE: _("Manage webhooks"),
    Scope.KEYS_WRITE: _("Make and revoke keys that are no stronger"),
}
OVERLAPS: Final[dict[int, Promise]] = {
    0: _("Not at all: the old key stops now"),
    3600: _("1 hour"),
    24 * 3600: _("1 day"),
    7 * 24 * 3600: _("7 days"),
    30 * 24 * 3600: _("30 days"),
}
"""Seconds that a replaced key goes on working."""
USUAL_OVERLAP_S: Final = 24 * 3600


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word for word in re.split(r"[\s,]+", text) if word))


class KeyForm(forms.Form):
    """A new key. What is left empty is no limit."""

    name = forms.CharField(max_length=100, label=_("Name"), help_text=_("Who or what uses it."))
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, SCOPE_LABELS[scope]) for scope in CUSTOMER_SCOPES],
        initial=[scope.value for scope in DEFAULT_SCOPES],
        widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        label=_("It may"),
    )
    allowed_checkpoints = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        label=_("Models"),
        help_text=_("Names of the models it may use, with commas or line breaks. Empty: all."),
    )
    allowed_addresses = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "spellcheck": "false"}),
        label=_("Networks"),
        help_text=_("In CIDR form, such as 203.0.113.0/24. Empty: it works from everywhere."),
    )
    daily_cap = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_CALLS, label=_("Most calls a day")
    )
    monthly_cap = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_CALLS, label=_("Most calls a month")
    )
    queue_depth = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_CALLS,
        label=_("Most open jobs"),
        help_text=_("Waiting and running together; more are refused."),
    )
    max_parallel = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=MOST_CALLS,
        label=_("Most jobs at a time"),
        help_text=_("More wait in the queue."),
    )
    expires_on = forms.DateField(
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        label=_("Last day"),
        help_text=_("It stops at the end of this day. Empty: never."),
    )

    def __init__(self, *args: Any, account: Account, key: ApiKey | None = None, **kwargs: Any) -> None:
        """`key` is to be edited; without one the form is of a new key. Any: as Django's own."""
        if key is not None:
            kwargs["initial"] = _initial(key)
        super().__init__(*args, **kwargs)
        self.account = account
        self.key = key
        if key is not None:
            _offer_operators_scopes(self, key)

    def terms(self) -> KeyTerms:
        """What a valid form asks for."""
        wanted = dict(self.cleaned_data)
        expires_at = wanted.pop("expires_on")
        if self.key is not None and "expires_on" not in self.changed_data:
            # The end may be at another hour than a day's.
            expires_at = self.key.expires_at
        return KeyTerms(expires_at=expires_at, **wanted)

    def clean_scopes(self) -> list[Scope]:
        return [Scope(value) for value in self.cleaned_data["scopes"]]

    def clean_allowed_checkpoints(self) -> list[str]:
        """By the catalogue's own names, as the key's list is compared with those."""
        names = _words(self.cleaned_data["allowed_checkpoints"])
        if len(names) > MOST_NAMES:
            raise forms.ValidationError(_now("At most %(most)d models."), params={"most": MOST_NAMES})
        usable = list_usable(account=self.account)
        found = []
        for name in names:
            entry = find_entry(usable, name)
            if entry is None:
                raise forms.ValidationError(_now("There is no model %(name)s."), params={"name": name[:60]})
            found.append(entry.name)
        return found

    def clean_allowed_addresses(self) -> list[str]:
        return _words(self.cleaned_data["allowed_addresses"])

    def clean_expires_on(self) -> datetime | None:
        """The midnight after it, in the account's zone."""
        day: date | None = self.cleaned_data["expires_on"]
        if day is None:
            return None
        try:
            end = datetime.combine(day + timedelta(days=1), time.min, ZoneInfo(self.account.time_zone))
        except OverflowError:
            raise forms.ValidationError(_now("This day is too far away.")) from None
        if end <= clock.now():
            raise forms.ValidationError(_now("This day is over."))
        return end


def _initial(key: ApiKey) -> dict[str, object]:
    """What a key has, in the form's words."""
    zone = ZoneInfo(key.account.time_zone)
    # The last moment of the day: an end at midnight is the day before's.
    last = None if key.expires_at is None else key.expires_at - timedelta(microseconds=1)
    return {
        "name": key.name,
        "scopes": key.scopes,
        "allowed_checkpoints": ", ".join(key.allowed_checkpoints),
        "allowed_addresses": ", ".join(key.allowed_addresses),
        "daily_cap": key.daily_cap,
        "monthly_cap": key.monthly_cap,
        "queue_depth": key.queue_depth,
        "max_parallel": key.max_parallel,
        "expires_on": None if last is None else last.astimezone(zone).date(),
    }


def _offer_operators_scopes(form: KeyForm, key: ApiKey) -> None:
    """Scopes that only an operator gives may be kept or taken away, and not taken back."""
    field = form.fields["scopes"]
    assert isinstance(field, forms.MultipleChoiceField)
    others = [scope for scope in key.scopes if scope not in CUSTOMER_SCOPES]
    field.choices = [
        *((scope.value, SCOPE_LABELS[scope]) for scope in CUSTOMER_SCOPES),
        *((scope, scope) for scope in others),
    ]


class RotateForm(forms.Form):
    """How long the old key goes on."""

    overlap_s = forms.TypedChoiceField(
        choices=[(str(seconds), label) for seconds, label in OVERLAPS.items()],
        coerce=int,
        initial=str(USUAL_OVERLAP_S),
        label=_("The old key goes on working for"),
    )
