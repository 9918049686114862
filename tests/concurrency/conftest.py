"""Real commits for threads: the studio of the generation tests."""

from __future__ import annotations

from tests.apps.generation.conftest import live, no_session_survives

__all__ = ["live", "no_session_survives"]
