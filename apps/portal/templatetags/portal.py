"""The portal's own words in templates: icons, amounts, form fields, form tokens."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from django import forms, template
from django.forms import BoundField
from django.templatetags.static import static
from django.utils.formats import get_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.timesince import timesince
from django.utils.translation import gettext as _

from apps.billing.money import MICRO_PER_USD, format_usd, from_cents, to_cents
from apps.core import clock

register = template.Library()

SPRITE = "vendor/bootstrap-icons/icons.svg"
CENTS = 2
JUST_NOW = timedelta(minutes=1)
# For languages that write 1.234,50.
SWAPPED = str.maketrans(",.", ".,")


@register.simple_tag
def icon(name: str, classes: str = "") -> SafeString:
    """A picture beside words; screen readers pass over it."""
    return format_html(
        '<svg class="icon {}" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>',
        classes,
        static(SPRITE),
        name,
    )


@register.filter
def usd(micro: int | None) -> str:
    """Micro-USD in dollars and cents, exact, as the page's language writes it; empty for None."""
    return "" if micro is None else _localised(format_usd(micro, digits=CENTS))


@register.filter
def charged_usd(micro: int) -> str:
    """What a card or an invoice is charged: whole cents, as the page's language writes them."""
    return usd(from_cents(to_cents(micro).cents))


@register.filter
def dollars(micro: int | None) -> str:
    """The same without cents where there are none: what a plan costs."""
    if micro is None:
        return ""
    return _localised(format_usd(micro, digits=0 if micro % MICRO_PER_USD == 0 else CENTS))


@register.filter
def plain_usd(micro: int | None) -> str:
    """An amount as people type it and `parse_usd` reads it; empty for None."""
    return "" if not isinstance(micro, int) else format_usd(micro, digits=0).replace("$", "").replace(",", "")


def _localised(text: str) -> str:
    return text if get_format("DECIMAL_SEPARATOR") == "." else text.translate(SWAPPED)


@register.filter
def number(value: object) -> str:
    """A count with the language's separators; words such as `unlimited` as they are."""
    return number_format(value, force_grouping=True) if isinstance(value, int) else str(value)


@register.filter
def ago(moment: datetime | None) -> str:
    """How long something is past, roughly; empty for None."""
    if moment is None:
        return ""
    if clock.now() - moment < JUST_NOW:
        return _("just now")
    return _("%(time)s ago") % {"time": timesince(moment, clock.now(), depth=1)}


@register.simple_tag
def form_token() -> SafeString:
    """Names this rendering of a form, so that sending it twice is one act."""
    return format_html('<input type="hidden" name="token" value="{}">', uuid4())


@register.inclusion_tag("portal/parts/field.html")
def field(bound: BoundField, **options: Any) -> dict[str, object]:
    """One form field with its label, help and errors, tied together for screen readers."""
    widget = bound.field.widget
    is_check = isinstance(widget, forms.CheckboxInput)
    is_group = isinstance(widget, forms.RadioSelect | forms.CheckboxSelectMultiple)
    classes = "form-check-input" if is_check else "form-control"
    is_select = isinstance(widget, forms.Select) and not is_group
    if is_select:
        classes = "form-select"
    attrs: dict[str, str | bool] = {} if is_group else {"class": classes}
    described = [f"{bound.auto_id}_help"] if bound.help_text else []
    if bound.errors:
        attrs |= {"aria-invalid": "true", "class": f"{classes} is-invalid"}
        described.append(f"{bound.auto_id}_error")
    if described:
        attrs["aria-describedby"] = " ".join(described)
    kinds = {"is_check": is_check, "is_group": is_group, "is_select": is_select}
    return {"field": bound, "control": bound.as_widget(attrs=attrs)} | kinds | options
