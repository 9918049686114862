from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.catalog.choices import Kind, Visibility
from apps.catalog.cursors import write_cursor
from apps.catalog.errors import InvalidCursor
from apps.catalog.models import CatalogEntry
from apps.catalog.search import COUNTED, CatalogFilters, Order, page_after, page_number, words_of
from apps.catalog.selectors import list_usable
from apps.core import clock as core_clock
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint


def _names(cast: Cast, text: str = "", order: Order = Order.NAME, **filters: Any) -> list[str]:
    entries = list_usable(account=cast.account)
    page = page_after(entries, CatalogFilters(text=text, **filters), order=order, limit=100)
    return [entry.name for entry in page.entries]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("realistic-vision_v5.1", ["realistic", "vision", "v5", "1"]),
        ("  Two\tWords\n", ["two", "words"]),
        ("'; DROP TABLE catalog_entry; --", ["drop", "table", "catalog", "entry"]),
        ("a:* & !b | (c) <-> d", ["a", "b", "c", "d"]),
        ("\x00null\ud800half", ["null", "half"]),
        ("!!! ★ ---", []),
        ("モデル naïve", ["モデル", "naïve"]),
        ("x" * 100, ["x" * 64]),
        (" ".join(str(number) for number in range(50)), [str(number) for number in range(12)]),
    ],
)
def test_any_text_falls_into_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


@pytest.mark.parametrize(
    "text",
    [
        "realis vis",
        "vision realistic",
        "REALISTIC",
        "realistic-vision-51",
        "realistic_vision.51",
        "51",
        "rv51",
        "photo",
        "rvstyle",
        "sd15",
        "portrait",
        "glossy",
        "hyper real",
        "realisticvision",
    ],
)
def test_every_word_must_begin_a_word_of_the_entry(cast: Cast, text: str) -> None:
    make_checkpoint(
        "realistic-vision-51",
        aliases=["RV51", "realisticVision"],
        title="Hyper Real Photo",
        trigger_words=["rvstyle"],
        tags=["portrait"],
        family="sd15",
        description="Makes glossy pictures.",
    )
    make_checkpoint("other", family="sdxl")
    assert _names(cast, text) == ["realistic-vision-51"]


@pytest.mark.parametrize(
    "text", ["ealistic", "realistic anime", "!!!", "\x00", "' OR 1=1", "\ud800", "* & :*"]
)
def test_what_no_word_begins_with_finds_nothing(cast: Cast, text: str) -> None:
    make_checkpoint("realistic-vision-51")
    assert _names(cast, text) == []


def test_names_are_not_stemmed(cast: Cast) -> None:
    make_checkpoint("dreams")
    assert _names(cast, "dream") == ["dreams"]
    assert _names(cast, "dreaming") == []


def test_random_text_is_never_an_error(cast: Cast) -> None:
    make_checkpoint("tiny")
    draw = random.Random(3)
    signs = "'\"\\:*&|!()<->%_-.;\x00\x01\ud800\udfff ★é日a1\u202e"
    for _ in range(200):
        text = "".join(draw.choices(signs, k=draw.randint(1, 30)))
        for order in (Order.RELEVANCE, Order.MOST_USED):
            page_after(list_usable(account=cast.account), CatalogFilters(text=text), order=order, limit=5)


def test_changes_are_searchable_however_they_are_made(cast: Cast) -> None:
    entry = make_checkpoint("tiny")
    CatalogEntry.objects.filter(pk=entry.pk).update(description="about foxes")
    assert _names(cast, "fox") == ["tiny"]
    CatalogEntry.objects.bulk_update([CatalogEntry(pk=entry.pk, description="about owls")], ["description"])
    assert (_names(cast, "fox"), _names(cast, "owl")) == ([], ["tiny"])
    CatalogEntry.objects.update(search=None)
    assert _names(cast, "owl") == ["tiny"]


