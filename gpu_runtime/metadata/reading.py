"""Settings that image files carry, whoever wrote them. Reads headers and texts; never decodes pixels."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from PIL import Image

from gpu_runtime.metadata import comfyui, exif, other_writers, png, xmp
from gpu_runtime.metadata.infotext import Infotext, parse_infotext, write_infotext

FORMATS: Final = ("JPEG", "WEBP")
DAMAGE: Final = (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError)
"""What Pillow raises for damaged files."""

PROMPT: Final = "Prompt"
NEGATIVE: Final = "Negative prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSettings:
    """What a file says about how it was made."""

    infotext: str = ""
    """In AUTOMATIC1111's form, whoever wrote it; "" when nothing was found."""
    source: str = ""
    """"darkroom", "a1111" (whoever writes as it does), "comfyui", "swarmui", "invokeai", "novelai" or ""."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """By AUTOMATIC1111's names, as text, with "Prompt" and "Negative prompt"."""
    darkroom: Mapping[str, Any] = field(default_factory=dict)
    """Our own JSON, whatever it holds; empty for files of others."""


def read_settings(data: bytes) -> ReadSettings:
    """Of a PNG, JPEG or WebP file; empty for others, for damage, and where there is nothing."""
    texts = png.read_texts(data) if data.startswith(png.SIGNATURE) else _texts_of_exif(data)
    for read in READERS:
        found = read(texts)
        if found is not None:
            return found
    return ReadSettings()


def _texts_of_exif(data: bytes) -> dict[str, str]:
    """The same texts as in a PNG file, by the same names."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as file:
            block, packet = file.getexif(), file.info.get("xmp", b"")
            texts = {name: text for name, text in exif.labelled(block).items() if text}
            comment = exif.comment_of(block)
    except DAMAGE:
        return {}
    if comment:
        texts.setdefault("parameters", comment)
    if isinstance(packet, bytes) and (settings := xmp.settings_of(packet)):
        texts["darkroom"] = settings
    return texts


def _darkroom(texts: Mapping[str, str]) -> ReadSettings | None:
    own = _json_object(texts.get("darkroom", ""))
    if not own:
        return None
    text = texts.get("parameters", "")
    return ReadSettings(
        infotext=text, source="darkroom", settings=_settings_of(parse_infotext(text)), darkroom=own
    )


def _swarmui(texts: Mapping[str, str]) -> ReadSettings | None:
    values = _json_object(texts.get("parameters", "")).get("sui_image_params")
    if not isinstance(values, dict):
        return None
    return _found("swarmui", other_writers.settings_of(values, other_writers.SWARMUI))


def _invokeai(texts: Mapping[str, str]) -> ReadSettings | None:
    values = _json_object(texts.get("invokeai_metadata", ""))
    if not values:
        return None
    return _found("invokeai", other_writers.settings_of(values, other_writers.INVOKEAI))


def _novelai(texts: Mapping[str, str]) -> ReadSettings | None:
    values = _json_object(texts.get("Comment", ""))
    if texts.get("Software") != "NovelAI" or not values:
        return None
    values.setdefault("prompt", texts.get("Description", ""))
    return _found("novelai", other_writers.settings_of(values, other_writers.NOVELAI))


def _a1111(texts: Mapping[str, str]) -> ReadSettings | None:
    text = texts.get("parameters", "").strip()
    if not text:
        return None
    return ReadSettings(infotext=text, source="a1111", settings=_settings_of(parse_infotext(text)))


def _comfyui(texts: Mapping[str, str]) -> ReadSettings | None:
    graph = _json_object(texts.get("prompt", ""))
    return _found("comfyui", comfyui.settings_of(graph)) if comfyui.is_graph(graph) else None


READERS: Final[tuple[Callable[[Mapping[str, str]], ReadSettings | None], ...]] = (
    _darkroom,
    _swarmui,
    _invokeai,
    _novelai,
    # After SwarmUI, which uses the same name, and before ComfyUI, whose extensions write such a text as well.
    _a1111,
    _comfyui,
)


def _found(source: str, settings: Mapping[str, str]) -> ReadSettings:
    others = {name: value for name, value in settings.items() if name not in (PROMPT, NEGATIVE)}
    text = write_infotext(
        prompt=settings.get(PROMPT, ""), negative_prompt=settings.get(NEGATIVE, ""), settings=others
    )
    return ReadSettings(infotext=text, source=source, settings=settings)


def _settings_of(text: Infotext) -> dict[str, str]:
    prompts = {PROMPT: text.prompt, NEGATIVE: text.negative_prompt}
    return {name: value for name, value in {**prompts, **text.settings}.items() if value}


def _json_object(text: str) -> dict[str, Any]:
    """{} for what is none. NaN, which ComfyUI writes and JSON does not have, is read as Python reads it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
