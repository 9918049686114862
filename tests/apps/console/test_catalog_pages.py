from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent
from apps.catalog.choices import Kind, Visibility
from apps.catalog.models import CatalogEntry
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, png_bytes

LIST = "/console/catalog/catalogentry/"


@pytest.fixture
def otto(cast: Cast, client: Client, tmp_path: Path, settings: Any) -> Client:
    """A browser in which Otto is signed in."""
    settings.MODEL_DIR = str(tmp_path)
    client.force_login(cast.otto)
    return client


def _names(otto: Client, query: str = "") -> list[str]:
    response = otto.get(f"{LIST}{query}")
    assert response.status_code == 200
    return [entry.name for entry in response.context["cl"].result_list]


def _form(entry: CatalogEntry, **changes: Any) -> dict[str, Any]:
    """The form as a browser would send it back, with changes."""
    values = {
        "title": entry.title,
        "description": entry.description,
        "aliases": ",".join(entry.aliases),
        "tags": ",".join(entry.tags),
        "trigger_words": "\r\n".join(entry.trigger_words),
        "is_enabled": "on",
        "visibility": entry.visibility,
        "residency_policy": entry.residency_policy,
        "defaults": '{"steps": 25, "guidance_scale": 4.0, "sampler": "dpmpp_2m", "negative_prompt": ""}',
        "native_px": "64",
        "min_side_px": "64",
        "max_side_px": "2048",
        "max_native_side_px": "512",
        "licence": entry.licence,
    }
    # What the page was opened with, in hidden fields.
    opened = {f"initial-{name}": values[name] for name in ("aliases", "tags", "defaults")}
    return values | opened | changes


def _act(otto: Client, action: str, *entries: CatalogEntry, **more: str) -> Any:
    chosen = {"action": action, "_selected_action": [entry.pk for entry in entries]}
    return otto.post(LIST, chosen | more, follow=True)


def test_the_list_searches_words_and_hides_what_is_deleted(otto: Client, clock: FrozenClock) -> None:
    make_checkpoint("realistic-vision-51", use_count=5)
    make_checkpoint("lora", kind=Kind.LORA, description="a realistic one", use_count=9)
    make_checkpoint("gone", deleted_at=clock.now())
    assert _names(otto) == ["lora", "realistic-vision-51"]
    assert _names(otto, "?q=realis+vis") == ["realistic-vision-51"]
    assert _names(otto, "?q=realis") == ["lora", "realistic-vision-51"]
    assert _names(otto, "?q=%27%3B+%26+%21") == []
    assert _names(otto, "?q=realis&kind__exact=lora") == ["lora"]


