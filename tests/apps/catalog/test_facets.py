from __future__ import annotations

from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.catalog import facets
from apps.catalog.choices import Kind, Visibility
from apps.catalog.facets import FacetValue, get_facets
from tests.cast import Cast
from tests.factories import make_checkpoint, make_key


def _values(values: list[FacetValue]) -> dict[str, int]:
    return {each.value: each.count for each in values}


def test_counts_are_of_what_the_account_may_use(cast: Cast) -> None:
    make_checkpoint("a", tags=["art", "dark"], provider="acme")
    make_checkpoint("b", kind=Kind.LORA, family="sdxl", tags=["art"])
    make_checkpoint("up", kind=Kind.UPSCALER, family="")
    make_checkpoint("off", tags=["hidden"], is_enabled=False)
    make_checkpoint("mine", tags=["own"], visibility=Visibility.PRIVATE, owner=cast.account)
    make_checkpoint("lent", tags=["lent"], visibility=Visibility.ACCOUNTS, owner=cast.account)
    make_checkpoint("public-mine", tags=["art"], owner=cast.account)
    found = get_facets(account=cast.account)
    assert found.total == 6
    assert _values(found.kinds) == {"checkpoint": 4, "lora": 1, "upscaler": 1}
    assert [each.value for each in found.kinds] == ["checkpoint", "lora", "upscaler"]
    assert _values(found.families) == {"sd15": 4, "sdxl": 1}
    assert _values(found.tags) == {"art": 3, "dark": 1, "lent": 1, "own": 1}
    assert _values(found.providers) == {"acme": 1}
    strangers = get_facets(account=cast.strangers_account)
    assert (strangers.total, _values(strangers.tags)) == (4, {"art": 3, "dark": 1})


def test_what_is_lent_counts_for_the_borrower(cast: Cast) -> None:
    lent = make_checkpoint("lent", tags=["lent"], visibility=Visibility.ACCOUNTS, owner=cast.account)
    lent.allowed_accounts.add(cast.strangers_account)
    assert _values(get_facets(account=cast.strangers_account).tags) == {"lent": 1}


def test_a_keys_list_limits_the_checkpoints(cast: Cast) -> None:
    for name in ("one", "two"):
        make_checkpoint(name, tags=[name])
    make_checkpoint("mine", tags=["own"], visibility=Visibility.PRIVATE, owner=cast.account)
    make_checkpoint("lora", kind=Kind.LORA, tags=["l"])
    key = make_key(cast.account, allowed_checkpoints=["two"]).key
    assert _values(get_facets(account=cast.account, key=key).tags) == {"l": 1, "two": 1}


def test_public_counts_are_remembered_for_a_while(cast: Cast, monkeypatch: Any) -> None:
    make_checkpoint("a")
    assert get_facets(account=cast.account).total == 1
    make_checkpoint("b")
    make_checkpoint("mine", visibility=Visibility.PRIVATE, owner=cast.account)
    with CaptureQueriesContext(connection) as queries:
        # The account's own are counted each time.
        assert get_facets(account=cast.account).total == 2
    assert len(queries) == 4
    facets.forget()
    assert get_facets(account=cast.account).total == 3


def test_an_empty_catalogue_has_empty_facets(cast: Cast) -> None:
    found = get_facets(account=cast.account)
    assert (found.total, found.kinds, found.tags) == (0, [], [])
