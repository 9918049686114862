"""Which guides there are, in what order, and their pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from apps.api.reference.markdown import Page, escaped, render_page

_TEMPLATES: Final[Any] = settings.TEMPLATES  # Any: Django's own structure
FOLDER: Final = Path(_TEMPLATES[0]["DIRS"][0]) / "docs"
SERVER: Final = "https://darkroom.example"
"""What stands in guides for the address of this server."""
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "Start": ("getting-started", "authentication", "lora-and-models"),
    "Make images": (
        "text-to-image",
        "image-to-image",
        "inpaint-and-outpaint",
        "edit-with-words",
        "controlnet",
        "upscale",
        "background-removal",
        "face-swap",
        "read-pictures",
    ),
    "Build on it": ("streaming-progress", "webhooks", "errors-and-retries", "limits-and-quotas"),
    "Move over": ("from-modelslab", "from-openai", "automatic1111-clients"),
    "Keep it in order": ("keys-and-billing", "privacy-and-retention", "safety"),
    "Look up": ("error-codes", "model-imports", "webhook-deliveries"),
}
"""Section -> slugs, in order; each is a file of the folder `guides`, or one of OTHER_FILES."""
OTHER_FILES: Final[Mapping[str, str]] = {
    "error-codes": "errors.md",
    "model-imports": "imports.md",
    "webhook-deliveries": "webhooks.md",
}
SLUGS: Final = tuple(slug for slugs in SECTIONS.values() for slug in slugs)


def file_of(slug: str) -> Path:
    """Where a guide is written. Raises LookupError for none of ours."""
    if slug not in SLUGS:
        raise LookupError(slug)
    return FOLDER / OTHER_FILES.get(slug, f"guides/{slug}.md")


@cache
def guide(slug: str) -> Page:
    """The page, with SERVER where addresses are. Raises LookupError for none of ours."""
    page = render_page(file_of(slug).read_text(encoding="utf-8"))
    html = page.html
    # Files link to one another by their names, for readers of the repository.
    for other, name in OTHER_FILES.items():
        html = html.replace(f'href="{name}', f'href="/docs/guides/{other}')
    return replace(page, html=html)


def html_for(page: Page, *, server: str) -> str:
    """The page with the address under which its reader has found us."""
    return page.html.replace(SERVER, escaped(server))


def menu() -> list[tuple[str, list[tuple[str, str]]]]:
    """Section, and slug and title of its guides."""
    return [(name, [(slug, guide(slug).title) for slug in slugs]) for name, slugs in SECTIONS.items()]


def neighbours(slug: str) -> tuple[tuple[str, str] | None, tuple[str, str] | None]:
    """Slug and title of the guide before and of the one after."""
    place = SLUGS.index(slug)
    around = [SLUGS[place - 1] if place else None, SLUGS[place + 1] if place + 1 < len(SLUGS) else None]
    before, after = [(each, guide(each).title) if each else None for each in around]
    return before, after
