from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.model_server import ModelServer


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> Path:
    """Folders of this test alone."""
    settings.MODEL_DIR = tmp_path / "models"
    settings.HOME_DIR = tmp_path / "home"
    settings.MODEL_DIR.mkdir()
    return tmp_path / "models"


@pytest.fixture
def server(settings: Any) -> Iterator[ModelServer]:
    """A hub and a CivitAI, and an appliance that may fetch from there alone."""
    with ModelServer() as server:
        settings.HF_ENDPOINT = server.url
        settings.FETCH_ALLOW = [f"127.0.0.1/32:{server.port}"]
        settings.IMPORT_HOSTS = ["127.0.0.1"]
        settings.IMPORT_CONNECTIONS = 4
        yield server
