"""Recorded exchanges: a request as a client sends it, and the whole answer it must get.

A file of a dialect's folder is one exchange: `given` (what was there before: one of SITUATIONS), `request`
and `response`. What varies is written as a placeholder, such as `<id>`: placeholders.py says which in
`modelslab/`, masking.py in the others. To add one, write the request with an empty response ({}) and run the
test, which writes the answer down and fails once. Judge it before you keep it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDERS = Path(__file__).parent
# What of the answer's headers is part of the contract.
HEADERS = (
    "Content-Type",
    "Retry-After",
    "Allow",
    "WWW-Authenticate",
    "Idempotent-Replayed",
    "X-Darkroom-Error",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded pair."""

    name: str
    given: str
    request: dict[str, Any]
    response: dict[str, Any]
    """Empty for one that is yet to be recorded."""
    file: Path


def list_exchanges(dialect: str = "modelslab") -> list[Exchange]:
    """All recorded pairs of one dialect, by file name."""
    return [_read(file) for file in sorted((FOLDERS / dialect).glob("*.json"))]


def write_down(exchange: Exchange, answer: dict[str, Any]) -> None:
    """Complete an exchange that is yet to be recorded."""
    whole = {"given": exchange.given, "request": exchange.request, "response": answer}
    exchange.file.write_text(json.dumps(whole, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read(file: Path) -> Exchange:
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored.keys() == {"given", "request", "response"}, file
    return Exchange(name=file.stem, file=file, **stored)


def fill_in(value: Any, known: dict[str, str]) -> Any:
    """A recorded value with its placeholders replaced; a text that is `<id>` alone becomes a number."""
    if isinstance(value, dict):
        return {name: fill_in(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [fill_in(item, known) for item in value]
    if value == "<id>":
        return int(known["<id>"])
    if isinstance(value, str):
        for placeholder, text in known.items():
            value = value.replace(placeholder, text)
    return value
