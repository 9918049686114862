"""Styles that `enhance_style` names. What they say is in `styles.toml`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("styles.toml")


@dataclass(frozen=True, slots=True)
class Style:
    """What a style adds to a request."""

    wanted: str
    """To the prompt."""
    avoided: str
    """To the negative prompt."""


@cache
def all_styles() -> dict[str, Style]:
    """By name."""
    rows = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {name: Style(wanted, avoided) for name, (wanted, avoided) in rows.items()}


def find_style(name: str) -> Style | None:
    """None for "" and for names that nobody knows, which the contract ignores."""
    return all_styles().get(name.strip().lower())
