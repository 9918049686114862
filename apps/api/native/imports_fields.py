"""What a request for an import may say, and what that means in our own words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.http import QueryDict

from apps.catalog.choices import ImportSource, ImportState, Visibility
from apps.catalog.imports.options import ImportOptions
from apps.core.errors import InvalidField

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
CREDENTIAL: Final = "key"
YES: Final = frozenset({"true", "1", "yes", "on"})
NO: Final = frozenset({"false", "0", "no", "off", ""})

SOURCES: Final[Mapping[str, ImportSource]] = {
    "repository": ImportSource.HUB,
    "url": ImportSource.URL,
    "upload": ImportSource.UPLOAD,
    "path": ImportSource.FOLDER,
}
"""Field -> the source that its value is the address of. A request has exactly one of them."""


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value.strip()


def _words(value: object) -> tuple[str, ...]:
    """A list of texts, or one text with commas, which is all that a form can send."""
    if isinstance(value, str):
        return tuple(word.strip() for word in value.split(",") if word.strip())
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return tuple(word.strip() for word in value)
    raise ValueError("must be a list of texts")


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in YES | NO:
        return value.lower() in YES
    raise ValueError("must be true or false")


def _object(value: object) -> dict[str, Any]:  # Any: JSON, checked as the entry's defaults
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _visibility(value: object) -> Visibility:
    if value not in (Visibility.PUBLIC.value, Visibility.PRIVATE.value):
        raise ValueError("must be public or private")
    return Visibility(value)


FIELDS: Final[Mapping[str, tuple[str, Callable[[object], object], str]]] = {
    "name": ("name", _text, "what clients will send as model_id; made from the source when left out"),
    "aliases": ("aliases", _words, "further names"),
    "title": ("title", _text, "for people"),
    "description": ("description", _text, "for people"),
    "kind": ("kind_hint", _text, "what it must be; anything else is refused"),
    "family": ("family_hint", _text, "base model it must fit; any other is refused"),
    "revision": ("revision", _text, "branch, tag or commit of a repository; its main branch when left out"),
    "file": ("file", _text, "one file of a repository"),
    "files": ("file_patterns", _words, "shell patterns of the repository's files to take"),
    "sha256": ("expected_sha256", _text, "of the one file that is fetched"),
    "precision": ("precision", _text, "keep, float16 or bfloat16"),
    "visibility": ("visibility", _visibility, "public needs the scope models:admin; private by default"),
    "licence": ("licence", _text, "where the source does not say"),
    "commercial_use": ("is_commercial_use_allowed", _flag, "where the licence does not say"),
    "tags": ("tags", _words, "for searching"),
    "trigger_words": ("trigger_words", _words, "words that call it up"),
    "defaults": ("defaults", _object, "steps, guidance_scale, sampler, negative_prompt"),
    "details": ("details", _object, "input_px, mean, std of a cut-out network, where its name does not tell"),
    "token": ("token", _text, "credential for the source; forgotten when the import ends"),
    "force": ("force", _flag, "replace the weights of the model with this name"),
}
"""Field -> (option, reader, meaning)."""

LIST_PARAMETERS: Final[Mapping[str, str]] = {
    "state": f"one or more of {', '.join(ImportState)}, with commas",
    "limit": f"1 to {MAX_LIMIT}, default {DEFAULT_LIMIT}",
    "cursor": "next_cursor of the page before",
    "all": "true: imports of all accounts and of operators; needs the scope models:admin",
}


def read_import(
    fields: Mapping[str, object], *, is_admin: bool, upload: str | None = None, ignored: frozenset[str]
) -> ImportOptions:
    """The import that the fields mean. `upload` is a file that came with the form. Raises InvalidField."""
    given = {name: value for name, value in fields.items() if name not in ignored}
    if upload is not None:
        given["upload"] = upload
    unknown = sorted(given.keys() - FIELDS.keys() - SOURCES.keys())
    if unknown:
        known = ", ".join([*SOURCES, *FIELDS])
        raise InvalidField(field=unknown[0][:60], problem=f"is not a field of an import; there are {known}")
    named = [name for name in SOURCES if given.get(name) not in (None, "")]
    if len(named) != 1:
        raise InvalidField(field=" or ".join(SOURCES), problem="must be given, exactly one of them")
    options: dict[str, Any] = {  # Any: each value has passed its field's reader
        FIELDS[name][0]: _read(name, value, FIELDS[name][1])
        for name, value in given.items()
        if name in FIELDS and value is not None and value != ""
    }
    options.setdefault("visibility", Visibility.PRIVATE)
    return ImportOptions(
        source=SOURCES[named[0]],
        address=str(_read(named[0], given[named[0]], _text)),
        uses_server_tokens=is_admin,
        **options,
    )


def _read(name: str, value: object, reader: Callable[[object], object]) -> object:
    try:
        return reader(value)
    except ValueError as error:
        raise InvalidField(field=name, problem=str(error)) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListQuery:
    """A request for one page of imports."""

    states: tuple[ImportState, ...]
    """Empty: all."""
    limit: int
    before: int | None
    """Only imports with a smaller id."""
    is_all: bool


def read_list(query: QueryDict) -> ListQuery:
    """The parameters of a list. Raises InvalidField for the first that is unknown or wrong."""
    unknown = sorted(query.keys() - LIST_PARAMETERS.keys() - {CREDENTIAL})
    if unknown:
        known = ", ".join(LIST_PARAMETERS)
        raise InvalidField(
            field=unknown[0][:60], problem=f"is not a parameter of this list; there are {known}"
        )
    return ListQuery(
        states=tuple(_state(word) for word in _words(query.get("state", ""))),
        limit=_number(query, "limit", DEFAULT_LIMIT, MAX_LIMIT) or DEFAULT_LIMIT,
        before=_number(query, "cursor", None, 2**63 - 1),
        is_all=bool(_read("all", query.get("all", "false"), _flag)),
    )


def _state(word: str) -> ImportState:
    if word not in ImportState.values:
        raise InvalidField(field="state", problem=f"must be one of {', '.join(ImportState)}, not {word[:40]}")
    return ImportState(word)


def _number(query: QueryDict, name: str, default: int | None, maximum: int) -> int | None:
    text = query.get(name, "")
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= maximum):
        raise InvalidField(field=name, problem=f"must be a whole number from 1 to {maximum}")
    return int(text)
