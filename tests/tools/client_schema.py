"""`python -m tests.tools.client_schema`: writes the client's types from the server's own tables.

The client imports nothing of the server, and no field is listed twice: its types are made of the tables that
read requests and of the types that answers are made of. A test fails while the files are not what this makes.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

PACKAGE: Final = Path(__file__).resolve().parents[2] / "apps" / "client" / "darkroom"
WIDTH: Final = 104
HEAD: Final = '''"""What requests may say and answers hold.

Made by `python -m tests.tools.client_schema`; not edited by hand. Requests are TypedDicts: the server refuses
what it does not know, by name. Answers are dataclasses whose fields all have defaults, so that client and
server need not be of the same version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Required, TypedDict

from darkroom.bodies import Body
from darkroom.pictures import Picture'''
FACTS_HEAD: Final = '''"""What the command line tells of the fields of a job.

Made by `python -m tests.tools.client_schema`; not edited by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One field; `part.field` is inside an object, `list[]` an item."""

    kind: str
    """integer, number, string, boolean or picture."""
    meaning: str
    choices: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None
'''
NAMES: Final[Mapping[str, str]] = {
    "JobBody": "JobFacts",
    "ImportBody": "ImportFacts",
    "ModelSummary": "ModelFacts",
    "UploadBody": "Upload",
    "PreviewBody": "ModelPreview",
    "KeyBody": "Key",
    "IssuedKeyBody": "IssuedKey",
    "UsageBody": "Usage",
    "Safety": "SafetyVerdict",
}
"""Types of the server by another name; Facts are made richer by hand."""
PLAIN: Final[Mapping[object, tuple[str, str]]] = {
    int: ("int", "0"),
    float: ("float", "0.0"),
    str: ("str", '""'),
    bool: ("bool", "False"),
    object: ("object", "None"),
    Any: ("Any", "None"),
}
SECRETS: Final = frozenset({("IssuedKey", "key")})
"""What must not get into logs by printing the answer."""
OWN_PARAMETERS: Final = frozenset({"cursor", "limit"})
"""Of lists: paging is the client's business."""


def make_files() -> dict[Path, str]:
    """The modules' texts, formatted as the repository wants them."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "apps.config.settings")
    import django

    django.setup()
    return {
        PACKAGE / "schema.py": _formatted("\n\n".join([HEAD, *_requests(), *_answers()])),
        PACKAGE / "cli" / "facts.py": _formatted("\n\n".join([FACTS_HEAD, *_facts()])),
    }


def _formatted(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(PACKAGE / "made.py"), "-"],
        input=text,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


# --- requests ---


def _requests() -> Iterator[str]:
    from apps.api.native import imports_fields, jobs_list, keys_fields, models_fields
    from apps.api.native.jobs_fields import JOB_FIELDS
    from apps.api.native.tables import object_schema

    jobs: Any = object_schema(JOB_FIELDS)
    kinds = jobs["properties"].pop("kind")["enum"]
    yield f"Kind = Literal[{', '.join(map(_quoted, kinds))}]"
    yield f"PICTURE_FIELDS = frozenset({sorted(set(_picture_fields(jobs)))!r})\n" + _doc(
        "Names of fields that hold pictures, wherever they stand.", indent=""
    )
    yield from _typed_dict("JobFields", "What a job may say besides its kind.", jobs)
    listed = {name: row.schema | {"description": row.meaning} for name, row in jobs_list.PARAMETERS.items()}
    yield from _filters("JobFilters", "Which jobs a list shows.", listed)
    texts: Any = {name: {"description": text} for name, text in models_fields.LIST_PARAMETERS.items()}
    yield from _filters("ModelFilters", "Which models a list shows.", texts)
    texts = {name: {"description": text} for name, text in imports_fields.LIST_PARAMETERS.items()}
    yield from _filters("ImportFilters", "Which imports a list shows.", texts)
    texts = {name: {"description": row[2]} for name, row in imports_fields.FIELDS.items()}
    yield from _filters("ImportFields", "What an import may say besides where from.", texts)
    keys: Any = object_schema(keys_fields.KEY_FIELDS)
    del keys["properties"]["name"], keys["required"]
    yield from _typed_dict("KeyFields", "What a new key may say besides its name.", keys)


def _typed_dict(name: str, meaning: str, schema: Mapping[str, Any]) -> Iterator[str]:
    """The objects inside first."""
    inner: list[str] = []
    lines = [f"class {name}(TypedDict, total=False):", _doc(meaning)]
    required = schema.get("required", [])
    for key, row in schema["properties"].items():
        kind = _type_of(key, row, inner)
        lines.append(f"    {key}: {f'Required[{kind}]' if key in required else kind}")
        lines.append(_doc(_sentence(row.get("description", ""))))
    yield from inner
    yield "\n".join(lines)


def _filters(name: str, meaning: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Where several words may be said, one may stand alone."""
    kept = {
        key: {**row, "one_or": True} if row.get("type") == "array" else row
        for key, row in properties.items()
        if key not in OWN_PARAMETERS
    }
    return _typed_dict(name, meaning, {"properties": kept})


def _type_of(key: str, schema: Mapping[str, Any], inner: list[str]) -> str:
    if schema.get("contentMediaType") == "image/*":
        return "Picture"
    if "enum" in schema:
        return f"Literal[{', '.join(map(_quoted, schema['enum']))}]"
    kind = schema.get("type")
    if kind == "array":
        each = _type_of(key.removesuffix("s"), schema["items"], inner)
        return f"{each} | Sequence[{each}]" if schema.get("one_or") else f"Sequence[{each}]"
    if kind == "object":
        name = key.title().replace("_", "")
        inner.extend(_typed_dict(name, f"Of the field {key}.", schema))
        return name
    if isinstance(kind, list):
        return " | ".join(_type_of(key, {"type": each}, inner) for each in kind)
    plain = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
    # Parameters that the server describes in words alone.
    return plain.get(str(kind), "str | int | float | bool | Sequence[str] | Mapping[str, Any]")


def _picture_fields(schema: Mapping[str, Any], name: str = "") -> Iterator[str]:
    if schema.get("contentMediaType") == "image/*":
        yield name
    for key, row in schema.get("properties", {}).items():
        yield from _picture_fields(row, key)
    if "items" in schema:
        yield from _picture_fields(schema["items"], name)


def _facts() -> Iterator[str]:
    from apps.api.native.jobs_fields import JOB_FIELDS
    from apps.api.native.tables import object_schema

    rows = [f"    {_quoted(path)}: {made}," for path, made in _rows("", object_schema(JOB_FIELDS))]
    yield "\n".join(["FACTS: Mapping[str, Fact] = {", *rows, "}"])


def _rows(path: str, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Fields that are values, wherever they stand."""
    for key, row in schema.get("properties", {}).items():
        yield from _rows(f"{path}.{key}".removeprefix("."), row)
    if "properties" in schema:
        return
    if "items" in schema:
        yield from _rows(f"{path}[]", {"description": schema.get("description", ""), **schema["items"]})
        return
    is_picture = schema.get("contentMediaType") == "image/*"
    kind = "picture" if is_picture else schema.get("type", "string")
    kind = kind if isinstance(kind, str) else "string"
    arguments = [repr(kind), repr(schema.get("description", ""))]
    if "enum" in schema:
        arguments.append(f"choices={tuple(schema['enum'])!r}")
    for name, limit in (("lowest", "minimum"), ("highest", "maximum")):
        if limit in schema:
            arguments.append(f"{name}={schema[limit]!r}")
    yield path, f"Fact({', '.join(arguments)})"


# --- answers ---


def _answers() -> Iterator[str]:
    from apps.api.native.imports_render import ImportBody
    from apps.api.native.keys_render import IssuedKeyBody, KeyBody, UsageBody
    from apps.api.native.models_render import ModelSummary
    from apps.api.native.render import JobBody, UploadBody
    from apps.generation.estimates import Estimate

    written: set[str] = set()
    tops: list[type] = [JobBody, UploadBody, Estimate, ModelSummary, ImportBody, KeyBody]
    for kind in [*tops, IssuedKeyBody, UsageBody]:
        yield from _dataclass(kind, written)


def _dataclass(kind: Any, written: set[str]) -> Iterator[str]:  # Any: a TypedDict or a dataclass
    """The types inside first, each once."""
    name = NAMES.get(kind.__name__, kind.__name__)
    if name in written:
        return
    written.add(name)
    lines = ["@dataclass(frozen=True, slots=True, kw_only=True)", f"class {name}(Body):"]
    lines.append(_doc(_paragraph(kind.__doc__)))
    for key, hint in typing.get_type_hints(kind).items():
        yield from _inner(hint, written)
        text, default = _answer_type(hint)
        if (name, key) in SECRETS:
            default = f"field(default={default}, repr=False)"
        lines.append(f"    {key}: {text} = {default}")
    yield "\n".join(lines)


def _inner(hint: Any, written: set[str]) -> Iterator[str]:
    if typing.is_typeddict(hint):
        yield from _dataclass(hint, written)
    for each in typing.get_args(hint):
        yield from _inner(each, written)


def _answer_type(hint: Any) -> tuple[str, str]:
    """How a field is annotated, and its default."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.NotRequired, typing.Required):
        return _answer_type(arguments[0])
    if origin in (types.UnionType, typing.Union):
        texts = ["None" if each is type(None) else _answer_type(each)[0] for each in arguments]
        return " | ".join(texts), "None"
    if origin is list:
        return f"tuple[{_answer_type(arguments[0])[0]}, ...]", "()"
    if origin is dict:
        return "Mapping[str, Any]", "field(default_factory=dict)"
    name = NAMES.get(hint.__name__, hint.__name__)
    return name, f"field(default_factory=lambda: {name}())"


# --- words ---


def _paragraph(text: str | None) -> str:
    return " ".join((text or "").split())


def _sentence(text: str) -> str:
    """As a sentence of its own."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _doc(text: str, *, indent: str = "    ") -> str:
    if not text:
        return ""
    lines = textwrap.wrap(text.replace("\\", "\\\\"), WIDTH - len(indent) - 3)
    end = "" if len(lines) == 1 else f"\n{indent}"
    return f'{indent}"""' + f"\n{indent}".join(lines) + f'{end}"""'


def _quoted(word: str) -> str:
    return f'"{word}"'


def main() -> None:
    for path, text in make_files().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
