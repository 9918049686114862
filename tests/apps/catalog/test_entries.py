from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.catalog.choices import Kind, ResidencyPolicy, Visibility
from apps.catalog.errors import EntryNotFound, FamilyMismatch, LoraNotFound, VaeNotFound
from apps.catalog.facts import EntryFacts, provider_of
from apps.catalog.models import RESERVED_NAMES, CatalogEntry, CatalogName
from apps.catalog.selectors import access_entry, list_usable, require_compatible
from apps.catalog.services import change_entry, delete_entry, register_entry
from apps.core.errors import Conflict, InvalidField
from gpu_runtime.weights.taxonomy import ModelKind
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_folder, make_key


@pytest.fixture
def lora(model_dir: Path) -> EntryFacts:
    """Facts of a LoRA that lies in the store."""
    folder = make_folder(model_dir / "components" / ("a" * 64), weights__safetensors="x")
    return EntryFacts(
        kind=Kind.LORA,
        name="more_details",
        path=folder,
        digest="a" * 64,
        size_bytes=1,
        family="sd15",
        tags=("Style", "style ", "dark"),
        trigger_words=(" detailed ", "1girl, red"),
        source_url="https://huggingface.co/Acme/more_details",
        details={"rank": 8},
    )


def test_kinds_are_the_words_of_the_taxonomy() -> None:
    assert {kind.value for kind in Kind} == {kind.value for kind in ModelKind}


def test_an_import_registers_any_kind(db: None, clock: FrozenClock, lora: EntryFacts) -> None:
    entry = register_entry(facts=lora, actor=SYSTEM, now=clock.now())
    entry.refresh_from_db()
    assert (entry.kind, entry.title, entry.tags, entry.trigger_words) == (
        "lora",
        "more_details",
        ["style", "dark"],
        ["detailed", "1girl, red"],
    )
    assert (entry.provider, entry.imported_by, entry.created_at) == ("acme", "darkroom", clock.now())
    assert (entry.defaults, entry.native_px, entry.details) == ({}, 0, {"rank": 8})
    assert AuditEvent.objects.get().name == "catalog.entry.registered"


@pytest.mark.parametrize(
    ("family", "variant", "native_px", "longest_px", "steps", "guidance", "sampler"),
    [
        ("sd15", "", 512, 1024, 25, 7.5, "dpmpp_2m"),
        ("sdxl", "turbo", 1024, 1536, 4, 1.0, "euler_a"),
        ("flux", "schnell", 1024, 2048, 4, 0.0, "euler"),
    ],
)
def test_a_checkpoint_starts_with_what_is_true_of_its_family(
    db: None,
    clock: FrozenClock,
    tmp_path: Path,
    family: str,
    variant: str,
    native_px: int,
    longest_px: int,
    steps: int,
    guidance: float,
    sampler: str,
) -> None:
    facts = EntryFacts(
        kind=Kind.CHECKPOINT, name="m", path=tmp_path, digest="b" * 64, family=family, variant=variant
    )
    entry = register_entry(facts=facts, actor=SYSTEM, now=clock.now())
    assert (entry.native_px, entry.max_native_side_px) == (native_px, longest_px)
    assert entry.defaults == {
        "steps": steps,
        "guidance_scale": guidance,
        "sampler": sampler,
        "negative_prompt": "",
    }


def test_a_known_default_beats_the_familys(db: None, clock: FrozenClock, tmp_path: Path) -> None:
    facts = EntryFacts(
        kind=Kind.CHECKPOINT, name="m", path=tmp_path, digest="b" * 64, family="sd15", defaults={"steps": 9}
    )
    entry = register_entry(facts=facts, actor=SYSTEM, now=clock.now())
    assert (entry.defaults["steps"], entry.defaults["guidance_scale"]) == (9, 7.5)


def test_the_same_import_again_changes_nothing(db: None, clock: FrozenClock, lora: EntryFacts) -> None:
    first = register_entry(facts=lora, actor=SYSTEM, now=clock.now())
    CatalogEntry.objects.update(title="Renamed")
    again = register_entry(facts=replace(lora, title="New"), actor=SYSTEM, now=clock.advance(days=1))
    assert (again.pk, again.title) == (first.pk, "Renamed")
    assert AuditEvent.objects.count() == 1


