"""Recorded exchanges: a request as a client sends it, and the whole answer it must get.

A file of `modelslab/` is one exchange: `given` (what was there before, one of SITUATIONS in
test_modelslab_contract.py), `request` and `response`. What varies is written as a placeholder: `<id>` for the
job's id, `<link 0>` for the link to its first image, `<group>` for the file prefix.
To add one, write the request with an empty response, run the test, and judge the difference it shows.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "modelslab"
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


def list_exchanges() -> list[Exchange]:
    """All recorded pairs, by file name."""
    return [_read(file) for file in sorted(FOLDER.glob("*.json"))]


def _read(file: Path) -> Exchange:
    stored = json.loads(file.read_text(encoding="utf-8"))
    assert stored.keys() == {"given", "request", "response"}, file
    return Exchange(name=file.stem, **stored)


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
