"""Turns a template into a subject, a plain text and a simple page. Knows nothing of the outbox.

`templates/mails/NAME.txt` holds the subject in its first line and the text below an empty line.
The page is made from the text, so that both always say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from django.conf import settings
from django.template.backends.django import DjangoTemplates
from django.utils import translation
from django.utils.html import format_html, format_html_join, urlize
from django.utils.safestring import mark_safe

SUBJECT_LENGTH: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A mail's parts."""

    subject: str
    """One line of at most SUBJECT_LENGTH characters."""
    text: str
    html: str


def render(template: str, context: Mapping[str, object], *, language: str) -> Rendered:
    """Render in `language`. Raises TemplateDoesNotExist, and ValueError without a subject or a text."""
    with translation.override(language):
        whole = _engine().get_template(f"mails/{template}.txt").render(dict(context)).strip()
    subject, _, text = whole.partition("\n")
    # Also what a name with line breaks in it would make of the headers.
    subject = " ".join(subject.split())[:SUBJECT_LENGTH]
    text = text.strip() + "\n"
    if not subject or not text.strip():
        raise ValueError(f"mails/{template}.txt must have a subject in its first line and a text below")
    return Rendered(subject=subject, text=text, html=_page(subject, text, language))


@cache
def _engine() -> DjangoTemplates:
    """The product's templates without escaping: in plain text, O&#x27;Hara is a mistake."""
    return DjangoTemplates(
        {
            "NAME": "mails",
            "DIRS": settings.TEMPLATES[0]["DIRS"],
            "APP_DIRS": False,
            "OPTIONS": {"autoescape": False},
        }
    )


def _page(subject: str, text: str, language: str) -> str:
    paragraphs = (part.strip() for part in text.split("\n\n") if part.strip())
    body = format_html_join(
        "\n", "<p>{}</p>", ((_with_breaks(urlize(paragraph, autoescape=True)),) for paragraph in paragraphs)
    )
    return format_html(
        '<!doctype html><html lang="{}"><head><meta charset="utf-8"><title>{}</title></head>'
        '<body style="font-family:sans-serif;line-height:1.5;max-width:36em;margin:1.5em auto;padding:0 1em">'
        "{}</body></html>",
        language,
        subject,
        body,
    )


def _with_breaks(escaped: str) -> str:
    # urlize has escaped it.
    return mark_safe(escaped.replace("\n", "<br>\n"))  # noqa: S308
