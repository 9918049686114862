"""What requests about models may say: the parameters of a list, and the columns that a change may name.

Unlike in the dialects, what is not in these tables is refused: a misspelt filter would otherwise find all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from apps.accounts.models import Account
from apps.catalog.choices import Kind, ResidencyPolicy, Visibility
from apps.catalog.search import CatalogFilters, Order
from apps.core.errors import InvalidField

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20
MAX_CHARS: Final = 2000
MAX_TAGS: Final = 20
YES: Final = frozenset({"true", "1", "yes"})
NO: Final = frozenset({"false", "0", "no"})
# Read by whoever identifies the caller.
CREDENTIAL: Final = "key"

LIST_PARAMETERS: Final[Mapping[str, str]] = {
    "q": "words that must all begin a word of the model; best matches first unless `order` says otherwise",
    "kind": f"one or more of {', '.join(Kind)}",
    "family": "one or more base models",
    "variant": "e.g. turbo, inpaint",
    "tag": "tags, all of which a model must have",
    "licence": "exactly this licence",
    "commercial": "true or false: whether commercial use is allowed",
    "provider": "who offers the weights",
    "visibility": f"one of {', '.join(Visibility)}",
    "mine": "true: the account's own models only",
    "order": f"one of {', '.join(Order)}",
    "limit": f"1 to {MAX_LIMIT}, default {DEFAULT_LIMIT}",
    "cursor": "next_cursor of the page before",
    "all": "true: models of all accounts, disabled ones too; needs the scope models:admin",
    "enabled": "true or false; with `all`",
    "owner": "slug of an account; with `all`",
}
"""Parameter -> what it means. `kind`, `family` and `tag` may be repeated or hold several with commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """A request for one page."""

    filters: CatalogFilters
    order: Order
    limit: int
    cursor: str
    is_all: bool


def read_list(query: QueryDict, *, account: Account) -> ListQuery:
    """The parameters of a list. Raises InvalidField for the first that is unknown or wrong."""
    unknown = sorted(query.keys() - LIST_PARAMETERS.keys() - {CREDENTIAL})
    if unknown:
        known = ", ".join(LIST_PARAMETERS)
        raise InvalidField(
            field=unknown[0][:60], problem=f"is not a parameter of this list; there are {known}"
        )
    long = sorted(name for name in query if any(len(value) > MAX_CHARS for value in query.getlist(name)))
    if long:
        raise InvalidField(field=long[0], problem=f"must be at most {MAX_CHARS} characters")
    is_all = _flag(query, "all") or False
    for name in ("enabled", "owner"):
        if name in query and not is_all:
            raise InvalidField(field=name, problem="only counts with all=true")
    text = query.get("q", "")
    order = Order(
        _one_of(query, "order", list(Order)) or (Order.RELEVANCE if text.strip() else Order.MOST_USED)
    )
    if order == Order.RELEVANCE and not text.strip():
        raise InvalidField(field="order", problem="relevance needs q")
    filters = CatalogFilters(
        text=text,
        kinds=_several(query, "kind", list(Kind)),
        families=_several(query, "family"),
        variant=query.get("variant", ""),
        tags=_several(query, "tag")[:MAX_TAGS],
        licence=query.get("licence", ""),
        is_commercial_use_allowed=_flag(query, "commercial"),
        provider=query.get("provider", ""),
        visibility=_one_of(query, "visibility", list(Visibility)) or "",
        is_enabled=_flag(query, "enabled"),
        owner_id=account.pk if _flag(query, "mine") else _owner_id(query),
    )
    return ListQuery(
        filters=filters, order=order, limit=_limit(query), cursor=query.get("cursor", ""), is_all=is_all
    )


def _owner_id(query: QueryDict) -> int | None:
    slug = query.get("owner", "")
    return account_by_slug("owner", slug).pk if slug else None


def _flag(query: QueryDict, name: str) -> bool | None:
    word = query.get(name, "").strip().lower()
    if not word:
        return None
    if word not in YES | NO:
        raise InvalidField(field=name, problem="must be true or false")
    return word in YES


def _one_of(query: QueryDict, name: str, words: list[Any]) -> str | None:
    word = query.get(name, "")
    if word and word not in words:
        raise InvalidField(field=name, problem=f"must be one of {', '.join(words)}")
    return word or None


def _several(query: QueryDict, name: str, words: list[Any] | None = None) -> tuple[str, ...]:
    found = [part.strip() for value in query.getlist(name) for part in value.split(",")]
    chosen = tuple(sorted({part for part in found if part}))
    wrong = [part for part in chosen if words is not None and part not in words]
    if wrong:
        raise InvalidField(field=name, problem=f"must be one of {', '.join(words or [])}")
    return chosen


