from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.catalog import facets


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> Path:
    """An empty store."""
    settings.MODEL_DIR = str(tmp_path / "models")
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    """Counts of one test are not another's."""
    facets.forget()
    yield
    facets.forget()