def test_moved_files_keep_what_was_edited(
    db: None, clock: FrozenClock, lora: EntryFacts, tmp_path: Path
) -> None:
    register_entry(facts=lora, actor=SYSTEM, now=clock.now())
    CatalogEntry.objects.update(title="Renamed")
    moved = register_entry(facts=replace(lora, path=tmp_path), actor=SYSTEM, now=clock.now())
    moved.refresh_from_db()
    assert (moved.path, moved.title) == (str(tmp_path), "Renamed")


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "c" * 64},
        {"kind": Kind.VAE},
        {"name": "little"},
        {"name": "new", "aliases": ("more_details",)},
        {"name": "new", "aliases": ("little",)},
    ],
)
def test_a_name_that_means_something_else_is_refused(
    db: None, clock: FrozenClock, lora: EntryFacts, change: dict[str, Any]
) -> None:
    register_entry(facts=replace(lora, aliases=("little",)), actor=SYSTEM, now=clock.now())
    with pytest.raises(Conflict, match="already names another model"):
        register_entry(facts=replace(lora, **change), actor=SYSTEM, now=clock.now())
    assert (CatalogEntry.objects.count(), AuditEvent.objects.count()) == (1, 1)


def test_other_weights_replace_on_purpose_only(db: None, clock: FrozenClock, lora: EntryFacts) -> None:
    first = register_entry(facts=lora, actor=SYSTEM, now=clock.now())
    better = replace(lora, digest="c" * 64)
    second = register_entry(facts=better, actor=SYSTEM, now=clock.now(), is_replacement=True)
    assert (second.pk, second.digest) == (first.pk, "c" * 64)
    for change in ({"kind": Kind.VAE}, {"digest": "d" * 64, "kind": Kind.VAE}):
        with pytest.raises(Conflict):
            register_entry(
                facts=replace(better, **change), actor=SYSTEM, now=clock.now(), is_replacement=True
            )


def test_nobody_replaces_what_is_not_theirs(cast: Cast, clock: FrozenClock, lora: EntryFacts) -> None:
    mine = replace(lora, visibility=Visibility.PRIVATE, owner=cast.account)
    register_entry(facts=mine, actor=SYSTEM, now=clock.now())
    theirs = replace(mine, owner=cast.strangers_account, digest="c" * 64)
    with pytest.raises(Conflict):
        register_entry(facts=theirs, actor=SYSTEM, now=clock.now(), is_replacement=True)
    assert CatalogEntry.objects.get().digest == "a" * 64


def test_files_that_are_gone_are_not_registered(db: None, clock: FrozenClock, lora: EntryFacts) -> None:
    with pytest.raises(InvalidField, match="does not exist"):
        register_entry(facts=replace(lora, path=lora.path / "nothing"), actor=SYSTEM, now=clock.now())
    assert CatalogEntry.objects.count() == 0


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_no_model_takes_the_name_of_a_page(db: None, clock: FrozenClock, lora: EntryFacts, name: str) -> None:
    for change in ({"name": name}, {"aliases": (name,)}):
        with pytest.raises(InvalidField, match="is the name of a page"):
            register_entry(facts=replace(lora, **change), actor=SYSTEM, now=clock.now())


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("", "local"),
        ("https://huggingface.co/stabilityai/sdxl", "stabilityai"),
        ("https://civitai.com/api/download/models/1", "civitai"),
        ("https://www.example.co/x", "example"),
        ("http://127.0.0.1:8000/x.safetensors", "127.0.0.1"),
        ("http://box/x", "box"),
        ("https://[broken", "local"),
    ],
)
def test_the_provider_is_read_from_the_source(url: str, provider: str) -> None:
    assert provider_of(url) == provider


