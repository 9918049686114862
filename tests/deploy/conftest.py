"""These tests concern the machine, not the application: none of them has artifacts."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def artifact_dir(tmp_path: Path) -> Path:
    """Overrides the application's: `tmp_path` stays empty, so a test can say that nothing was made."""
    return tmp_path
