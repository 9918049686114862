"""What people type about themselves and their team."""

from __future__ import annotations

from zoneinfo import available_timezones

from django import forms
from django.utils.translation import gettext_lazy as _

from apps.accounts.choices import Language, Role

ROLE_WORDS = {
    Role.OWNER: _("Owner: everything, also closing the account"),
    Role.ADMIN: _("Administrator: everything but closing the account"),
    Role.BILLING: _("Billing: plan, wallet and invoices"),
    Role.DEVELOPER: _("Developer: keys, playground and jobs"),
    Role.VIEWER: _("Viewer: looks at usage and jobs"),
}


class ProfileForm(forms.Form):
    """One's name, language and time zone."""

    name = forms.CharField(
        label=_("Name"),
        max_length=100,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    language = forms.ChoiceField(
        label=_("Language"), choices=Language.choices, help_text=_("Of these pages and of mails to you.")
    )
    time_zone = forms.CharField(
        label=_("Time zone"),
        max_length=64,
        help_text=_("An IANA name, for example Europe/Berlin."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def clean_time_zone(self) -> str:
        zone = str(self.cleaned_data["time_zone"]).strip()
        if zone not in available_timezones():
            raise forms.ValidationError(_("There is no such time zone. Write it like Europe/Berlin or UTC."))
        return zone


class NewAccountForm(forms.Form):
    """A further account."""

    name = forms.CharField(label=_("Name of the new account"), max_length=100)


class InviteForm(forms.Form):
    """Somebody to invite; only owners may choose the owner's role."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), initial=Role.DEVELOPER)

    def __init__(self, *args: object, is_owner: bool, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # passed through
        field = self.fields["role"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = role_choices(is_owner=is_owner)


def role_choices(*, is_owner: bool) -> list[tuple[str, object]]:
    """The roles that an owner, or an administrator, may give."""
    return [(role.value, words) for role, words in ROLE_WORDS.items() if is_owner or role != Role.OWNER]