def test_the_best_place_comes_first_and_an_exact_name_before_all(cast: Cast) -> None:
    make_checkpoint("in-description", description="fox", use_count=400)
    make_checkpoint("in-tags", tags=["fox"], use_count=300)
    make_checkpoint("in-title", title="Fox", use_count=200)
    make_checkpoint("fox-in-name", use_count=100)
    make_checkpoint("z", aliases=["fox"], description="nothing else", use_count=0)
    assert _names(cast, "fox", Order.RELEVANCE) == [
        "z",
        "fox-in-name",
        "in-title",
        "in-tags",
        "in-description",
    ]
    assert _names(cast, "fox", Order.MOST_USED)[0] == "in-description"


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"kinds": ("lora",)}, ["b-lora"]),
        ({"kinds": ("lora", "vae")}, ["b-lora", "c-vae"]),
        ({"families": ("sdxl",)}, ["b-lora", "d"]),
        ({"variant": "turbo"}, ["d"]),
        ({"tags": ("art", "dark")}, ["d"]),
        ({"tags": ("ART",)}, ["a", "d"]),
        ({"licence": "mit"}, ["c-vae"]),
        ({"is_commercial_use_allowed": True}, ["a"]),
        ({"provider": "stability"}, ["a"]),
        ({"visibility": "private"}, ["mine"]),
        ({"kinds": ("lora",), "families": ("sd15",)}, []),
        ({"tags": ("\x00",)}, []),
        ({"variant": "\ud800"}, []),
        ({}, ["a", "b-lora", "c-vae", "d", "mine"]),
    ],
)
def test_filters_narrow_together(cast: Cast, filters: dict[str, Any], names: list[str]) -> None:
    make_checkpoint("a", tags=["art"], is_commercial_use_allowed=True, provider="stability")
    make_checkpoint("b-lora", kind=Kind.LORA, family="sdxl")
    make_checkpoint("c-vae", kind=Kind.VAE, licence="mit")
    make_checkpoint("d", family="sdxl", variant="turbo", tags=["art", "dark", "x"])
    make_checkpoint("mine", visibility=Visibility.PRIVATE, owner=cast.account)
    assert _names(cast, **filters) == names


def test_strangers_find_nothing_that_is_not_theirs(cast: Cast) -> None:
    make_checkpoint("secret", visibility=Visibility.PRIVATE, owner=cast.account)
    shared = make_checkpoint("shared", visibility=Visibility.ACCOUNTS, owner=cast.account)
    make_checkpoint("off", is_enabled=False)
    make_checkpoint("gone", deleted_at=core_clock.now())
    entries = list_usable(account=cast.strangers_account)
    assert page_after(entries, CatalogFilters(), order=Order.NAME, limit=9).entries == []
    for text in ("secret", "shared", "off", "gone"):
        assert page_after(entries, CatalogFilters(text=text), order=Order.RELEVANCE, limit=9).entries == []
    shared.allowed_accounts.add(cast.strangers_account)
    assert page_after(entries, CatalogFilters(), order=Order.NAME, limit=9).entries == [shared]


@pytest.mark.parametrize("order", list(Order))
def test_pages_are_complete_without_repetition_under_ties(cast: Cast, order: Order) -> None:
    for number in range(23):
        make_checkpoint(f"fox-{number:02}", use_count=number % 3)
    found, cursor = _walk(cast, order=order, limit=5)
    assert len(found) == 23 == len(set(found))
    assert cursor is None
    assert found == _names(cast, "fox", order)


def _walk(cast: Cast, *, order: Order, limit: int) -> tuple[list[str], str | None]:
    filters = CatalogFilters(text="fox")
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = page_after(list_usable(account=cast.account), filters, order=order, limit=limit, cursor=cursor)
        found += [entry.name for entry in page.entries]
        cursor = page.next_cursor
    return found, cursor


@pytest.mark.parametrize("order", [Order.MOST_USED, Order.LATEST, Order.NAME, Order.NAME_DESCENDING])
def test_what_comes_and_goes_meanwhile_shifts_no_page(cast: Cast, clock: FrozenClock, order: Order) -> None:
    for number in range(6):
        make_checkpoint(f"m-{number}", use_count=10)
        clock.advance(seconds=1)
    entries = list_usable(account=cast.account)
    first = page_after(entries, CatalogFilters(), order=order, limit=3)
    before = [entry.name for entry in page_after(entries, CatalogFilters(), order=order, limit=9).entries]
    # In front of the cursor in every order: the most used, the newest, the first and the last by name.
    make_checkpoint("a-new", use_count=99)
    make_checkpoint("z-new", use_count=99)
    CatalogEntry.objects.filter(pk=first.entries[0].pk).delete()
    rest = page_after(entries, CatalogFilters(), order=order, limit=9, cursor=first.next_cursor or "")
    new = {"a-new", "z-new"}
    assert [entry.name for entry in rest.entries if entry.name not in new] == before[3:]


@pytest.mark.parametrize(
    "change",
    [
        lambda cursor: cursor[:-1] + ("A" if cursor[-1] != "A" else "B"),
        lambda cursor: "A" + cursor[1:],
        lambda cursor: cursor.partition(".")[0],
        lambda cursor: "." + cursor.partition(".")[2],
        lambda cursor: "x",
        lambda cursor: "é" * 50,
        lambda cursor: cursor * 50,
        lambda cursor: "\x00",
        lambda cursor: write_cursor([1, 2], scope="another list"),
    ],
)
def test_a_changed_cursor_is_refused(cast: Cast, change: Any) -> None:
    for name in ("a", "b"):
        make_checkpoint(name)
    entries = list_usable(account=cast.account)
    cursor = page_after(entries, CatalogFilters(), order=Order.NAME, limit=1).next_cursor
    assert cursor is not None
    with pytest.raises(InvalidCursor, match="was changed, or belongs to another list"):
        page_after(entries, CatalogFilters(), order=Order.NAME, limit=1, cursor=change(cursor))