def test_the_list_is_as_quick_with_many_models(otto: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            otto.get(LIST)
        return len(captured)

    make_checkpoint("one", owner=None)
    few = queries()
    for number in range(30):
        make_checkpoint(f"m-{number}")
    assert queries() == few


def test_the_detail_shows_components_and_previews(otto: Client) -> None:
    entry = make_checkpoint(
        "tiny",
        components=[
            {
                "name": "unet",
                "class_name": "UNet2DConditionModel",
                "dtype": "F16",
                "size_bytes": 1_500_000,
                "digest": "d" * 64,
            }
        ],
        details={"prediction_type": "<b>v</b>"},
        previews=[{"file": "a" * 64 + ".webp", "media_type": "image/webp", "width": 8, "height": 8}],
    )
    html = otto.get(f"{LIST}{entry.pk}/change/").content.decode()
    assert "<td>unet</td><td>UNet2DConditionModel</td><td>F16</td><td>1.5 MB</td>" in html
    assert "&lt;b&gt;v&lt;/b&gt;" in html and "<b>v</b>" not in html
    assert f'src="/previews/{"a" * 64}.webp"' in html


def test_a_form_sent_back_unchanged_changes_nothing(otto: Client) -> None:
    entry = make_checkpoint("tiny", aliases=["a", "b"], tags=["x"], trigger_words=["1girl, red", "two"])
    before = CatalogEntry.objects.values().get()
    assert otto.post(f"{LIST}{entry.pk}/change/", _form(entry)).status_code == 302
    assert CatalogEntry.objects.values().get() == before
    assert AuditEvent.objects.filter(name__startswith="catalog.").count() == 0


def test_a_change_is_written_by_the_service(otto: Client, cast: Cast) -> None:
    entry = make_checkpoint("tiny")
    form = _form(
        entry,
        trigger_words="1girl, red\r\ntwo\r\n",
        visibility="accounts",
        allowed_accounts=[cast.account.pk],
        keep_alive_s="60",
        new_preview=SimpleUploadedFile("p.png", png_bytes(), "image/png"),
    )
    assert otto.post(f"{LIST}{entry.pk}/change/", form).status_code == 302
    entry.refresh_from_db()
    assert (entry.trigger_words, entry.visibility, entry.keep_alive_s) == (
        ["1girl, red", "two"],
        "accounts",
        60,
    )
    assert (list(entry.allowed_accounts.all()), len(entry.previews)) == ([cast.account], 1)
    events = AuditEvent.objects.filter(name__startswith="catalog.").order_by("id")
    assert [(event.name, event.actor_label) for event in events] == [
        ("catalog.entry.changed", "otto@example.com"),
        ("catalog.entry.preview_added", "otto@example.com"),
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aliases": "taken"}, "Taken already names another model."),
        ({"visibility": "private"}, "catalog_entry_private_has_owner"),
        ({"new_preview": SimpleUploadedFile("p.png", b"<html>", "image/png")}, "must be a PNG"),
    ],
)
def test_a_refused_change_is_shown(otto: Client, changes: dict[str, Any], problem: str) -> None:
    make_checkpoint("taken")
    entry = make_checkpoint("tiny")
    response = otto.post(f"{LIST}{entry.pk}/change/", _form(entry, **changes), follow=True)
    assert problem in response.content.decode()
    entry.refresh_from_db()
    assert (entry.aliases, entry.visibility, entry.previews) == ([], "public", [])


@pytest.mark.parametrize(
    ("action", "field", "value"),
    [
        ("disable", "is_enabled", False),
        ("enable", "is_enabled", True),
        ("pin", "residency_policy", "pinned"),
        ("keep_warm", "residency_policy", "warm"),
        ("load_on_demand", "residency_policy", "on_demand"),
    ],
)
def test_actions_change_what_is_chosen(otto: Client, action: str, field: str, value: object) -> None:
    one, two = make_checkpoint("one"), make_checkpoint("two", is_enabled=False, residency_policy="pinned")
    before = getattr(two, field)
    assert "1 changed." in _act(otto, action, one).content.decode()
    one.refresh_from_db()
    two.refresh_from_db()
    assert (getattr(one, field), getattr(two, field)) == (value, before)
    assert AuditEvent.objects.filter(name="catalog.entry.changed").count() == 1


def test_only_checkpoints_are_pinned(otto: Client) -> None:
    lora = make_checkpoint("lora", kind=Kind.LORA)
    assert "Only checkpoints are kept: left out 1." in _act(otto, "pin", lora).content.decode()
    lora.refresh_from_db()
    assert lora.residency_policy == "on_demand"


def test_a_reload_is_asked_for(otto: Client, clock: FrozenClock) -> None:
    entry = make_checkpoint("tiny")
    _act(otto, "reload", entry)
    entry.refresh_from_db()
    assert entry.reload_requested_at == clock.now()


def test_deleting_asks_first(otto: Client, clock: FrozenClock) -> None:
    entry = make_checkpoint("tiny")
    html = _act(otto, "delete_models", entry).content.decode()
    assert "It cannot be undone" in html and re.search(rf'value="{entry.pk}"', html)
    entry.refresh_from_db()
    assert entry.deleted_at is None
    assert "Deleted: tiny." in _act(otto, "delete_models", entry, is_sure="1").content.decode()
    entry.refresh_from_db()
    assert entry.deleted_at == clock.now()
    assert _names(otto) == []


def test_customers_have_no_console(cast: Cast, client: Client) -> None:
    entry = make_checkpoint("adas", visibility=Visibility.PRIVATE, owner=cast.account)
    for user in (cast.ada, cast.cleo):
        client.force_login(user)
        for path in (LIST, f"{LIST}{entry.pk}/change/"):
            assert client.get(path).status_code == 302
        assert client.post(LIST, {"action": "disable", "_selected_action": [entry.pk]}).status_code == 302
    entry.refresh_from_db()
    assert entry.is_enabled
