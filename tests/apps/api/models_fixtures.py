"""What the tests of the model endpoints share: a small catalogue and clients with other keys."""

from __future__ import annotations

from apps.accounts.models import Account
from apps.apikeys.choices import ALL_SCOPES, DEFAULT_SCOPES
from apps.catalog.choices import Kind, Visibility
from apps.catalog.models import CatalogEntry
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import make_account, make_checkpoint, make_key

PREVIEW = {"file": "a" * 64 + ".webp", "media_type": "image/webp", "width": 512, "height": 128}


def make_catalogue(cast: Cast) -> dict[str, CatalogEntry]:
    """A few of everything: public, Ada's own, disabled. `tiny` is there already."""
    entries = [
        make_checkpoint(
            "realistic-vision-51",
            title="Realistic Vision",
            description="Photos of people.",
            tags=["photo", "portrait"],
            provider="acme",
            previews=[PREVIEW],
            use_count=90,
        ),
        make_checkpoint("dream-xl", family="sdxl", variant="turbo", tags=["photo"], use_count=50),
        make_checkpoint(
            "more_details", kind=Kind.LORA, trigger_words=["detailed", "sharp"], tags=["style"], use_count=70
        ),
        make_checkpoint("flux-lora", kind=Kind.LORA, family="flux", use_count=5),
        make_checkpoint("adas", visibility=Visibility.PRIVATE, owner=cast.account, use_count=1),
        make_checkpoint("switched-off", is_enabled=False, use_count=1000),
    ]
    return {entry.name: entry for entry in entries}


def operator() -> ApiClient:
    """A client with Otto's key: every scope, an account of its own."""
    account = Account.objects.filter(slug="operator").first() or make_account("operator")
    return ApiClient(make_key(account, scopes=ALL_SCOPES).plaintext)


def reader(cast: Cast) -> ApiClient:
    """A client with a key of Ada's account that may read models and not write any."""
    return ApiClient(make_key(cast.account, scopes=DEFAULT_SCOPES).plaintext)
