from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.catalog.choices import Kind, Visibility
from apps.catalog.defaults import problem_of_defaults
from apps.catalog.errors import CheckpointNotFound, EntryDisabled
from apps.catalog.facts import EntryFacts
from apps.catalog.files import digest_folder
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import access_checkpoint, list_checkpoints
from apps.catalog.services import change_entry, register_checkpoint
from apps.core.errors import Conflict, InvalidField
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_folder

DEFAULTS = {"steps": 4, "guidance_scale": 4.0, "sampler": "dpmpp_2m", "negative_prompt": ""}


@pytest.fixture
def facts(tmp_path: Path) -> EntryFacts:
    folder = make_folder(tmp_path / "weights", model_index__json="{}", unet="weights")
    return EntryFacts(
        kind=Kind.CHECKPOINT,
        name="tiny-1.5",
        title="Tiny",
        family="sd15",
        path=folder,
        native_px=64,
        min_side_px=64,
        max_side_px=512,
        max_native_side_px=128,
        licence="MIT",
        aliases=("tiny",),
        defaults=DEFAULTS,
    )


def test_a_checkpoint_is_found_by_name_and_alias_in_one_query(cast: Cast) -> None:
    checkpoint = make_checkpoint("tiny", aliases=["little", "small.v1"])
    for name in ("tiny", "little", "small.v1"):
        with CaptureQueriesContext(connection) as queries:
            assert access_checkpoint(account=cast.account, name=name) == checkpoint
        assert len(queries) == 1


@pytest.mark.parametrize(
    "fields", [{"name": "b"}, {"name": "c", "aliases": ["b"]}, {"name": "c", "aliases": ["a"]}]
)
def test_the_database_lets_no_two_entries_share_a_name_or_alias(cast: Cast, fields: dict[str, Any]) -> None:
    first = make_checkpoint("a", aliases=["b"])
    with pytest.raises(IntegrityError), transaction.atomic():
        make_checkpoint(**fields)
    assert access_checkpoint(account=cast.account, name="b") == first


@pytest.mark.parametrize("name", ["nothing", "", "Tiny", "tin", "tiny ", "x" * 500])
def test_an_unknown_name_is_refused_in_the_contracts_words(cast: Cast, name: str) -> None:
    make_checkpoint("tiny")
    with pytest.raises(CheckpointNotFound) as refusal:
        access_checkpoint(account=cast.account, name=name)
    assert refusal.value.http_status == 400
    assert str(refusal.value) == f"Model not found: {name[:200]}"


def test_a_disabled_checkpoint_is_refused_by_name_and_does_not_exist_for_strangers(cast: Cast) -> None:
    make_checkpoint("tiny", is_enabled=False, visibility=Visibility.PRIVATE, owner=cast.account)
    with pytest.raises(EntryDisabled, match=r"^The model tiny is disabled on this server\.$"):
        access_checkpoint(account=cast.account, name="tiny")
    with pytest.raises(CheckpointNotFound, match=r"^Model not found: tiny$"):
        access_checkpoint(account=cast.strangers_account, name="tiny")


def test_a_stranger_cannot_see_a_private_checkpoint(cast: Cast) -> None:
    private = make_checkpoint("mine", visibility=Visibility.PRIVATE, owner=cast.account)
    public = make_checkpoint("ours")
    assert list(list_checkpoints(cast.account)) == [private, public]
    assert list(list_checkpoints(cast.strangers_account)) == [public]
    with pytest.raises(CheckpointNotFound, match=r"^Model not found: mine$"):
        access_checkpoint(account=cast.strangers_account, name="mine")


