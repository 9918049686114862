"""What an account decides about itself."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import available_timezones

from django import forms
from django.http import QueryDict
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from apps.accounts.choices import SafetyRule
from apps.accounts.models import Account

INSTALLATION = ""
SAFETY: list[tuple[str, str | Promise]] = [
    (INSTALLATION, _("As this installation is set")),
    (SafetyRule.OFF, _("Off: images are looked at only where a request asks for it")),
    (SafetyRule.FLAG, _("Flag: every image is looked at, and what was found is reported")),
    (SafetyRule.BLUR, _("Blur: unsuitable images are blurred")),
    (SafetyRule.BLOCK, _("Block: unsuitable prompts are refused, unsuitable images are not delivered")),
]


class SettingsForm(forms.Form):
    """The account's name, time zone, content rule and how long images are kept."""

    name = forms.CharField(label=_("Name of the account"), max_length=100)
    time_zone = forms.ChoiceField(
        label=_("Time zone"), help_text=_("Daily and monthly limits begin anew at its midnight.")
    )
    safety = forms.ChoiceField(
        label=_("Content rule"),
        required=False,
        choices=SAFETY,
        help_text=_("Minors are protected under every rule."),
    )
    retention_days = forms.TypedChoiceField(
        label=_("Keep images for"),
        required=False,
        coerce=int,
        empty_value=None,
        help_text=_("Of calls from now on; your plan decides what can be chosen."),
    )

    def __init__(
        self,
        data: QueryDict | None = None,
        *,
        account: Account,
        offered: tuple[int, ...],
        chosen: int | None,
    ) -> None:
        initial = {
            "name": account.name,
            "time_zone": account.time_zone,
            "safety": account.safety,
            "retention_days": "" if chosen is None else chosen,
        }
        super().__init__(data, initial=initial)
        zones = sorted(available_timezones() | {account.time_zone})
        self._offer("time_zone", [(zone, zone) for zone in zones])
        days = [
            (str(each), ngettext("%(count)s day", "%(count)s days", each) % {"count": each})
            for each in offered
        ]
        # Typed here, since a lazy and a plain text have no common type of their own.
        first: tuple[str, str | Promise] = (INSTALLATION, _("As this installation is set"))
        self._offer("retention_days", [first, *days])

    def _offer(self, name: str, choices: Sequence[tuple[str, str | Promise]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = list(choices)