def _limit(query: QueryDict) -> int:
    text = query.get("limit", "") or str(DEFAULT_LIMIT)
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT):
        raise InvalidField(field="limit", problem=f"must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and len(value) <= 100 and all(isinstance(each, str) for each in value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_whole(value: object) -> bool:
    # bool is an int to Python, never to a client; a column holds 31 bits.
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


@dataclass(frozen=True, slots=True)
class Change:
    """One column that a change may name."""

    is_right: Callable[[object], bool]
    must: str
    schema: Mapping[str, object]
    """The same for documentation, as JSON Schema."""


_TEXT = Change(_is_text, "must be text", {"type": "string"})
_TEXTS = Change(
    _is_texts,
    "must be a list of at most 100 texts",
    {"type": "array", "items": {"type": "string"}, "maxItems": 100},
)
_FLAG = Change(_is_flag, "must be true or false", {"type": "boolean"})
_WHOLE = Change(_is_whole, "must be a whole number", {"type": "integer", "minimum": 0, "maximum": 2**31 - 1})
CHANGES: Final[Mapping[str, Change]] = {
    "title": _TEXT,
    "description": _TEXT,
    "aliases": _TEXTS,
    "native_px": _WHOLE,
    "min_side_px": _WHOLE,
    "max_side_px": _WHOLE,
    "max_native_side_px": _WHOLE,
    "defaults": Change(lambda value: isinstance(value, dict), "must be an object", {"type": "object"}),
    "trigger_words": _TEXTS,
    "tags": _TEXTS,
    "licence": _TEXT,
    "is_commercial_use_allowed": _FLAG,
    "source_url": _TEXT,
    "is_enabled": _FLAG,
    "visibility": Change(
        lambda value: value in list(Visibility),
        f"must be one of {', '.join(Visibility)}",
        {"type": "string", "enum": list(Visibility)},
    ),
    "residency_policy": Change(
        lambda value: value in list(ResidencyPolicy),
        f"must be one of {', '.join(ResidencyPolicy)}",
        {"type": "string", "enum": list(ResidencyPolicy)},
    ),
    "keep_alive_s": Change(
        lambda value: value is None or _is_whole(value),
        "must be a whole number of seconds, or null",
        {"type": ["integer", "null"], "minimum": 0, "maximum": 2**31 - 1},
    ),
    "owner": Change(
        lambda value: value is None or _is_text(value),
        "must be an account's slug, or null",
        {"type": ["string", "null"]},
    ),
    "allowed_accounts": Change(_is_texts, "must be a list of at most 100 slugs of accounts", _TEXTS.schema),
}
"""PATCH /v1/models/{name}: column -> its type. Ranges are the catalogue's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChanges:
    """A checked change."""

    columns: dict[str, Any]
    allowed_accounts: list[Account] | None


def read_changes(fields: Mapping[str, object]) -> ModelChanges:
    """The columns to change. Raises InvalidField for the first that is unknown or of another type."""
    columns: dict[str, Any] = {}
    accounts: list[Account] | None = None
    for name, value in fields.items():
        if name == CREDENTIAL:
            continue
        change = CHANGES.get(name)
        if change is None:
            raise InvalidField(field=name[:60], problem="cannot be changed")
        if not change.is_right(value):
            raise InvalidField(field=name, problem=change.must)
        _require_storable(name, value)
        if name == "allowed_accounts":
            accounts = [account_by_slug(name, slug) for slug in _texts_in(value)]
        else:
            columns[name] = account_by_slug(name, str(value)) if name == "owner" and value else value
    return ModelChanges(columns=columns, allowed_accounts=accounts)


def account_by_slug(field: str, slug: str) -> Account:
    """Raises InvalidField when there is no such account."""
    _require_storable(field, slug)
    account = Account.objects.filter(slug=slug).first()
    if account is None:
        raise InvalidField(field=field, problem=f"names no account: {slug[:60]}")
    return account


def _require_storable(field: str, value: object) -> None:
    """PostgreSQL holds neither NUL nor half a surrogate pair, in text as in JSON."""
    for text in _texts_in(value):
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise InvalidField(field=field, problem="must not contain NUL or half of a surrogate pair")


def _texts_in(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for each in value for text in _texts_in(each)]
    if isinstance(value, dict):
        return [text for pair in value.items() for each in pair for text in _texts_in(each)]
    return []
