"""What somebody asks for when they import a model: plain data, kept in the row without its secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

from apps.audit.refs import JsonValue
from apps.catalog.choices import ImportSource, Kind, Visibility
from apps.catalog.defaults import problem_of_overrides
from apps.catalog.imports.given_details import check_details
from apps.catalog.models import NAME_PATTERN, RESERVED_NAMES
from apps.core.errors import Conflict, InvalidField
from gpu_runtime.weights.family_facts import FAMILY_FACTS

PRECISIONS: Final = ("keep", "float16", "bfloat16")
SHA256_DIGITS: Final = 64
TOKEN_LENGTH: Final = 500
# Never in a row, a log or an answer.
SECRET_FIELDS: Final = frozenset({"token"})
LATER_FIELDS: Final = frozenset({"webhook"})
"""Written where they say something: versions before them refuse rows that have them, as during an upgrade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportOptions:
    """One import as it was asked for."""

    source: ImportSource
    address: str
    """Hub: `org/name` or `org/name/path/file.safetensors`. URL: http or https. Upload: the id of a staged
    upload. Folder: a path on the server, a file or a folder."""
    name: str = ""
    """What clients will send as model_id; empty: made from the address."""
    aliases: tuple[str, ...] = ()
    title: str = ""
    description: str = ""
    kind_hint: str = ""
    """The Kind it must be: an import of anything else is refused. "" for any."""
    family_hint: str = ""
    """The same for the family; where files tell none, such as an upscaler's, it is taken as given."""
    revision: str = ""
    """Branch, tag or commit of a hub repository; empty: its main branch."""
    file: str = ""
    """One file of a hub repository; empty: what makes a complete model."""
    file_patterns: tuple[str, ...] = ()
    """Shell patterns that files of a hub repository must match; empty: our own choice."""
    expected_sha256: str = ""
    """Of the one file that is fetched, 64 hexadecimal digits."""
    precision: str = "keep"
    """One of PRECISIONS: what weights are stored as."""
    visibility: Visibility = Visibility.PUBLIC
    """PRIVATE needs an account, which becomes the owner."""
    licence: str = ""
    is_commercial_use_allowed: bool | None = None
    """None: what the licence is known to say."""
    tags: tuple[str, ...] = ()
    trigger_words: tuple[str, ...] = ()
    defaults: Mapping[str, JsonValue] = field(default_factory=dict)
    """Overrides of steps, guidance_scale, sampler, negative_prompt."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    """What files do not tell: input_px, mean and std of a cut-out network."""
    token: str = field(default="", repr=False)
    """Credential for the source; kept in a file of its own until the import ends."""
    token_parameter: str = ""
    """Query parameter that carries the token; empty: the Authorization header."""
    uses_server_tokens: bool = False
    """Without a token of its own it may use the operator's: for operators and administrators."""
    force: bool = False
    """Replace an entry of this name that has other weights."""
    is_anywhere: bool = False
    """The folder may lie anywhere on the server: for whoever has a shell on it."""
    is_watched: bool = False
    """It came out of the watched folder, which is tidied up at the end."""
    webhook: Mapping[str, JsonValue] = field(default_factory=dict)
    """Who is told of the end, and how; read by settings.IMPORT_ENDED alone. Empty: nobody."""

    def to_json(self) -> dict[str, Any]:
        """For the row: everything but the secret."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        values = {name: value for name, value in values.items() if name not in SECRET_FIELDS | LATER_FIELDS}
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
        } | {
            "source": self.source.value,
            "visibility": self.visibility.value,
            "defaults": dict(self.defaults),
            "details": dict(self.details),
            **_later(self),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, token: str = "") -> ImportOptions:
        """What `to_json` wrote. Raises Conflict for what only a later version can have written."""
        unknown = values.keys() - {item.name for item in fields(cls)}
        if unknown:
            # Leaving it out would make another import than the one that was asked for.
            raise Conflict(
                problem="A newer version of this server was asked for this import"
                f" ({', '.join(sorted(unknown))} is not known here); ask for it again, or retry it once every"
                " process is upgraded."
            )
        # Any: JSON that `to_json` of this class wrote.
        chosen: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        chosen["source"] = ImportSource(chosen["source"])
        chosen["visibility"] = Visibility(chosen["visibility"])
        return cls(**chosen, token=token)


def _later(options: ImportOptions) -> dict[str, JsonValue]:
    """The later fields that say something."""
    return {"webhook": dict(options.webhook)} if options.webhook else {}


def check_options(options: ImportOptions) -> None:
    """Raises InvalidField for the first field that cannot be meant."""
    _check_address(options)
    if options.name:
        _check_name("name", options.name)
    for alias in options.aliases:
        _check_name("aliases", alias)
    problem = problem_of_overrides(options.defaults)
    if problem is not None:
        raise InvalidField(field="defaults", problem=f"cannot be used: {problem}")
    if options.kind_hint and options.kind_hint not in Kind.values:
        raise InvalidField(field="kind", problem=f"must be one of {', '.join(Kind.values)}")
    if options.family_hint and options.family_hint not in FAMILY_FACTS:
        raise InvalidField(field="family", problem=f"must be one of {', '.join(sorted(FAMILY_FACTS))}")
    if options.precision not in PRECISIONS:
        raise InvalidField(field="precision", problem=f"must be one of {', '.join(PRECISIONS)}")
    check_details(options.details)
    _check_digest(options.expected_sha256)
    _check_token(options.token)
    _check_words("tags", options.tags, longest=60)
    _check_words("trigger_words", options.trigger_words, longest=200)
    for field_name, text, longest in (
        ("title", options.title, 200),
        ("description", options.description, 20_000),
        ("licence", options.licence, 100),
        ("revision", options.revision, 200),
        ("file", options.file, 1000),
    ):
        if len(text) > longest:
            raise InvalidField(field=field_name, problem=f"must be at most {longest} characters")


def _check_address(options: ImportOptions) -> None:
    if not options.address.strip() or len(options.address) > 2000 or "\0" in options.address:
        raise InvalidField(field="address", problem="must be 1 to 2000 characters")
    if options.source == ImportSource.URL:
        _check_url(options.address)
    elif options.source == ImportSource.HUB:
        parts = options.address.split("/")
        if len(parts) < 2 or any(part in ("", ".", "..") for part in parts) or "://" in options.address:
            raise InvalidField(field="address", problem="must look like organisation/name")
    elif options.source == ImportSource.FOLDER:
        _check_folder(options)


def _check_url(address: str) -> None:
    try:
        url = urlsplit(address)
        has_host = bool(url.hostname) and url.port != 0
    except ValueError:
        has_host = False
    if not has_host or url.scheme not in ("http", "https"):
        raise InvalidField(field="address", problem="must be an http or https URL")
    if url.username is not None or url.password is not None:
        raise InvalidField(field="address", problem="must not contain a password; give it as the token")


def _check_folder(options: ImportOptions) -> None:
    """A link inside the folder that leads out of it is followed, and then refused here."""
    path = Path(options.address)
    if not path.is_absolute():
        raise InvalidField(field="address", problem="must be an absolute path on the server")
    incoming = incoming_dir().resolve()
    if not options.is_anywhere and not path.resolve().is_relative_to(incoming):
        raise InvalidField(field="address", problem=f"must lie inside {incoming_dir()}")
    if not path.exists():
        raise InvalidField(field="address", problem="does not exist on the server")


def incoming_dir() -> Path:
    """The watched folder."""
    return Path(settings.MODEL_DIR) / "incoming"


def _check_name(field_name: str, name: str) -> None:
    try:
        RegexValidator(NAME_PATTERN)(name)
    except ValidationError:
        raise InvalidField(
            field=field_name, problem=f"must be letters, digits and -._ within, not {name[:80]!r}"
        ) from None
    if len(name) > 200:
        raise InvalidField(field=field_name, problem="must be at most 200 characters")
    if name in RESERVED_NAMES:
        raise InvalidField(field=field_name, problem=f"cannot be used: {name} is the name of a page")


def _check_digest(digest: str) -> None:
    is_hex = all(character in "0123456789abcdefABCDEF" for character in digest)
    if digest and (len(digest) != SHA256_DIGITS or not is_hex):
        raise InvalidField(field="sha256", problem="must be 64 hexadecimal digits")


def _check_token(token: str) -> None:
    if len(token) > TOKEN_LENGTH or not (token.isascii() and (token.isprintable() or not token)):
        raise InvalidField(field="token", problem="must be printable ASCII of at most 500 characters")


def _check_words(field_name: str, words: tuple[str, ...], *, longest: int) -> None:
    if any(not word.strip() or len(word) > longest for word in words) or len(words) > 100:
        raise InvalidField(
            field=field_name, problem=f"must be at most 100 words of 1 to {longest} characters"
        )
