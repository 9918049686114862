"""What the jobs log is narrowed by. What cannot be read is said at its field and narrows nothing."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django import forms
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob
from apps.portal.playground.words import KINDS

STATE_LABELS: Final[dict[JobState, Promise]] = {
    JobState.QUEUED: _("Waiting"),
    JobState.RUNNING: _("Running"),
    JobState.SUCCEEDED: _("Succeeded"),
    JobState.FAILED: _("Failed"),
    JobState.CANCELED: _("Canceled"),
    JobState.QUARANTINED: _("Quarantined"),
    JobState.EXPIRED: _("Expired"),
}
ANY: Final = ("", _("all"))


class JobFilter(forms.Form):
    """All fields may be empty."""

    state = forms.ChoiceField(
        required=False,
        choices=[ANY, *((state.value, label) for state, label in STATE_LABELS.items())],
        label=_("State"),
    )
    kind = forms.ChoiceField(
        required=False,
        choices=[ANY, *((kind.value, label) for kind, (label, _hint) in KINDS.items())],
        label=_("Kind"),
    )
    model = forms.CharField(required=False, max_length=200, label=_("Model"))
    key = forms.ChoiceField(required=False, label=_("API key"))
    since = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label=_("From"))
    until = forms.DateField(required=False, widget=forms.DateInput(attrs={"type": "date"}), label=_("To"))

    def __init__(self, *args: Any, account: Account, **kwargs: Any) -> None:
        """Any: as Django's own."""
        super().__init__(*args, **kwargs)
        self.account = account
        keys = ApiKey.objects.filter(account=account).order_by("name", "pk").values_list("prefix", "name")
        names = [(prefix, f"{name} ({prefix})") for prefix, name in keys]
        field = self.fields["key"]
        assert isinstance(field, forms.ChoiceField)  # as above
        field.choices = [ANY, *names]

    def jobs(self) -> QuerySet[GenerationJob]:
        """The account's jobs that are asked for."""
        self.full_clean()
        asked = self.cleaned_data
        rows = GenerationJob.objects.filter(account=self.account).select_related("api_key", "checkpoint")
        if asked.get("state"):
            rows = rows.filter(state=asked["state"])
        if asked.get("kind"):
            rows = rows.filter(kind=asked["kind"])
        if asked.get("model"):
            rows = rows.filter(checkpoint__name=asked["model"].strip())
        if asked.get("key"):
            rows = rows.filter(api_key__prefix=asked["key"])
        if asked.get("since"):
            rows = rows.filter(queued_at__gte=self._midnight(asked["since"]))
        if asked.get("until") and asked["until"] < date.max:
            rows = rows.filter(queued_at__lt=self._midnight(asked["until"] + timedelta(days=1)))
        return rows

    def _midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, ZoneInfo(self.account.time_zone))