def test_a_change_writes_what_it_names_alone(cast: Cast, clock: FrozenClock) -> None:
    entry = make_checkpoint("tiny")
    CatalogEntry.objects.update(use_count=7, title="Changed meanwhile")
    changed = change_entry(
        entry=entry,
        changes={"tags": ["A", "a ", "b"], "residency_policy": ResidencyPolicy.PINNED, "keep_alive_s": 60},
        actor=cast.otto.ref,
        now=clock.now(),
    )
    changed.refresh_from_db()
    assert (changed.tags, changed.residency_policy, changed.keep_alive_s) == (["a", "b"], "pinned", 60)
    assert (changed.use_count, changed.title, changed.updated_at) == (7, "Changed meanwhile", clock.now())
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.data["fields"], event.data["residency_policy"]) == (
        "catalog.entry.changed",
        ["keep_alive_s", "residency_policy", "tags"],
        "pinned",
    )


def test_sharing_names_accounts(cast: Cast, clock: FrozenClock) -> None:
    entry = make_checkpoint("tiny")
    change_entry(
        entry=entry,
        changes={"visibility": Visibility.ACCOUNTS},
        allowed_accounts=[cast.account],
        actor=cast.otto.ref,
        now=clock.now(),
    )
    assert list(list_usable(account=cast.account)) == [entry]
    assert list(list_usable(account=cast.strangers_account)) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"path": "/etc"}, InvalidField),
        ({"digest": "0" * 64}, InvalidField),
        ({"name": "other"}, InvalidField),
        ({"deleted_at": None}, InvalidField),
        ({"visibility": "private"}, InvalidField),
        ({"visibility": "secret"}, InvalidField),
        ({"defaults": {"steps": 1}}, InvalidField),
        ({"aliases": ["with space"]}, InvalidField),
        ({"aliases": ["taken"]}, Conflict),
        ({"aliases": ["also-taken"]}, Conflict),
        ({"title": "x" * 201}, InvalidField),
    ],
)
def test_an_unusable_change_is_refused_whole(
    cast: Cast, clock: FrozenClock, changes: dict[str, Any], error: type[Exception]
) -> None:
    make_checkpoint("taken", aliases=["also-taken"])
    entry = make_checkpoint("tiny")
    with pytest.raises(error):
        change_entry(entry=entry, changes={"licence": "MIT"} | changes, actor=cast.otto.ref, now=clock.now())
    entry.refresh_from_db()
    assert (entry.licence, AuditEvent.objects.filter(name="catalog.entry.changed").count()) == (
        "Apache-2.0",
        0,
    )


def _delete(entry: CatalogEntry, clock: FrozenClock) -> None:
    delete_entry(entry=entry, actor=SYSTEM, now=clock.now(), require_unused=lambda row: None)


def test_a_deleted_entry_is_gone_and_its_name_free(cast: Cast, clock: FrozenClock) -> None:
    entry = make_checkpoint("tiny", aliases=["little"])
    _delete(entry, clock)
    assert list(list_usable(account=cast.account)) == []
    assert CatalogName.objects.count() == 0
    entry.refresh_from_db()
    assert (entry.deleted_at, entry.is_enabled) == (clock.now(), False)
    second = make_checkpoint("little", aliases=["tiny"])
    assert access_entry(account=cast.account, name="tiny", kind=Kind.CHECKPOINT) == second
    with pytest.raises(Conflict, match="was deleted"):
        _delete(entry, clock)
    with pytest.raises(Conflict, match="was deleted"):
        change_entry(entry=entry, changes={"title": "x"}, actor=SYSTEM, now=clock.now())


def test_an_entry_in_use_is_not_deleted(cast: Cast, clock: FrozenClock, model_dir: Path) -> None:
    folder = make_folder(model_dir / "components" / ("a" * 64), weights="x")
    entry = make_checkpoint("tiny", digest="a" * 64, path=str(folder))

    def refuse(row: CatalogEntry) -> None:
        raise Conflict(problem=f"{row.name} is in use")

    with pytest.raises(Conflict, match="tiny is in use"):
        delete_entry(entry=entry, actor=SYSTEM, now=clock.now(), require_unused=refuse)
    entry.refresh_from_db()
    assert entry.deleted_at is None and folder.is_dir()