def test_the_digest_is_of_names_and_contents(tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one", b="2", a="1")
    make_folder(one / "sub", c="33")
    two = make_folder(tmp_path / "two", a="1", b="2")
    make_folder(two / "sub", c="33")

    def line(name: str, text: str) -> bytes:
        return f"{name}\0{hashlib.sha256(text.encode()).hexdigest()}\n".encode()

    expected = hashlib.sha256(line("a", "1") + line("b", "2") + line("sub/c", "33")).hexdigest()
    assert digest_folder(one) == digest_folder(two)
    assert (digest_folder(one).digest, digest_folder(one).size_bytes) == (expected, 4)
    (two / "a").rename(two / "d")
    assert digest_folder(one) != digest_folder(two)


def test_a_folder_without_files_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", make_folder(tmp_path / "empty")):
        with pytest.raises(InvalidField, match="must be a folder with weights"):
            digest_folder(path)


def test_registering_twice_changes_nothing(db: None, clock: FrozenClock, facts: EntryFacts) -> None:
    first = register_checkpoint(facts=facts, actor=SYSTEM, now=clock.now())
    CatalogEntry.objects.update(title="Renamed by an operator")
    events = AuditEvent.objects.count()
    second = register_checkpoint(facts=facts, actor=SYSTEM, now=clock.advance(days=1))
    assert (second.pk, second.title) == (first.pk, "Renamed by an operator")
    assert AuditEvent.objects.count() == events
    assert (second.aliases, second.defaults, second.size_bytes) == (["tiny"], DEFAULTS, 9)


def test_new_files_are_taken_over(db: None, clock: FrozenClock, facts: EntryFacts) -> None:
    first = register_checkpoint(facts=facts, actor=SYSTEM, now=clock.now())
    make_folder(facts.path, unet="better weights")
    better = replace(facts, defaults=DEFAULTS | {"steps": 8})
    second = register_checkpoint(facts=better, actor=SYSTEM, now=clock.advance(days=1))
    assert second.pk == first.pk and second.digest != first.digest
    assert (second.defaults, second.created_at) == (DEFAULTS | {"steps": 8}, first.created_at)
    names = list(AuditEvent.objects.order_by("id").values_list("name", flat=True))
    assert names == ["catalog.entry.registered", "catalog.entry.updated"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"name": "../etc"}, InvalidField),
        ({"source_url": "javascript:alert(1)"}, InvalidField),
        ({"max_native_side_px": 4096}, InvalidField),
        ({"visibility": Visibility.PRIVATE}, InvalidField),
        ({"defaults": {"steps": 0}}, InvalidField),
        ({"name": "other", "aliases": ("taken",)}, Conflict),
        ({"name": "other", "aliases": ("also-taken",)}, Conflict),
    ],
)
def test_an_unusable_checkpoint_is_refused(
    db: None, clock: FrozenClock, facts: EntryFacts, change: dict[str, Any], error: type[Exception]
) -> None:
    make_checkpoint("taken", aliases=["also-taken"])
    with pytest.raises(error):
        register_checkpoint(facts=replace(facts, **change), actor=SYSTEM, now=clock.now())
    assert (CatalogEntry.objects.count(), AuditEvent.objects.count()) == (1, 0)


def test_a_change_is_audited(cast: Cast, clock: FrozenClock) -> None:
    checkpoint = make_checkpoint("tiny")
    change_entry(entry=checkpoint, changes={"is_enabled": False}, actor=cast.otto.ref, now=clock.now())
    assert not CatalogEntry.objects.get().is_enabled
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.actor_label, event.data["is_enabled"]) == (
        "catalog.entry.changed",
        "otto@example.com",
        False,
    )


@pytest.mark.parametrize(
    "values",
    [
        {"name": "with space"},
        {"visibility": "private", "owner": None},
        {"min_side_px": 4096},
        {"max_native_side_px": 9000},
    ],
)
def test_the_database_refuses_malformed_checkpoints(db: None, values: dict[str, Any]) -> None:
    make_checkpoint("tiny")
    with pytest.raises(IntegrityError), transaction.atomic():
        CatalogEntry.objects.update(**values)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"negative_prompt": "blurry"}, None),
        ({"guidance_scale": 0}, None),
        ({"steps": 0}, "steps must be 1 to 150, not 0"),
        ({"steps": True}, "steps must be 1 to 150, not True"),
        ({"steps": "25"}, "steps must be 1 to 150, not '25'"),
        ({"guidance_scale": -1}, "guidance_scale must be 0 to 50, not -1"),
        ({"guidance_scale": None}, "guidance_scale must be 0 to 50, not None"),
        ({"sampler": "magic"}, "not 'magic'"),
        ({"sampler": ["ddim"]}, "sampler must be one of"),
        ({"negative_prompt": 1}, "negative_prompt must be text"),
        ({"colour": 1}, "missing or unknown: colour"),
    ],
)
def test_defaults_must_complete_any_request(change: dict[str, Any], problem: str | None) -> None:
    found = problem_of_defaults(DEFAULTS | change)
    assert (found is None) if problem is None else (found is not None and problem in found)
