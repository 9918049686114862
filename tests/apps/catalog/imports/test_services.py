"""Asking, canceling, retrying: what is written, what is rung, and what a refusal leaves alone."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from django_q.models import OrmQ

from apps.audit.models import AuditEvent
from apps.catalog.choices import ImportSource, ImportState, Visibility
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.secrets import find_token
from apps.catalog.imports.services import MAX_OPEN_OF_ACCOUNT, cancel_import, retry_import
from apps.catalog.models import ModelImport
from apps.core import clock
from apps.core.errors import Conflict, InvalidField
from tests.apps.catalog.imports.studio import OPERATOR, hub, submit, trail, url
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint

pytestmark = pytest.mark.django_db


def rings() -> int:
    return int(OrmQ.objects.filter(key="imports").count())


def cancel(row: ModelImport) -> ModelImport:
    return cancel_import(model_import=row, actor=OPERATOR, now=clock.now())


def retry(row: ModelImport, **options: str) -> ModelImport:
    return retry_import(model_import=row, actor=OPERATOR, now=clock.now(), **options)


def put(row: ModelImport, state: ImportState, **fields: Any) -> ModelImport:
    """The row as a runner would have left it."""
    now = clock.now()
    running = {"claimed_by": "x", "lease_expires_at": now, "phase": "downloading"}
    ended = {"finished_at": now}
    values = {"state": state, **(running if state == ImportState.RUNNING else ended), **fields}
    ModelImport.objects.filter(pk=row.pk).update(**values)
    row.refresh_from_db()
    return row


def test_submitting_writes_a_row_an_event_and_rings(clock: FrozenClock) -> None:
    row = submit(hub("lab/tiny-lora", title="Tiny"))
    assert (row.state, row.requested_name, row.requested_by) == ("queued", "tiny-lora", "manage.py")
    assert row.created_at == row.updated_at == clock.now()
    assert ImportOptions.from_json(row.options) == hub("lab/tiny-lora", title="Tiny")
    assert rings() == 1
    event = AuditEvent.objects.get(name="catalog.import.submitted")
    assert event.data == {"source": "hub", "address": "lab/tiny-lora", "visibility": "public"}


def test_the_token_lies_in_a_file_of_its_own_and_nowhere_else(settings: Any) -> None:
    row = submit(hub(token="hf_secret"))
    path = Path(settings.HOME_DIR) / "secrets" / "imports" / str(row.pk)
    assert path.read_text() == "hf_secret"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert "hf_secret" not in str(ModelImport.objects.values().get())
    assert "hf_secret" not in str(list(AuditEvent.objects.values()))
    assert "hf_secret" not in str(list(OrmQ.objects.values()))
    assert "hf_secret" not in repr(hub(token="hf_secret"))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://example.com/Some%20Model_v2.safetensors", "some-20model_v2"),
        ("http://example.com/api/download/models/4711", ""),
    ],
)
def test_a_url_that_names_a_file_names_the_model(address: str, name: str) -> None:
    assert submit(url(address)).requested_name == name


@pytest.mark.parametrize(
    ("fields", "field", "says"),
    [
        ({"defaults": {"steps": 9999}}, "defaults", "steps must be 1 to 150, not 9999"),
        ({"defaults": {"guidance_scale": "7"}}, "defaults", "guidance_scale must be 0 to 50, not '7'"),
        ({"defaults": {"sampler": "best"}}, "defaults", "sampler must be one of"),
        ({"defaults": {"negative_prompt": 1}}, "defaults", "negative_prompt must be text"),
        ({"defaults": {"seed": 1}}, "defaults", "unknown: seed"),
        ({"name": "tags"}, "name", "tags is the name of a page"),
        ({"aliases": ("fine", "facets")}, "aliases", "facets is the name of a page"),
        ({"aliases": ("",)}, "aliases", "must be letters, digits"),
    ],
)
def test_what_the_catalogue_would_refuse_is_refused_before_anything_is_fetched(
    fields: dict[str, Any], field: str, says: str
) -> None:
    with pytest.raises(InvalidField, match=says) as refused:
        submit(hub(**fields))
    assert refused.value.field == field
    assert not ModelImport.objects.exists()
    assert rings() == 0


@pytest.mark.parametrize(
    "defaults", [{}, {"steps": 150}, {"sampler": "euler", "guidance_scale": 0, "negative_prompt": "blurry"}]
)
def test_defaults_may_be_given_in_part(defaults: dict[str, Any]) -> None:
    assert submit(hub(defaults=defaults)).options["defaults"] == defaults


def test_private_models_need_an_owner() -> None:
    with pytest.raises(InvalidField, match="private needs an account"):
        submit(hub(visibility=Visibility.PRIVATE))
    assert not ModelImport.objects.exists()
    assert rings() == 0


def test_a_name_that_is_taken_is_refused_and_nothing_happens(cast: Cast, settings: Any) -> None:
    make_checkpoint("taken", aliases=["other"])
    for options in (hub(name="taken"), hub(name="other"), hub(name="free", aliases=("taken",), token="x")):
        with pytest.raises(Conflict):
            submit(options)
    assert not ModelImport.objects.exists()
    assert not AuditEvent.objects.filter(name__startswith="catalog.import").exists()
    assert not (Path(settings.HOME_DIR) / "secrets").exists()
    assert rings() == 0


def test_of_two_imports_of_one_name_the_second_waits_for_nobody() -> None:
    first = submit(hub("lab/one"))
    with pytest.raises(Conflict, match="one is being imported already"):
        submit(hub("other/one"))
    cancel(first)
    submit(hub("other/one"))


def test_an_account_may_not_fill_the_queue(cast: Cast) -> None:
    for number in range(MAX_OPEN_OF_ACCOUNT):
        submit(hub(f"lab/model-{number}"), cast.account)
    with pytest.raises(Conflict, match="20 imports of this account are under way"):
        submit(hub("lab/one-more"), cast.account)
    submit(hub("lab/one-more"), cast.strangers_account)
    submit(hub("lab/operators"))


def test_canceling_a_waiting_import_ends_it_at_once(model_dir: Path) -> None:
    row = submit(hub(token="secret"))
    (model_dir / "staging" / str(row.pk)).mkdir(parents=True)
    canceled = cancel(row)
    assert (canceled.state, canceled.is_cancel_requested) == ("canceled", True)
    assert find_token(row.pk) == ""
    assert not (model_dir / "staging" / str(row.pk)).exists()
    assert trail(row) == ["submitted", "canceled"]


def test_canceling_a_running_import_asks_its_runner() -> None:
    row = put(submit(hub(token="secret")), ImportState.RUNNING)
    asked = cancel(row)
    assert (asked.state, asked.is_cancel_requested) == ("running", True)
    cancel(row)
    assert trail(row) == ["submitted", "cancel_requested"]
    assert find_token(row.pk) == "secret"


@pytest.mark.parametrize("state", [ImportState.SUCCEEDED, ImportState.FAILED, ImportState.CANCELED])
def test_what_has_ended_cannot_be_canceled(state: ImportState) -> None:
    row = put(submit(hub()), state)
    with pytest.raises(Conflict, match=f"has ended already: {state}"):
        cancel(row)
    assert trail(row) == ["submitted"]


def test_a_retry_begins_with_a_clean_row_and_a_fresh_count() -> None:
    row = put(
        submit(hub(token="old")),
        ImportState.FAILED,
        error_code="download_failed",
        error_message="…",
        attempt=4,
        is_cancel_requested=True,
    )
    again = retry(row, token="new")
    assert (again.state, again.error_code, again.error_message) == ("queued", "", "")
    assert (again.attempt, again.is_cancel_requested, again.finished_at) == (0, False, None)
    assert find_token(row.pk) == "new"
    assert rings() == 2
    assert trail(row) == ["submitted", "retried"]


@pytest.mark.parametrize("state", [ImportState.SUCCEEDED, ImportState.RUNNING])
def test_what_has_not_failed_cannot_be_retried(state: ImportState) -> None:
    row = put(submit(hub()), state)
    with pytest.raises(Conflict, match="Only a failed or canceled import"):
        retry(row)
    assert rings() == 1


def test_a_retry_does_not_take_a_name_that_is_gone(cast: Cast) -> None:
    row = put(submit(hub("lab/one")), ImportState.FAILED)
    make_checkpoint("one")
    with pytest.raises(Conflict, match="one already names another model"):
        retry(row)
    row.refresh_from_db()
    assert row.state == "failed"


def test_folders_of_the_server_are_those_that_are_meant_for_it(model_dir: Path, tmp_path: Path) -> None:
    (model_dir / "incoming").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (model_dir / "incoming" / "link").symlink_to(outside)
    for path in (outside, model_dir / "incoming" / "link", model_dir / "incoming" / ".." / "components"):
        with pytest.raises(InvalidField):
            submit(ImportOptions(source=ImportSource.FOLDER, address=str(path)))
    submit(ImportOptions(source=ImportSource.FOLDER, address=str(outside), is_anywhere=True))