def test_files_go_with_the_last_entry_that_has_them(db: None, clock: FrozenClock, model_dir: Path) -> None:
    shared, own = "s" * 64, "o" * 64
    for digest in (shared, own):
        make_folder(model_dir / "components" / digest, weights="x")
    folders = {name: make_folder(model_dir / "checkpoints" / (name * 64), index="{}") for name in "12"}
    for folder in folders.values():
        (folder / "vae").symlink_to(f"../../components/{shared}")
    one = make_checkpoint(
        "one",
        digest="1" * 64,
        path=str(folders["1"]),
        components=[{"name": "vae", "digest": shared}, {"name": "unet", "digest": own}],
    )
    two = make_checkpoint(
        "two", digest="2" * 64, path=str(folders["2"]), components=[{"name": "vae", "digest": shared}]
    )
    vae = make_checkpoint("vae", kind=Kind.VAE, digest=shared, path=str(model_dir / "components" / shared))

    def left() -> set[str]:
        return {
            path.name[0]
            for folder in ("components", "checkpoints")
            for path in (model_dir / folder).iterdir()
        }

    _delete(one, clock)
    assert left() == {"s", "2"}
    _delete(vae, clock)
    assert left() == {"s", "2"}
    _delete(two, clock)
    assert left() == set()


def test_folders_that_operators_registered_in_place_stay(
    db: None, clock: FrozenClock, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "elsewhere" / "components" / "x", weights="x")
    _delete(make_checkpoint("tiny", path=str(folder)), clock)
    assert (folder / "weights").is_file()


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (Kind.LORA, LoraNotFound, "LoRA not found: tiny"),
        (Kind.VAE, VaeNotFound, "VAE not found: tiny"),
        (Kind.UPSCALER, EntryNotFound, "Model not found: tiny"),
    ],
)
def test_another_kind_of_that_name_is_not_found(
    cast: Cast, kind: Kind, error: type[Exception], message: str
) -> None:
    make_checkpoint("tiny")
    with pytest.raises(error) as refusal:
        access_entry(account=cast.account, name="tiny", kind=kind)
    assert (type(refusal.value), str(refusal.value)) == (error, message)


@pytest.mark.parametrize("name", ["\x00", "a\x00", "\ud800", "x" * 10_000])
def test_names_that_nothing_can_have_are_not_found(cast: Cast, name: str) -> None:
    with pytest.raises(LoraNotFound):
        access_entry(account=cast.account, name=name, kind=Kind.LORA)


@pytest.mark.parametrize(
    ("kind", "family", "fits"),
    [
        (Kind.LORA, "sd15", True),
        (Kind.LORA, "", True),
        (Kind.LORA, "sdxl", False),
        (Kind.VAE, "sd15", True),
        (Kind.VAE, "flux", False),
        (Kind.EMBEDDING, "sdxl", False),
    ],
)
def test_adapters_fit_their_own_family(db: None, kind: Kind, family: str, fits: bool) -> None:
    checkpoint = make_checkpoint("tiny", family="sd15")
    adapter = make_checkpoint("x", kind=kind, family=family)
    if fits:
        require_compatible(entry=adapter, checkpoint=checkpoint)
        return
    with pytest.raises(FamilyMismatch) as refusal:
        require_compatible(entry=adapter, checkpoint=checkpoint)
    assert str(refusal.value) == (
        f"{kind.label} x is made for {family} and does not fit the model tiny (sd15)."
    )


def test_a_keys_list_names_the_checkpoints_it_may_use(cast: Cast) -> None:
    for name in ("one", "two"):
        make_checkpoint(name)
    make_checkpoint("lora", kind=Kind.LORA)
    key = make_key(cast.account, allowed_checkpoints=["two"]).key
    assert sorted(list_usable(account=cast.account, key=key).values_list("name", flat=True)) == [
        "lora",
        "two",
    ]
    assert list_usable(account=cast.account, key=cast.key).count() == 3


def test_finding_an_entry_is_one_query(cast: Cast) -> None:
    make_checkpoint("x", kind=Kind.LORA, aliases=["y"])
    with CaptureQueriesContext(connection) as queries:
        access_entry(account=cast.account, name="y", kind=Kind.LORA)
    assert len(queries) == 1
