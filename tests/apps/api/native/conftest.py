"""A client that speaks JSON and forms, and pictures to send."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from apps.catalog.models import CatalogEntry
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import png_bytes

PNG = png_bytes(width=96, height=64)
DATA_URL = "data:image/png;base64," + base64.b64encode(PNG).decode()


class NativeClient(ApiClient):
    """Asks for jobs."""

    def create(self, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        """A job that is fine but for what `fields` say."""
        return self.post("/v1/jobs", {"model": "tiny", "prompt": "a red fox"} | fields, **(headers or {}))

    def form(self, path: str, parts: dict[str, Any]) -> Any:
        """Multipart; bytes become files."""
        made = {
            name: SimpleUploadedFile(f"{name}.png", value, "image/png") if isinstance(value, bytes) else value
            for name, value in parts.items()
        }
        return self.http.post(path, made, headers=self.headers)


@pytest.fixture
def ada(cast: Cast, checkpoint: CatalogEntry) -> NativeClient:
    """A client that sends Ada's key."""
    return NativeClient(cast.key_text)


@pytest.fixture
def cleo(cast: Cast, checkpoint: CatalogEntry) -> NativeClient:
    """A client that sends the key of Cleo, a stranger."""
    return NativeClient(cast.strangers_key_text)


@pytest.fixture
def anybody(cast: Cast, checkpoint: CatalogEntry) -> NativeClient:
    """A client without a key."""
    return NativeClient(None)
