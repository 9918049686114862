"""What a member asks of webhooks."""

from __future__ import annotations

from typing import Final

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.portal.keys.forms import OVERLAPS
from apps.webhooks.choices import DeliveryState
from apps.webhooks.models import MAX_URL_CHARS
from apps.webhooks.secrets import MAX_OVERLAP

USUAL_OVERLAP_S: Final = 24 * 3600
STATE_LABELS: Final = {
    DeliveryState.WAITING: _("Waiting"),
    DeliveryState.SENDING: _("Being sent"),
    DeliveryState.DELIVERED: _("Delivered"),
    DeliveryState.FAILED: _("Given up"),
}
TONES: Final = {DeliveryState.DELIVERED: "good", DeliveryState.FAILED: "bad", DeliveryState.SENDING: "accent"}


class DeliveryFilter(forms.Form):
    """Empty: all."""

    state = forms.ChoiceField(
        required=False,
        choices=[("", _("all")), *((state.value, label) for state, label in STATE_LABELS.items())],
        label=_("State"),
    )


class TestForm(forms.Form):
    """Where a test goes."""

    url = forms.CharField(
        max_length=MAX_URL_CHARS,
        label=_("Address"),
        widget=forms.URLInput(attrs={"placeholder": "https://example.com/darkroom"}),
    )


class SecretForm(forms.Form):
    """How long the present secret goes on signing beside the next."""

    overlap_s = forms.TypedChoiceField(
        choices=[
            (str(seconds), label)
            for seconds, label in OVERLAPS.items()
            if seconds <= MAX_OVERLAP.total_seconds()
        ],
        coerce=int,
        initial=str(USUAL_OVERLAP_S),
        label=_("The old secret goes on signing for"),
    )
