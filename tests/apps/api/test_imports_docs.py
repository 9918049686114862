"""The page about imports names every field and parameter there is, and no other."""

from __future__ import annotations

import re

from apps.api.native.imports_fields import FIELDS, LIST_PARAMETERS, SOURCES
from apps.catalog.choices import ImportPhase, ImportState
from apps.config.version import REPOSITORY_ROOT

PAGE = (REPOSITORY_ROOT / "templates" / "docs" / "imports.md").read_text(encoding="utf-8")


def rows(title: str) -> set[str]:
    """First cells of the table below a heading."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_0-9]+)` \|", text, re.MULTILINE))


def test_fields_sources_and_parameters() -> None:
    assert rows("Asking") == FIELDS.keys()
    assert rows("Sources") == SOURCES.keys()
    assert rows("Following") == LIST_PARAMETERS.keys()


def test_states_and_phases() -> None:
    for word in (*ImportState.values, *ImportPhase.values):
        assert f"`{word}`" in PAGE
