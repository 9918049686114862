"""AUTOMATIC1111's text about an image ("parameters"): its prompts, and below them one line of settings.

    a lighthouse at dusk
    Negative prompt: fog
    Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 1, Size: 512x768, Model: "a, b"

Values with a comma, a colon or a line break are JSON strings. The format has no escape for prompts: one with
a line that begins with "Negative prompt:" reads back otherwise than it was written, here as everywhere.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

NEGATIVE: Final = "Negative prompt:"

FIRST_SETTING: Final = "Steps:"
"""What every writer of the format puts first: such a line is one of settings, whatever else is in it."""

FEWEST_SETTINGS: Final = 3
"""Another line with fewer belongs to the prompt: people write colons and commas."""

SETTING: Final = re.compile(
    # Names have an end, and no run of spaces is tried twice: a text of 8 MB may come from anybody.
    r"(?P<name>\w[\w \-/]{0,63}):\s*(?P<value>\"(?:\\.|[^\\\"])*\"|[^,]*)(?:,|$)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Infotext:
    """What such a text says."""

    prompt: str = ""
    negative_prompt: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    """By the names in the text ("CFG scale"), in its order, as text."""


def write_infotext(*, prompt: str, negative_prompt: str = "", settings: Mapping[str, object]) -> str:
    """The text for one image; settings that are None or "" are left out.

    Raises ValueError for a name that could not be read back.
    """
    parts = [prompt.strip()]
    if negative_prompt.strip():
        parts.append(f"{NEGATIVE} {negative_prompt.strip()}")
    given = {name: value for name, value in settings.items() if value is not None and value != ""}
    if given:
        parts.append(", ".join(f"{_checked(name)}: {_quoted(value)}" for name, value in given.items()))
    return "\n".join(parts)


def parse_infotext(text: str) -> Infotext:
    """Read such a text; whatever it is, for what is no setting is prompt."""
    lines = text.replace("\r\n", "\n").strip().split("\n")
    settings = read_settings_line(lines[-1])
    if settings:
        lines.pop()
    first_negative = next(
        (number for number, line in enumerate(lines) if line.lstrip().startswith(NEGATIVE)), len(lines)
    )
    negative = "\n".join(lines[first_negative:]).lstrip().removeprefix(NEGATIVE)
    return Infotext(
        prompt="\n".join(lines[:first_negative]).strip(),
        negative_prompt=negative.strip(),
        settings=settings,
    )


def read_settings_line(line: str) -> dict[str, str]:
    """Names and values of the last line; none when it is no line of settings."""
    matches = list(SETTING.finditer(line))
    if not line.lstrip().startswith(FIRST_SETTING):
        is_whole = not SETTING.sub("", line).strip()
        if len(matches) < FEWEST_SETTINGS or not is_whole:
            return {}
    return {match["name"]: _unquoted(match["value"].strip()) for match in matches}


def _checked(name: str) -> str:
    match = SETTING.fullmatch(f"{name}: x")
    if match is None or match["name"] != name or name != name.strip():
        raise ValueError(f"{name!r} is no name of a setting: letters, digits, spaces, - and /")
    return name


def _quoted(value: object) -> str:
    text = _plain(value)
    needs_quotes = text != text.strip() or any(character in text for character in ',:\n\r"\\')
    return json.dumps(text, ensure_ascii=False) if needs_quotes else text


def _plain(value: object) -> str:
    """Numbers without a needless fraction: 7 for 7.0, as people write them."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value)


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text.startswith('"') and text.endswith('"'):
        try:
            read = json.loads(text)
        except ValueError:
            return text
        return read if isinstance(read, str) else text
    return text
