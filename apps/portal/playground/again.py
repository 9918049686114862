"""From what was made back to what to ask for: the body of a request, by a job's row or by an image file.

Each value is read by the API's own reader and left out if that refuses it: files come from anybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.accounts.models import Account
from apps.api.a1111.checkpoints import find_by_title
from apps.api.a1111.samplers import SAMPLERS, find_schedule
from apps.api.native.jobs_fields import FIELDS
from apps.api.native.readers import Picture
from apps.api.native.tables import Items, Part, Table
from apps.api.readers import BadValue, Reader
from apps.catalog.choices import Kind as ModelKind
from apps.catalog.selectors import list_usable
from apps.generation.choices import DENOISING_KINDS, Kind
from apps.generation.kind_rules import OPTIONAL, RULES
from apps.generation.models import GenerationJob
from gpu_runtime.messages import PromptStyle
from gpu_runtime.metadata.reading import NEGATIVE, PROMPT, read_settings

JsonObject = dict[str, Any]
"""A body of POST /v1/jobs, or what a row or a file holds. Any: nested JSON."""

NOT_ASKED: Final = frozenset({"wants_previews", "safety"})
SIZES: Final = frozenset({"width", "height"})
LORA_TAG: Final = re.compile(r"<lora:([^:<>]{1,200}):(-?[0-9.]{1,8})>")
SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """What to ask for to get the same once more."""

    fields: JsonObject
    source: str
    """Who wrote the settings: `job`, or a program's name as `read_settings` has it; "" for nobody."""


def fields_of_job(job: GenerationJob) -> JsonObject:
    """The body that asks for the job again; pictures by their digests, which may be forgotten by now."""
    return _fields_of(job.request)


def fields_of_picture(data: bytes, *, account: Account) -> Again:
    """What a PNG, JPEG or WebP file says of how it was made; no fields where it says nothing."""
    found = read_settings(data)
    if found.darkroom:
        return Again(fields=_fields_of(found.darkroom), source=found.source)
    if found.settings:
        return Again(fields=_of_settings(found.settings, account), source=found.source)
    return Again(fields={}, source="")


def _fields_of(stored: Mapping[str, Any]) -> JsonObject:
    try:
        kind = Kind(str(stored.get("kind", "")))
    except ValueError:
        return {}
    rule = RULES[kind]
    asked = {
        name: value
        for name, value in _as_asked(stored).items()
        if name in rule.needs
        or name in rule.takes
        or name == "output"
        or (kind in DENOISING_KINDS and name not in OPTIONAL)
    }
    if kind not in DENOISING_KINDS and kind is not Kind.NSFW_CHECK:
        asked.pop("prompt", None)
    return {"kind": kind.value, **_read_all(FIELDS, asked)}


def _as_asked(stored: Mapping[str, Any]) -> JsonObject:
    """By the names of GenerationRequest: what was chosen is put back into the words of a wish."""
    asked = {name: value for name, value in stored.items() if name not in NOT_ASKED}
    adapters = _object(asked.pop("adapters", None))
    asked |= {
        "loras": adapters.get("loras") or None,
        "embeddings": [_object(each).get("name") for each in _list(adapters.get("embeddings"))] or None,
        "vae": _object(adapters.get("vae")).get("name"),
    }
    for name, change in _CHANGES.items():
        if asked.get(name):
            asked[name] = change(asked[name])
    if asked.get("image") is None:
        asked.pop("strength", None)
    return asked


def _controls(value: Any) -> list[JsonObject]:  # Any: of JSON, as below
    return [{**each, "model": _named(each, "network")} for each in map(_object, _list(value))]


def _ip_adapters(value: Any) -> list[JsonObject]:
    return [{**each, "name": _named(each, "adapter")} for each in map(_object, _list(value))]


def _refiner(value: Any) -> JsonObject:
    return {**_object(value), "checkpoint": _named(_object(value), "checkpoint")}


def _hires(value: Any) -> JsonObject:
    """The sizes of its output are those that were asked for."""
    hires = _object(value)
    return {**hires, "width": hires.get("output_width"), "height": hires.get("output_height"), "scale": None}