def test_a_cursor_belongs_to_its_filters_and_order(cast: Cast) -> None:
    for name in ("a", "b"):
        make_checkpoint(name)
    entries = list_usable(account=cast.account)
    cursor = page_after(entries, CatalogFilters(), order=Order.NAME, limit=1).next_cursor or ""
    for filters, order in (
        (CatalogFilters(families=("sd15",)), Order.NAME),
        (CatalogFilters(), Order.NAME_DESCENDING),
    ):
        with pytest.raises(InvalidCursor):
            page_after(entries, filters, order=order, limit=1, cursor=cursor)


def test_numbered_pages_have_a_total(cast: Cast) -> None:
    for number in range(7):
        make_checkpoint(f"fox-{number}", use_count=number)
    entries = list_usable(account=cast.account)
    page = page_number(entries, CatalogFilters(text="fox"), order=Order.MOST_USED, page=2, per_page=3)
    assert [entry.name for entry in page.entries] == ["fox-3", "fox-2", "fox-1"]
    assert (page.total, page.is_total_exact) == (7, True)
    beyond = page_number(entries, CatalogFilters(), order=Order.NAME, page=4, per_page=3)
    assert (beyond.entries, beyond.total) == ([], 7)


@pytest.mark.parametrize("order", [Order.MOST_USED, Order.LATEST, Order.NAME, Order.NAME_DESCENDING])
@pytest.mark.parametrize("per_page", [1, 3, 4, 50])
def test_numbered_pages_are_the_list_in_pieces(cast: Cast, order: Order, per_page: int) -> None:
    for number in range(11):
        make_checkpoint(f"m-{number:02}", use_count=number % 3)
    entries = list_usable(account=cast.account)
    pages = [
        page_number(entries, CatalogFilters(), order=order, page=number, per_page=per_page).entries
        for number in range(1, 14)
    ]
    assert [entry.name for page in pages for entry in page] == _names(cast, order=order)


def test_counting_ends_where_nobody_leafs(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    assert COUNTED == 3000
    monkeypatch.setattr("apps.catalog.search.COUNTED", 4)
    for number in range(6):
        make_checkpoint(f"fox-{number}")
    entries = list_usable(account=cast.account)
    found = page_number(entries, CatalogFilters(text="fox"), order=Order.NAME, page=2, per_page=3)
    assert (found.total, found.is_total_exact, len(found.entries)) == (4, False, 1)
    whole = page_number(entries, CatalogFilters(), order=Order.NAME, page=2, per_page=3)
    assert (whole.total, whole.is_total_exact, len(whole.entries)) == (6, True, 3)


def test_a_page_is_one_query_and_a_numbered_one_three(cast: Cast) -> None:
    for number in range(9):
        make_checkpoint(f"fox-{number}", created_at=core_clock.now() - timedelta(days=number))
    entries = list_usable(account=cast.account)
    for order in Order:
        with CaptureQueriesContext(connection) as queries:
            page_after(entries, CatalogFilters(text="fox"), order=order, limit=5)
        assert len(queries) == 1
        with CaptureQueriesContext(connection) as queries:
            page_number(entries, CatalogFilters(text="fox"), order=order, page=1, per_page=5)
        assert len(queries) == (2 if order == Order.RELEVANCE else 3)


def test_the_search_vector_never_leaves_the_database(cast: Cast) -> None:
    make_checkpoint("tiny")
    with CaptureQueriesContext(connection) as queries:
        list(list_usable(account=cast.account))
    assert '"search"' not in queries[0]["sql"]


@pytest.mark.parametrize(("many", "expected"), [(2, 3), (10, 4)])
def test_only_totals_of_many_entries_are_remembered(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, many: int, expected: int
) -> None:
    caches["process"].clear()
    monkeypatch.setattr("apps.catalog.search.MANY", many)
    entries = CatalogEntry.objects.filter(name__startswith="count-")
    for index in range(3):
        make_checkpoint(f"count-{index}")

    def total() -> int:
        return page_number(entries, CatalogFilters(), order=Order.NAME, page=1, per_page=2).total

    assert total() == 3
    make_checkpoint("count-3")
    assert total() == expected
    caches["process"].clear()