def _upscale(value: Any) -> JsonObject:
    used = _object(value)
    return {"width": used.get("width"), "height": used.get("height"), "upscaler": _model_among(used)}


def _faces(value: Any) -> list[JsonObject]:
    return [{**_object(each.get("wish")), "model": _model_among(each)} for each in map(_object, _list(value))]


def _wish(value: Any) -> JsonObject:
    return _object(_object(value).get("wish"))


_CHANGES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "controls": _controls,
    "ip_adapters": _ip_adapters,
    "refiner": _refiner,
    "hires": _hires,
    "upscale": _upscale,
    "faces": _faces,
    "background": _wish,
    "face_swap": _wish,
    "detect": _wish,
}


def _named(value: JsonObject, name: str) -> Any:
    return _object(value.get(name)).get("name")


def _model_among(used: JsonObject) -> Any:
    """The name of the weights that do the work."""
    roles = {_object(each).get("role"): _object(each).get("name") for each in _list(used.get("assets"))}
    return roles.get("model")


def _object(value: Any) -> JsonObject:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _read_all(table: Table, values: Mapping[str, Any]) -> JsonObject:
    """By the API's names, what its readers take."""
    fields = {}
    for row in table:
        value = _read(row.read, values.get(row.ours))
        if value is not None:
            fields[row.theirs] = value
    return fields


def _read(read: Reader, value: Any) -> Any:
    """JSON that the reader takes; None for what it does not."""
    match read:
        case Part(table=table):
            inner = _read_all(table, _object(value))
            missing = [row for row in table if row.is_required and row.theirs not in inner]
            return inner if inner and not missing else None
        case Items(each=each, most=most):
            items = [item for item in (_read(each, one) for one in _list(value)) if item is not None]
            return items[:most] or None
        case Picture():
            return _object(value).get("digest")
    if value is None or value == "":
        return None
    try:
        read(value)
    except BadValue:
        return None
    return value


def _of_settings(settings: Mapping[str, str], account: Account) -> JsonObject:
    """Of AUTOMATIC1111's names and texts; a model that is not here is left out."""
    prompt = settings.get(PROMPT, "")
    size = SIZE.fullmatch(settings.get("Size", ""))
    sampler, schedule = _sampler(settings.get("Sampler", ""), settings.get("Schedule type", ""))
    skip = _number(settings.get("Clip skip"))
    asked: JsonObject = {
        "kind": Kind.TXT2IMG.value,
        "checkpoint": _model(settings, account),
        "prompt": LORA_TAG.sub("", prompt).strip(),
        "negative_prompt": settings.get(NEGATIVE),
        "prompt_style": PromptStyle.WEIGHTED.value,
        "width": int(size[1]) if size else None,
        "height": int(size[2]) if size else None,
        "steps": _number(settings.get("Steps")),
        "guidance_scale": _number(settings.get("CFG scale")),
        "seed": _number(settings.get("Seed")),
        "sampler": sampler,
        "schedule": schedule,
        "clip_skip": skip - 1 if skip else None,
        "loras": [{"name": name, "scale": _number(scale)} for name, scale in LORA_TAG.findall(prompt)],
    }
    return {"kind": Kind.TXT2IMG.value, **_read_all(FIELDS, asked)}


def _model(settings: Mapping[str, str], account: Account) -> str | None:
    usable = list_usable(account=account).filter(kind=ModelKind.CHECKPOINT)
    entry = find_by_title(usable, settings.get("Model", "")) if settings.get("Model") else None
    return entry.name if entry else None


def _sampler(name: str, schedule: str) -> tuple[str | None, str | None]:
    """Older files have the schedule at the end of the sampler's name."""
    for row in sorted(SAMPLERS, key=lambda row: -len(row.name)):
        if name == row.name or name.startswith(f"{row.name} "):
            found = find_schedule(schedule or name.removeprefix(row.name).strip())
            return row.sampler.value, found.value if found else None
    return None, None


def _number(text: str | None) -> float | None:
    """A whole one without a fraction; None for what is no number."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return int(number) if number.is_integer() else number
